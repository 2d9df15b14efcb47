#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_plan
short_description: Plans what is done about servers that can't save, or soon couldn't
version_added: 0.1.0
description:
  - Gathers and judges as M(redisops.persistence.redis_diagnosis_info) does, and decides for each fix that helps whether it is applied, waits to be
    asked for, is refused, or is for a person.
  - Changes nothing on the host. Where something will be done, the record of the run is opened on the control node, so that no change is made that
    can't be recorded.
  - It is the first step of the role P(redisops.persistence.remediate#role), which carries the plan out.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.info_module
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
  - redisops.persistence.redis.instances
  - redisops.persistence.remediation
  - redisops.persistence.remediation.policy
  - redisops.persistence.remediation.record_dir
options:
  report_dir:
    description:
      - The directory on the control node that M(redisops.persistence.remediation_report) will write to. It is only looked at here, so that a
        place that another user can change is refused before anything is done.
    type: path
seealso:
  - module: redisops.persistence.redis_diagnosis_info
  - module: redisops.persistence.remediation_verification
  - module: redisops.persistence.remediation_conclusion
  - module: redisops.persistence.remediation_rollback
"""

EXAMPLES = r"""
---
- name: Show what a remediation would do
  redisops.persistence.remediation_plan:
    policy:
      opt_in: [rescue]
      rescue_dir: /srv/rescue
      allowed_dirs: [/var/lib/redis*]
    show: true
  check_mode: true
  register: plan
"""

RETURN = r"""
reachable:
  description: Whether the host could be reached.
  returned: always
  type: bool
  sample: true
error:
  description: Why the host could not be examined, in plain words, or V(null).
  returned: always
  type: str
  sample: null
probe:
  description: Free space and load as a bare shell sees them.
  returned: when nothing but a shell could be run on the host
  type: str
  sample: "Filesystem 1024-blocks Used Available Capacity Mounted on"
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
skip_reason:
  description: Why the host was not looked at.
  returned: when the tags of the run mean neither this role nor one of its fixes
  type: str
  sample: "No server is remediated: the tags of this run (nginx) are neither plan, apply, verify or a fix, nor a tag of the play or the role."
record_path:
  description: The record of this run on the control node. V(null) in check mode, and where nothing will be done.
  returned: always
  type: str
  sample: /home/operator/records/20261122T235901Z-4711/db1.json
diagnoses:
  description: One diagnosis for each server, as RV(redisops.persistence.redis_diagnosis_info#module:diagnoses).
  returned: always
  type: list
  elements: dict
gaps:
  description: What could not be read, where no server was found.
  returned: when there is no server
  type: list
  elements: dict
  sample: []
instances:
  description: The servers with their plans.
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
    facts:
      description: What is compared with the server as it is at the end of the run. Each is V(null) where unknown.
      returned: always
      type: dict
      contains:
        keys:
          description: Keys of all databases.
          returned: always
          type: int
          sample: 1000
        expired_keys:
          description: Keys that have expired since the server's start.
          returned: always
          type: int
          sample: 0
        evicted_keys:
          description: Keys that were evicted since the server's start.
          returned: always
          type: int
          sample: 0
        pid:
          description: The server's process.
          returned: always
          type: int
          sample: 812
        started_unix:
          description: When that process was started, in seconds since the epoch.
          returned: always
          type: float
          sample: 1760000000.5
        last_save_unix:
          description: When the last save ended that succeeded, in seconds since the epoch.
          returned: always
          type: int
          sample: 1760000000
    plan:
      description: Each fix that helps, and what is decided about it.
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
        objections:
          description: What stands against the save, by the names that the option O(redisops.persistence.redis_bgsave#module:accept) takes.
          returned: for the fix V(verify), where something does
          type: list
          elements: str
          sample: [dump_foreign]
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
actions:
  description:
    - What is carried out, in this order.
    - In check mode with the proof and what follows it, as far as they can be foretold. Otherwise M(redisops.persistence.remediation_verification)
      gives those.
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
"""
