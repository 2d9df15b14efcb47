#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_setting
short_description: Sets a sysctl or the policy of transparent huge pages, now and at boot
version_added: 0.1.0
description:
  - Sets the running value of a kernel setting, and what the next boot makes of it, in a file of its own.
  - Reads everything that sets the value at boot first. Where something else would have the say after that file, such as a later file of
    C(sysctl.d), a unit or TuneD, no file is written, and RV(boot.reason) names what to change instead.
  - Where the next boot sets the wanted value already, by whatever means, nothing is written.
  - The running value comes first. Where it can't be set, nothing is done at all.
  - A setting holds for every process of the machine.
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
  name:
    description:
      - The name of a sysctl, with dots or slashes, or V(transparent_hugepage).
    type: str
    required: true
  value:
    description:
      - The value, in one line. For V(transparent_hugepage) one of V(always), V(madvise), V(never).
    type: str
    required: true
  boot:
    description:
      - What is done about the next boot.
    type: str
    default: present
    choices:
      present:
        - A file makes the next boot set the value. For a sysctl it is C(/etc/sysctl.d/99-zz-redisops-persistence.conf).
        - For V(transparent_hugepage) it is C(/etc/tmpfiles.d/redisops-persistence.conf) where systemd boots the machine, which reads it before
          it starts services. Elsewhere it is C(/etc/sysfs.d/99-zz-redisops-persistence.conf) if a run level starts sysfsutils, or
          C(/etc/local.d/zz-redisops-persistence.start) with OpenRC.
      absent: The setting is taken out of that file, and the file is removed where nothing else is in it. A file that the module did not write stays.
      unchanged: Nothing.
  running:
    description:
      - Whether the running value is set.
    type: bool
    default: true
  expected:
    description:
      - Leave everything alone where the running value is neither O(value) nor this, and say so in RV(conflict).
    type: str
seealso:
  - module: redisops.persistence.redis_host_info
  - module: redisops.persistence.process_limit
  - module: redisops.persistence.cgroup_limit
"""

EXAMPLES = r"""
---
- name: Let the fork of a save through, now and at boot
  redisops.persistence.kernel_setting:
    name: vm.overcommit_memory
    value: "1"

- name: Keep copy-on-write small
  redisops.persistence.kernel_setting:
    name: transparent_hugepage
    value: never

- name: Take it back, unless somebody has changed it since
  redisops.persistence.kernel_setting:
    name: vm.overcommit_memory
    value: "0"
    expected: "1"
    boot: absent
"""

RETURN = r"""
name:
  description: The setting. A sysctl with dots, or with slashes where a part of its name has a dot in it.
  returned: when the options are valid
  type: str
  sample: vm.overcommit_memory
running:
  description: The running value.
  returned: when the options are valid
  type: dict
  contains:
    before:
      description: The value found. V(null) where it can't be read.
      returned: always
      type: str
      sample: "0"
    after:
      description: The value afterwards.
      returned: always
      type: str
      sample: "1"
boot:
  description: What the next boot makes of the setting.
  returned: when the options are valid
  type: dict
  contains:
    before:
      description: What it would have made of it, and where each word about it stands.
      returned: always
      type: dict
      contains:
        value:
          description: What the boot would have set. V(null) where nothing sets it, or where it can't be told.
          returned: always
          type: str
          sample: "0"
        source:
          description: Who has the last word, a file and line, a unit, or V(kernel command line).
          returned: always
          type: str
          sample: /etc/sysctl.d/60-database.conf:3
        candidates:
          description: Every place that names the setting, in the order in which a boot reads them.
          returned: always
          type: list
          elements: dict
          contains:
            source:
              description: The place.
              returned: always
              type: str
              sample: /etc/sysctl.d/60-database.conf:3
            line:
              description: What it says.
              returned: always
              type: str
              sample: vm.overcommit_memory = 0
            value:
              description: The value in it. V(null) where it can't be told.
              returned: always
              type: str
              sample: "0"
            effective:
              description: Whether it has the last word.
              returned: always
              type: bool
              sample: true
            note:
              description: Why it is passed over, or overridden by what.
              returned: always
              type: str
              sample: overridden by /etc/sysctl.d/60-database.conf:3
        overridden_by:
          description: Who has the last word, where other places say something else.
          returned: always
          type: list
          elements: str
          sample: []
        managed_by:
          description: V(tuned:) and the profile where TuneD sets it.
          returned: always
          type: str
          sample: tuned:throughput-performance
        truncated:
          description: V(true) where there are more candidates than are listed.
          returned: where there are
          type: bool
          sample: true
    after:
      description: What the next boot sets afterwards.
      returned: always
      type: str
      sample: "1"
    file:
      description: The module's own file. V(null) where there is none afterwards.
      returned: always
      type: str
      sample: /etc/sysctl.d/99-zz-redisops-persistence.conf
    form:
      description: The form of that file on this machine, V(sysctl.d), V(tmpfiles.d), V(sysfs.d), V(local.d), or V(none) where there is none.
      returned: always
      type: str
      sample: sysctl.d
    effective:
      description: Whether the next boot sets O(value). V(null) where that can't be told.
      returned: always
      type: bool
      sample: true
    overridden_by:
      description: What has the say instead of the module's file, which is not written then.
      returned: always
      type: list
      elements: str
      sample: []
    reason:
      description: What there is to say, such as why no file was written.
      returned: always
      type: str
      sample: "/etc/rc.local:4 has the say at boot, whatever /etc/sysctl.d/99-zz-redisops-persistence.conf says, and sets
        vm.overcommit_memory to 0: change it there"
conflict:
  description: Why everything was left alone. V(null) where it was not.
  returned: when the options are valid
  type: str
  sample: "vm.overcommit_memory is 2, neither 0 nor 1: somebody else has changed it, and it is left alone"
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
      sample: sysctl vm.overcommit_memory
    before:
      description: What it was.
      returned: always
      type: raw
      sample: "0"
    after:
      description: What it is.
      returned: always
      type: raw
      sample: "1"
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
      sample: sysctl vm.overcommit_memory
    after_header:
      description: The same.
      returned: always
      type: str
      sample: sysctl vm.overcommit_memory
    before:
      description: What it was.
      returned: always
      type: str
      sample: "0\n"
    after:
      description: What it is.
      returned: always
      type: str
      sample: "1\n"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_setting_change import change_kernel_setting
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import finish
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "value": {"type": "str", "required": True},
            "boot": {"type": "str", "default": "present", "choices": ["present", "absent", "unchanged"]},
            "running": {"type": "bool", "default": True},
            "expected": {"type": "str"},
        },
        supports_check_mode=True,
    )
    finish(module, change_kernel_setting(module.params, module_system(module), module.check_mode))


if __name__ == "__main__":
    main()
