#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_conclusion
short_description: Says what a remediation has achieved for each server of a host
version_added: 0.1.0
description:
  - Looks at the host once more where something was done, and gives one document for each server with its result, the changes made, the proof, and
    what is left.
  - With the plan of a rollback it tells what was put back and what was left alone, and looks at nothing.
  - Changes nothing on the host. It ends the record of the run.
  - It is the last step of the role P(redisops.persistence.remediate#role) on a host.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.info_module
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
  - redisops.persistence.redis.instances
  - redisops.persistence.remediation
  - redisops.persistence.remediation.plan
  - redisops.persistence.remediation.record
options:
  error:
    description:
      - Why the plan was left, such as another operator's lock.
    type: str
seealso:
  - module: redisops.persistence.remediation_plan
  - module: redisops.persistence.remediation_report
"""

EXAMPLES = r"""
---
- name: Say what has been achieved
  redisops.persistence.remediation_conclusion:
    plan: "{{ plan }}"
    record_path: "{{ plan.record_path }}"
    show: true
  register: outcome
"""

RETURN = r"""
reachable:
  description: Whether the host could be reached.
  returned: always
  type: bool
  sample: true
error:
  description: Why the host could not be examined or the plan was left, in plain words, or V(null).
  returned: always
  type: str
  sample: null
remediations:
  description: One document for each server.
  returned: always
  type: list
  elements: dict
  contains:
    schema_version:
      description: Version of the document's shape.
      returned: always
      type: int
      sample: 1
    instance:
      description: Which server this is, as in the diagnosis.
      returned: always
      type: dict
      sample: {"address": "127.0.0.1:6379"}
    diagnosis_before:
      description: The diagnosis that the plan was made from.
      returned: always
      type: dict
      sample: {}
    plan:
      description: What was decided about each fix.
      returned: always
      type: list
      elements: dict
      contains:
        id:
          description: The fix, or V(manual) for what only a person can do.
          returned: always
          type: str
          sample: data_dir
        class:
          description: V(none), V(load), V(host-wide), V(guarded), V(restart) or V(manual).
          returned: always
          type: str
          sample: none
        decision:
          description: V(apply), V(opt_in) (the operator must ask for it), V(refuse) or V(manual).
          returned: always
          type: str
          sample: apply
        reason:
          description: Why it is decided so.
          returned: always
          type: str
          sample: The server's own user must be able to create files in this one directory.
        commands:
          description: What a person would type. Empty for what is refused.
          returned: always
          type: list
          elements: str
          sample: ["chown 107:107 /var/lib/redis"]
        changes:
          description: What it would change.
          returned: always
          type: list
          elements: dict
          contains:
            what:
              description: What would differ afterwards.
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
            part:
              description: The step of the fix that changes it.
              returned: where a fix has several steps
              type: str
              sample: drop_in
    changes:
      description: What was changed, or in check mode would be. Changes of the host are in the document of each server that they help.
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
    result:
      description: V(cured), V(improved), V(unchanged), V(refused) or V(failed).
      returned: always
      type: str
      sample: cured
    reason:
      description: Why, in plain words.
      returned: always
      type: str
      sample: A save succeeded in 1.2 s, after 1 change.
    left:
      description: The fixes that would still help.
      returned: always
      type: list
      elements: dict
      sample: []
    proof:
      description: The server afterwards. V(null) in check mode, and where nothing was done on the host.
      returned: always
      type: dict
      contains:
        status:
          description: The outcome of the last background save as the server tells it, V(ok), V(err) or V(unknown).
          returned: always
          type: str
          sample: ok
        save:
          description: The save that proved the cure. V(null) where none was started.
          returned: always
          type: dict
          contains:
            seconds:
              description: How long it took.
              returned: always
              type: float
              sample: 1.2
            reply:
              description: The server's answer to C(BGSAVE).
              returned: always
              type: str
              sample: Background saving started
        keys_before:
          description: Keys before the run.
          returned: always
          type: int
          sample: 1000
        keys_after:
          description: Keys afterwards.
          returned: always
          type: int
          sample: 1000
        kept_dump:
          description: As RV(redisops.persistence.redis_bgsave#module:kept_dump).
          returned: always
          type: dict
          sample: {path: /var/lib/redis/dump.rdb.kept-20261125T170000Z-4711, bytes: 40000, keys_at_least: 312}
        dump_before:
          description: As RV(redisops.persistence.redis_bgsave#module:dump_before).
          returned: always
          type: dict
          sample: {owner: foreign, bytes: 40000, keys_at_least: 312}
        dump_after:
          description: As RV(redisops.persistence.redis_bgsave#module:dump_after). V(null) where no save succeeded.
          returned: always
          type: dict
          sample: {owner: own, bytes: 89, keys_at_least: 0}
        diagnosis_after:
          description: The last diagnosis.
          returned: always
          type: dict
          sample: {}
cured_all:
  description: Whether no server is failing and nothing has failed.
  returned: always
  type: bool
  sample: true
must_fail:
  description:
    - Whether the play must fail for this host. That is so for a server that still can't save, for one that could not be examined, and where a fix
      or the
      proof has failed.
    - In check mode the cure itself is not foretold. There it is so where nothing would be done about a server that can't save.
  returned: always
  type: bool
  sample: false
failures:
  description: The reasons to fail.
  returned: always
  type: list
  elements: str
  sample: []
"""
