#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: process_limit
short_description: Sets a resource limit of a running server
version_added: 0.1.0
description:
  - Sets the soft limit of a running process on processes or on the size of files, without a restart.
  - The hard limit is raised where it is too low and the module may do that. It is never lowered.
  - Root without the capability C(CAP_SYS_RESOURCE), as in a container, may not change a limit of another user's process. The module
    then starts a child process that becomes the process's own user, and raises the limit as far as the hard one.
  - Root raises a limit only for a server of which only root decides what it is, see O(accept). The server's own user needs no such leave.
  - The change ends with the process. What the next start of the server gets is set in its service's unit.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  pid:
    description:
      - The process, as the machine numbers it.
    type: int
    required: true
  started_unix:
    description:
      - When that process started, in seconds since the epoch, as RV(redisops.persistence.redis_host_info#module:instances[].process.started_unix).
      - A process that started at another time, two seconds apart or more, is left alone. Its number was given away again.
    type: float
  resource:
    description:
      - The limit.
    type: str
    required: true
    choices:
      nproc: How many processes and threads the user may have, C(RLIMIT_NPROC). A save needs one more.
      fsize: How many bytes a file may have, C(RLIMIT_FSIZE). A save that would write more is killed.
  value:
    description:
      - A number above 0, or V(unlimited).
    type: str
    required: true
  expected:
    description:
      - Leave the limit alone where it is neither O(value) nor this, and say so in RV(conflict).
    type: str
  config_file:
    description:
      - The server's configuration file as the server itself names it, and empty where it has none.
        A server that no system unit runs is trusted only where root has started it and only root can write its program and this file.
      - Not needed for the main process of a system unit.
    type: str
  accept:
    description:
      - What is accepted although it stands against the change. Everything else is refused, by the names that stand here.
    type: list
    elements: str
    default: []
    choices:
      untrusted_server: Any local user may have started this server to be given a higher limit, or that is not known.
seealso:
  - module: redisops.persistence.redis_host_info
  - module: redisops.persistence.kernel_setting
  - module: redisops.persistence.cgroup_limit
"""

EXAMPLES = r"""
---
- name: Let the server fork again
  redisops.persistence.process_limit:
    pid: 4711
    resource: nproc
    value: "65536"

- name: Let the dump grow, on exactly the process that was looked at
  redisops.persistence.process_limit:
    pid: 4711
    started_unix: 1760000000.25
    resource: fsize
    value: unlimited
    config_file: /etc/redis/redis.conf
"""

RETURN = r"""
pid:
  description: The process.
  returned: when its limits could be read
  type: int
  sample: 4711
resource:
  description: The limit.
  returned: when it could be read
  type: str
  sample: nproc
soft:
  description: The limit that is in force.
  returned: when it could be read
  type: dict
  contains:
    before:
      description: A number, or V(unlimited).
      returned: always
      type: raw
      sample: 64
    after:
      description: The same afterwards.
      returned: always
      type: raw
      sample: 65536
hard:
  description: How far the process may raise it by itself.
  returned: when it could be read
  type: dict
  contains:
    before:
      description: A number, or V(unlimited).
      returned: always
      type: raw
      sample: unlimited
    after:
      description: The same afterwards.
      returned: always
      type: raw
      sample: unlimited
method:
  description: V(direct), V(as_its_user) for a child process that became the process's user, or V(none) where nothing was to be done.
  returned: when the limit could be read
  type: str
  sample: as_its_user
conflict:
  description: Why the limit was left alone. V(null) where it was not.
  returned: when the limit could be read
  type: str
  sample: "The limit nproc is 100, neither 64 nor 65536: somebody else has changed it"
changes:
  description: What differs afterwards.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: The thing that differs.
      returned: always
      type: str
      sample: limit nproc of the process
    before:
      description: What it was.
      returned: always
      type: raw
      sample: 64
    after:
      description: What it is.
      returned: always
      type: raw
      sample: 65536
    reversible:
      description: Whether it can be put back.
      returned: always
      type: bool
      sample: true
diff:
  description: The same as a difference of texts.
  returned: always
  type: list
  elements: dict
  contains:
    before_header:
      description: The thing that differs.
      returned: always
      type: str
      sample: limit nproc of the process
    after_header:
      description: The same.
      returned: always
      type: str
      sample: limit nproc of the process
    before:
      description: What it was.
      returned: always
      type: str
      sample: "64\n"
    after:
      description: What it is.
      returned: always
      type: str
      sample: "65536\n"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import finish
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import UNTRUSTED_SERVER
from ansible_collections.redisops.persistence.plugins.module_utils._privilege_check import accept_option
from ansible_collections.redisops.persistence.plugins.module_utils._process_limit_change import change_process_limit
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "pid": {"type": "int", "required": True},
            "started_unix": {"type": "float"},
            "resource": {"type": "str", "required": True, "choices": ["nproc", "fsize"]},
            "value": {"type": "str", "required": True},
            "expected": {"type": "str"},
            **accept_option((UNTRUSTED_SERVER,)),
        },
        supports_check_mode=True,
    )
    finish(module, change_process_limit(module.params, module_system(module), module.check_mode))


if __name__ == "__main__":
    main()
