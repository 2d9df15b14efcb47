#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_report
short_description: Sums up what the hosts of a play have been diagnosed with
version_added: 0.1.0
description:
  - Writes C(report.json) on the control node and prints the fleet in one line, from what M(redisops.persistence.redis_diagnosis_info) found on the
    hosts of this play.
  - It reads the host fact C(diagnose_results) that the role P(redisops.persistence.diagnose#role) sets, asks no host anything, and is meant to run
    once, as the last task of that role.
  - With C(serial) the report grows with each batch, and the line is printed after the last one. With a strategy that runs host by host it waits for
    the last host.
author:
  - The redisops.persistence contributors (@redisops)
extends_documentation_fragment:
  - redisops.persistence.attributes
attributes:
  check_mode:
    description: Can run in C(check_mode). The report is written in check mode too, since it lies on the control node.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: N/A
    details:
      - Nothing is changed on a host.
  idempotent:
    description: When run twice in a row with the same arguments, the second run does not change anything.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
options:
  report_dir:
    description:
      - A directory on the control node. C(report.json) is written there, whole or not at all, readable by its owner alone.
    type: path
  show:
    description:
      - Print the fleet in one line, after the last host.
    type: bool
    default: true
seealso:
  - module: redisops.persistence.redis_diagnosis_info
"""

EXAMPLES = r"""
---
- name: Sum up the fleet
  redisops.persistence.diagnosis_report:
    report_dir: ./reports
  run_once: true
"""

RETURN = r"""
complete:
  description: Whether every host of the play has been diagnosed, or has left the play.
  returned: success
  type: bool
  sample: true
path:
  description: The report.
  returned: when O(report_dir) is set
  type: str
  sample: /home/operator/reports/report.json
summary:
  description: Counts over the hosts and servers of this play.
  returned: when the report is due
  type: dict
  contains:
    hosts:
      description: Hosts.
      type: int
      returned: success
      sample: 12
    servers:
      description: Servers on them.
      type: int
      returned: success
      sample: 14
    failing:
      description: Servers whose last save failed.
      type: int
      returned: success
      sample: 1
    writes_blocked:
      description: Servers that refuse writes because of it.
      type: int
      returned: success
      sample: 1
    at_risk:
      description: Servers that save, but have a severe risk or a next save that will fail.
      type: int
      returned: success
      sample: 2
    unknown:
      description: Servers of which nobody can say whether they can save.
      type: int
      returned: success
      sample: 0
    unreachable:
      description: Hosts without a connection.
      type: int
      returned: success
      sample: 0
    in_trouble:
      description: Hosts with a connection, on which nothing could be run.
      type: int
      returned: success
      sample: 0
    states:
      description: Servers by state.
      type: dict
      returned: success
      sample: {"failing": 1, "healthy": 13}
    causes:
      description: Servers by the id of their first cause.
      type: dict
      returned: success
      sample: {"disk_full": 1}
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """The work is done by the action plugin of the same name."""
    module = AnsibleModule(
        argument_spec={"report_dir": {"type": "path"}, "show": {"type": "bool", "default": True}},
        supports_check_mode=True,
    )
    module.fail_json(msg="This runs on the control node only, through its action plugin.")


if __name__ == "__main__":
    main()
