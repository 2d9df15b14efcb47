#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_record
short_description: Notes in the record of a run what becomes of one action
version_added: 0.1.0
description:
  - Appends to the record that M(redisops.persistence.remediation_plan) or M(redisops.persistence.remediation_rollback) has opened on the control
    node, which is replaced whole or not at all. No host is asked.
  - The intent with the values before is written before an action is carried out, so that a run that dies leaves no change behind that nobody knows
    of.
  - In check mode the prediction of the run is kept in the same form in Ansible's temporary directory, which ends with the run. Passwords are in
    neither.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.remediation.record
attributes:
  check_mode:
    support: full
    details:
      - The prediction is noted instead.
  diff_mode:
    support: N/A
    details:
      - Nothing is changed on a host.
  idempotent:
    support: N/A
    details:
      - Each run adds to the record.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
options:
  action:
    description:
      - One of RV(redisops.persistence.remediation_plan#module:actions).
    type: dict
    required: true
  state:
    description:
      - What has become of it.
    type: str
    required: true
    choices:
      started: It is about to be carried out. The changes that it intends are noted.
      step: One module of several has run. What O(result) has changed is noted.
      done: It has been carried out. What O(result) has changed is noted.
      failed: It has failed. What O(result) has changed up to then is noted.
      restored: What was lent for the time of the run has been given back, if O(result) has not failed.
  result:
    description:
      - The registered result of the module that has run.
    type: dict
  error:
    description:
      - Why it failed. Without it the message of O(result) is taken.
    type: str
seealso:
  - module: redisops.persistence.remediation_plan
  - module: redisops.persistence.remediation_rollback
"""

EXAMPLES = r"""
---
- name: Note what is about to change
  redisops.persistence.remediation_record:
    record_path: "{{ plan.record_path }}"
    action: "{{ plan.actions[0] }}"
    state: started
"""

RETURN = r"""
entry:
  description: The entry of the record.
  returned: always
  type: dict
  contains:
    number:
      description: Its place in the record.
      returned: always
      type: int
      sample: 1
    fix:
      description: The fix.
      returned: always
      type: str
      sample: data_dir
    address:
      description: The server. V(null) for the host.
      returned: always
      type: str
      sample: 127.0.0.1:6379
    state:
      description: V(started), V(done), V(skipped) or V(failed). One that stays V(started) belongs to a run that died.
      returned: always
      type: str
      sample: done
    started_unix:
      description: When it was begun, in seconds since the epoch.
      returned: always
      type: float
      sample: 1760000000.25
    ended_unix:
      description: When it ended. V(null) where it has not.
      returned: always
      type: float
      sample: 1760000001.5
    arguments:
      description: The arguments of the action.
      returned: always
      type: dict
      sample: {"pid": 812, "path": "/var/lib/redis", "uid": 107, "gid": 107}
    planned:
      description: The changes that were intended.
      returned: always
      type: list
      elements: dict
      contains:
        fix:
          description: The fix that it belongs to.
          returned: always
          type: str
          sample: data_dir
        address:
          description: The server. V(null) for what holds for the whole host.
          returned: always
          type: str
          sample: 127.0.0.1:6379
        what:
          description: What differs afterwards.
          returned: always
          type: str
          sample: owner of /var/lib/redis
        before:
          description: Its value before. V(null) where there was none.
          returned: always
          type: raw
          sample: "0:0"
        after:
          description: Its value afterwards. V(null) where it is gone.
          returned: always
          type: raw
          sample: "107:107"
        reversible:
          description: Whether a rollback can put the value before back.
          returned: always
          type: bool
          sample: true
    changes:
      description: The changes that were made, or in check mode would be.
      returned: always
      type: list
      elements: dict
      contains:
        fix:
          description: The fix that it belongs to.
          returned: always
          type: str
          sample: data_dir
        address:
          description: The server. V(null) for what holds for the whole host.
          returned: always
          type: str
          sample: 127.0.0.1:6379
        what:
          description: What differs afterwards.
          returned: always
          type: str
          sample: owner of /var/lib/redis
        before:
          description: Its value before. V(null) where there was none.
          returned: always
          type: raw
          sample: "0:0"
        after:
          description: Its value afterwards. V(null) where it is gone.
          returned: always
          type: raw
          sample: "107:107"
        reversible:
          description: Whether a rollback can put the value before back.
          returned: always
          type: bool
          sample: true
    error:
      description: Why it failed. V(null) where it did not.
      returned: always
      type: str
      sample: null
    left_to_do:
      description: What is left to do for a person if the control node dies now. V(null) where nothing is.
      returned: always
      type: str
      sample: null
    restored:
      description: Whether what was lent for the time of the run has been given back.
      returned: always
      type: bool
      sample: false
    details:
      description: Figures of the fix that somebody will want later, such as the path of a copy.
      returned: always
      type: dict
      sample: {}
changes:
  description: As RV(entry.changes).
  returned: always
  type: list
  elements: dict
  contains:
    fix:
      description: The fix that it belongs to.
      returned: always
      type: str
      sample: data_dir
    address:
      description: The server. V(null) for what holds for the whole host.
      returned: always
      type: str
      sample: 127.0.0.1:6379
    what:
      description: What differs afterwards.
      returned: always
      type: str
      sample: owner of /var/lib/redis
    before:
      description: Its value before. V(null) where there was none.
      returned: always
      type: raw
      sample: "0:0"
    after:
      description: Its value afterwards. V(null) where it is gone.
      returned: always
      type: raw
      sample: "107:107"
    reversible:
      description: Whether a rollback can put the value before back.
      returned: always
      type: bool
      sample: true
"""
