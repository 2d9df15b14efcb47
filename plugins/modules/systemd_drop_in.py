#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_drop_in
short_description: Writes or removes one of the collection's drop-in files beside a systemd unit
version_added: 0.1.0
description:
  - Writes the file whole, makes the directory beside the unit where there is none, and tells systemd (C(systemctl daemon-reload)).
  - Changes only files that this collection wrote, which it knows by their names and by their first line.
  - M(ansible.builtin.copy) can't foretell in check mode what it would do in a directory that is not there yet. That is why this module exists.
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
  path:
    description:
      - C(/etc/systemd/system/UNIT.d/zz-redisops-NAME.conf).
    type: str
    required: true
  content:
    description:
      - The whole text. Its first line must begin with C(# Written by redisops.persistence).
      - Needed where O(state=present).
    type: str
  state:
    description:
      - Whether the file is to be there.
    type: str
    default: present
    choices:
      present: The file has the text of O(content).
      absent: There is no such file. The directory goes with it where nothing else is in it.
seealso:
  - module: redisops.persistence.process_limit
  - module: redisops.persistence.cgroup_limit
"""

EXAMPLES = r"""
---
- name: Keep a higher limit on processes after the next start, see first
  redisops.persistence.systemd_drop_in:
    path: /etc/systemd/system/redis-server.service.d/zz-redisops-process-limit.conf
    content: |
      # Written by redisops.persistence
      [Service]
      LimitNPROC=65536
  check_mode: true
  diff: true
"""

RETURN = r"""
changes:
  description: What differs now, or in check mode would.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: C(file) and its path, or C(directory) and its path.
      returned: always
      type: str
      sample: file /etc/systemd/system/redis-server.service.d/zz-redisops-process-limit.conf
    before:
      description: The text of the file, V(present) for a directory, V(null) where there was none.
      returned: always
      type: str
      sample:
    after:
      description: The same afterwards.
      returned: always
      type: str
      sample: "# Written by redisops.persistence\n[Service]\nLimitNPROC=65536\n"
    reversible:
      description: V(true).
      returned: always
      type: bool
      sample: true
reload_error:
  description: Why systemd could not be told of the change. V(null) where it was, or nothing was to tell.
  returned: always
  type: str
  sample:
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import changed_result, diff_of
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_drop_in import (
    DropIn,
    DropInError,
    make_changes,
    plan_changes,
    reload_systemd,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "content": {"type": "str"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        },
        required_if=[("state", "present", ["content"])],
        supports_check_mode=True,
    )
    content = module.params["content"] if module.params["state"] == "present" else None
    wanted = DropIn(module.params["path"], content)
    system = module_system(module)
    reload_error = None
    try:
        changes = plan_changes(system, wanted)
        if not module.check_mode:
            make_changes(system, wanted, changes)
    except DropInError as error:
        module.fail_json(msg=str(error), changed=False, changes=[], reload_error=None)
    if changes and not module.check_mode:
        reload_error = reload_systemd(system)
    if reload_error:
        module.warn(reload_error)
    diff = [diff_of(entry["what"], entry["before"], entry["after"]) for entry in changes]
    module.exit_json(**changed_result(changes, diff, reload_error=reload_error))


if __name__ == "__main__":
    main()
