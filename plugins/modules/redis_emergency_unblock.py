#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_emergency_unblock
short_description: Lets a Redis or Valkey server whose saves fail take writes again, for a limited time
version_added: 0.1.0
description:
  - A server whose last save failed refuses all writes (C(MISCONF)). This module sets C(stop-writes-on-bgsave-error) to C(no) for a while.
    What is written then exists in memory only. It buys time, and repairs nothing.
  - A small process on the target, the watcher, puts the parameter back as soon as a save has succeeded, or when the time is up, whichever
    comes first. It belongs to no terminal and no connection, so it does so whatever becomes of the play, the connection or the control node.
    Where the server does not answer at the end, it tries for another 15 minutes.
  - It ends without touching anything where somebody else sets the parameter meanwhile, or where the server is restarted.
extends_documentation_fragment:
  - redisops.persistence.attributes
  - redisops.persistence.attributes.action_group
  - redisops.persistence.redis
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - While an unblock stands, a second O(state=present) changes nothing on the server. It moves the end to O(seconds) from then, if that is
        later.
author:
  - The redisops.persistence contributors (@redisops)
options:
  state:
    description: Whether an unblock shall stand.
    type: str
    default: present
    choices:
      present: >-
        Let writes through. Fails where failed saves are not what the server refuses writes for.
      absent: >-
        Put the parameter back now and end the watcher. Does nothing where no unblock of this module stands.
  seconds:
    description: How long writes are let through at most, from 1 to 86400.
    type: int
    default: 900
notes:
  - The user needs C(+info +config|get +config|set).
  - The password is only in the memory of the watcher. Where the target has no redis-py, each command to the server is a short run of C(redis-cli)
    with the password in its environment, which only the same user and root can read.
  - What is kept on the target, without secrets, is a file in C(/run/redisops-persistence), or in a directory of C(/dev/shm) for users other than root.
  - Run it on the server's own host, or on another machine that stays up. The watcher runs where the module runs.
seealso:
  - module: redisops.persistence.redis_diagnosis_info
  - module: redisops.persistence.redis_bgsave
  - module: redisops.persistence.redis_config
"""

EXAMPLES = r"""
---
- name: Let writes through for ten minutes at most
  redisops.persistence.redis_emergency_unblock:
    seconds: 600
  register: unblock

- name: Show what to type if the host itself goes away
  ansible.builtin.debug:
    msg: "{{ unblock.left_to_do }}"

- name: Put the protection back at once
  redisops.persistence.redis_emergency_unblock:
    state: absent
"""

RETURN = r"""
address:
  description: C(host:port), or C(unix:) and a path.
  returned: always
  type: str
  sample: 127.0.0.1:6379
changes:
  description: What differs afterwards, or would in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: The parameter.
      returned: always
      type: str
      sample: config stop-writes-on-bgsave-error
    before:
      description: Its value before.
      returned: always
      type: str
      sample: 'yes'
    after:
      description: Its value after.
      returned: always
      type: str
      sample: 'no'
    reversible:
      description: V(true).
      returned: always
      type: bool
      sample: true
diff:
  description: The same for C(--diff).
  returned: always
  type: list
  elements: dict
  contains:
    before_header:
      description: The parameter and the server.
      returned: always
      type: str
      sample: config stop-writes-on-bgsave-error of 127.0.0.1:6379
    after_header:
      description: The same.
      returned: always
      type: str
      sample: config stop-writes-on-bgsave-error of 127.0.0.1:6379
    before:
      description: The value before.
      returned: always
      type: str
      sample: "yes\n"
    after:
      description: The value after.
      returned: always
      type: str
      sample: "no\n"
value_before:
  description: The value that is put back. V(null) where no unblock stands.
  returned: always
  type: str
  sample: 'yes'
deadline_unix:
  description: When the parameter is put back at the latest, in seconds since the epoch. V(null) where nothing is unblocked, or only would be.
  returned: always
  type: int
  sample: 1760000900
watcher_pid:
  description: The process that puts it back.
  returned: always
  type: int
  sample: 4711
extended:
  description: Whether the end of an unblock that stood already was moved.
  returned: always
  type: bool
  sample: false
left_to_do:
  description: What a person types to put the parameter back, should the watcher's machine go away. Without the password.
  returned: always
  type: str
  sample: redis-cli -h 127.0.0.1 -p 6379 CONFIG SET stop-writes-on-bgsave-error yes
message:
  description: What was found or done, where the other values don't say it.
  returned: always
  type: str
  sample: No emergency unblock of ours stands.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._emergency import run_emergency
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "seconds": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    result = run_emergency(module.params, module_system(module), module.check_mode)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
