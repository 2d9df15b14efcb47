#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_verification
short_description: Decides after the fixes which saves may be started to prove the cure
version_added: 0.1.0
description:
  - Looks at the host again and decides for each server whether one C(BGSAVE) is started. None is where the forecast says that it would fail, or
    take the server down.
  - Changes nothing on the host. What is decided is noted in the record of the run.
  - It is a step of the role P(redisops.persistence.remediate#role).
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
  - redisops.persistence.remediation.plan
  - redisops.persistence.remediation.record
seealso:
  - module: redisops.persistence.remediation_plan
  - module: redisops.persistence.redis_bgsave
"""

EXAMPLES = r"""
---
- name: Decide which saves may be started
  redisops.persistence.remediation_verification:
    plan: "{{ plan }}"
    record_path: "{{ plan.record_path }}"
  register: proof
"""

RETURN = r"""
reachable:
  description: Whether the host could be reached.
  returned: always
  type: bool
  sample: true
error:
  description: Why the host could not be examined again, in plain words, or V(null).
  returned: always
  type: str
  sample: null
probe:
  description: Free space and load as a bare shell sees them.
  returned: when nothing but a shell could be run on the host
  type: str
  sample: "Filesystem 1024-blocks Used Available Capacity Mounted on"
diagnoses:
  description: One diagnosis for each server, as RV(redisops.persistence.redis_diagnosis_info#module:diagnoses).
  returned: always
  type: list
  elements: dict
fixes:
  description: What was decided for the servers that a save concerns.
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
    plan:
      description: The save, and what follows it.
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
actions:
  description: What is carried out, in this order.
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
