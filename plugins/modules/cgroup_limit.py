#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cgroup_limit
short_description: Sets the memory or process limit of a server's control group
version_added: 0.1.0
description:
  - Sets the limit of a control group, of version 1 or 2, that a running process is in, or of one above it.
  - A group that the process is not in (any more) is left alone. So is one that uses more already than the limit would allow.
  - With version 1 memory alone must not be allowed more than memory and swap together. Where the kernel counts both, the second limit
    moves with the first, so that what is left for swap stays as it is.
  - The change ends with the group, and a service manager may take it back. What lasts is set in the service's unit.
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
  controller:
    description:
      - What is limited.
    type: str
    required: true
    choices:
      memory: Bytes of memory, rounded down to whole pages.
      pids: Processes and threads.
  path:
    description:
      - The group, as C(/proc/PID/cgroup) writes it, and RV(redisops.persistence.redis_host_info#module:instances[].cgroups.memory[].path).
    type: str
    required: true
  value:
    description:
      - A number of bytes or of processes, or V(unlimited).
    type: str
    required: true
  expected:
    description:
      - Leave the limit alone where it is neither O(value) nor this, and say so in RV(conflict).
    type: str
seealso:
  - module: redisops.persistence.redis_host_info
  - module: redisops.persistence.kernel_setting
  - module: redisops.persistence.process_limit
"""

EXAMPLES = r"""
---
- name: More processes for the server's group
  redisops.persistence.cgroup_limit:
    pid: 4711
    controller: pids
    path: /system.slice/redis-server.service
    value: "512"

- name: Memory for the copies that a save makes
  redisops.persistence.cgroup_limit:
    pid: 4711
    started_unix: 1760000000.25
    controller: memory
    path: /system.slice/redis-server.service
    value: "8589934592"
"""

RETURN = r"""
controller:
  description: What is limited.
  returned: success
  type: str
  sample: memory
version:
  description: The version of the control groups, V(1) or V(2).
  returned: success
  type: int
  sample: 2
control_group:
  description: The path of the group.
  returned: success
  type: str
  sample: /system.slice/redis-server.service
limit:
  description: The limit of the group.
  returned: success
  type: dict
  contains:
    before:
      description: Bytes or processes, or V(unlimited).
      returned: always
      type: raw
      sample: 4294967296
    after:
      description: The same afterwards. Memory is rounded down to whole pages.
      returned: always
      type: raw
      sample: 8589934592
memory_and_swap:
  description: The limit on memory and swap together. V(null) with version 2, for processes, and where the kernel does not count swap.
  returned: success
  type: dict
  contains:
    before:
      description: Bytes, or V(unlimited).
      returned: always
      type: raw
      sample: unlimited
    after:
      description: The same afterwards.
      returned: always
      type: raw
      sample: unlimited
usage:
  description: What the group used before the change, bytes or processes. V(null) where that can't be read.
  returned: success
  type: int
  sample: 3221225472
tighter_ancestor:
  description: The tightest of the process's other groups, where it lets less through than O(value). V(null) where none does.
  returned: success
  type: dict
  contains:
    path:
      description: The group.
      returned: always
      type: str
      sample: /system.slice
    limit:
      description: Its limit, bytes or processes.
      returned: always
      type: int
      sample: 6442450944
conflict:
  description: Why the limit was left alone. V(null) where it was not.
  returned: success
  type: str
  sample: "The pids limit of the control group /system.slice is 100, neither 64 nor 512: somebody else has changed it"
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
      sample: memory limit of the control group /system.slice/redis-server.service
    before:
      description: What it was.
      returned: always
      type: raw
      sample: 4294967296
    after:
      description: What it is.
      returned: always
      type: raw
      sample: 8589934592
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
      sample: memory limit of the control group /system.slice/redis-server.service
    after_header:
      description: The same.
      returned: always
      type: str
      sample: memory limit of the control group /system.slice/redis-server.service
    before:
      description: What it was.
      returned: always
      type: str
      sample: "4294967296\n"
    after:
      description: What it is.
      returned: always
      type: str
      sample: "8589934592\n"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._cgroup_limit_change import change_cgroup_limit
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import finish
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "pid": {"type": "int", "required": True},
            "started_unix": {"type": "float"},
            "controller": {"type": "str", "required": True, "choices": ["memory", "pids"]},
            "path": {"type": "str", "required": True},
            "value": {"type": "str", "required": True},
            "expected": {"type": "str"},
        },
        supports_check_mode=True,
    )
    finish(module, change_cgroup_limit(module.params, module_system(module), module.check_mode))


if __name__ == "__main__":
    main()
