#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_lock
short_description: Lets one run remediate a host at a time
version_added: 0.1.0
description:
  - Takes a lock on the host that says who remediates it since when, or gives it back. Somebody else's lock makes the task fail and is named.
  - A lock is a lease. One whose time is over is taken over with a warning, and so is one whose run was started on this very control node and is gone.
  - The lock is the file C(/run/redisops-persistence/lock), or where that can't be written, or for another user than root,
    C(/dev/shm/redisops-persistence-UID.lock). A file there that belongs to another user is not believed.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
attributes:
  check_mode:
    support: full
    details:
      - Only looks who has the lock, and fails as it would.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - The lock is no change. It is gone when the run is over.
options:
  state:
    description:
      - V(acquired) takes the lock, or prolongs the lease where this run has it.
      - V(released) gives it back. Somebody else's is left alone, with a warning where it was taken from this run.
    type: str
    default: acquired
    choices: [acquired, released]
  run_id:
    description:
      - The name of the run. Letters, digits, dots, colons, V(-) and V(_).
    type: str
    required: true
  operator:
    description:
      - Who runs it, for others to read. Filled in on the control node.
    type: str
  lease_seconds:
    description:
      - For how long the lock holds where it is neither prolonged nor given back.
    type: int
    default: 3600
  control_host:
    description:
      - The name of the control node. Filled in on the control node.
    type: str
  control_identity:
    description:
      - What tells the control node from others of its name. Filled in on the control node.
    type: str
  control_pid:
    description:
      - The process of the run on the control node. Filled in on the control node.
    type: int
  control_started:
    description:
      - The start of that process as the control node counts it. Filled in on the control node.
    type: str
  take_over_from:
    description:
      - The run whose lock may be taken, because it is known to be no more. Filled in on the control node.
    type: str
seealso:
  - module: redisops.persistence.redis_diagnosis_info
"""

EXAMPLES = r"""
---
- name: Be the only one who remediates this host
  redisops.persistence.remediation_lock:
    run_id: 20261122T235901Z-4711

- name: Let others
  redisops.persistence.remediation_lock:
    state: released
    run_id: 20261122T235901Z-4711
"""

RETURN = r"""
acquired:
  description: Whether this run has the lock now. V(false) in check mode.
  returned: always
  type: bool
  sample: true
lock_file:
  description: The file of the lock. V(null) where there is none.
  returned: always
  type: str
  sample: /run/redisops-persistence/lock
holder:
  description: Who has the lock now. V(null) where nobody has.
  returned: always
  type: dict
  contains:
    run_id:
      description: The run.
      returned: always
      type: str
      sample: 20261122T235901Z-4711
    operator:
      description: Who runs it.
      returned: always
      type: str
      sample: alice@bastion
    control_host:
      description: The control node.
      returned: always
      type: str
      sample: bastion
    control_identity:
      description: What tells the control node from others of its name.
      returned: always
      type: str
      sample: 8657f5bd-35d3-4bbc-a6b0-1cdd016294f9 pid:[4026531836]
    control_pid:
      description: The process of the run on the control node.
      returned: always
      type: int
      sample: 4711
    control_started:
      description: The start of that process as the control node counts it.
      returned: always
      type: str
      sample: "1255185"
    since_unix:
      description: When the lock was taken, by the host's clock.
      returned: always
      type: float
      sample: 1760000000.25
    expires_unix:
      description: When the lease is over, by the host's clock.
      returned: always
      type: float
      sample: 1760003600.25
taken_over:
  description: Who had the lock that was taken over, in the form of RV(holder). V(null) where none was.
  returned: always
  type: dict
  sample:
changes:
  description: Empty. A lock is no change of the host.
  returned: always
  type: list
  elements: dict
  sample: []
diff:
  description: Empty.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redisops.persistence.plugins.module_utils._remediation_lock import (
    LockError,
    argument_spec,
    run_lock,
)
from ansible_collections.redisops.persistence.plugins.module_utils._runner import module_system


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run_lock(module.params, module_system(module), module.check_mode)
    except LockError as error:
        module.fail_json(msg=str(error), **error.result)
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
