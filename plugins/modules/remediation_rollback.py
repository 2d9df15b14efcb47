#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_rollback
short_description: Plans what puts back the changes of a remediation
version_added: 0.1.0
description:
  - Reads the record of a run on the control node and gives the actions that put back what can be put back, the last change first, and a list of
    what can't be.
  - The host is asked only which processes its servers are now, where an action needs one. Nothing is changed.
  - The modules that carry the actions out leave alone what somebody else has changed since.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.info_module
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
  - redisops.persistence.redis.instances
  - redisops.persistence.remediation
  - redisops.persistence.remediation.record_dir
options:
  record:
    description:
      - Which run to undo. A file, the directory of a run, or the name of a run in O(record_dir).
      - Without it the newest run that changed this host is taken.
    type: str
seealso:
  - module: redisops.persistence.remediation_plan
  - module: redisops.persistence.remediation_record
"""

EXAMPLES = r"""
---
- name: Show what would be put back
  redisops.persistence.remediation_rollback:
    record_dir: ./records
    show: true
  check_mode: true
"""

RETURN = r"""
run_id:
  description: This run of ansible-playbook, the same for all its hosts.
  returned: always
  type: str
  sample: 20261122T235901Z-4711
operator:
  description: Who runs it, and on which control node.
  returned: always
  type: str
  sample: alice@control
record:
  description: The record that is undone. V(null) where there is none for this host.
  returned: always
  type: str
  sample: /home/operator/records/20261122T235901Z-4711/db1.json
record_path:
  description: The record of this rollback. V(null) in check mode, and where there is nothing to put back.
  returned: always
  type: str
  sample: /home/operator/records/20261123T081512Z-5120/db1.json
undone_at:
  description: When a rollback has put back all of this record before. V(null) where none has.
  returned: always
  type: str
  sample: "2026-11-23T08:15:12Z"
instances:
  description: The servers that the record names.
  returned: always
  type: list
  elements: dict
  contains:
    address:
      description: C(host:port) or C(unix:) and a path.
      returned: always
      type: str
      sample: 127.0.0.1:6379
    connection:
      description: How it is reached, without what only the operator knows.
      returned: always
      type: dict
      contains:
        login_host:
          description: Host name or address.
          returned: where it listens there
          type: str
          sample: 127.0.0.1
        login_port:
          description: Port.
          returned: where it listens there
          type: int
          sample: 6379
        unix_socket:
          description: Path of the socket.
          returned: where it is reached by one
          type: str
          sample: /run/redis/redis.sock
        tls:
          description: V(true) for a port that speaks TLS.
          returned: where it does
          type: bool
          sample: true
actions:
  description: What puts it back, in this order.
  returned: always
  type: list
  elements: dict
  contains:
    fix:
      description: The fix, which is also the name of the task file that carries it out.
      returned: always
      type: str
      sample: data_dir
    address:
      description: The server. V(null) for the host.
      returned: always
      type: str
      sample: 127.0.0.1:6379
    arguments:
      description: What the task file needs. No password is among it.
      returned: always
      type: dict
      sample: {"pid": 812, "path": "/var/lib/redis", "uid": 107, "gid": 107}
    changes:
      description: What will differ afterwards.
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
not_reversible:
  description: What stays.
  returned: always
  type: list
  elements: dict
  contains:
    fix:
      description: The fix.
      returned: always
      type: str
      sample: orphan_temp_files
    address:
      description: The server. V(null) for the host.
      returned: always
      type: str
      sample: 127.0.0.1:6379
    what:
      description: What was changed.
      returned: always
      type: str
      sample: temporary file /var/lib/redis/temp-812.rdb
    why:
      description: Why it stays.
      returned: always
      type: str
      sample: The files are gone. No server would ever have read them.
"""
