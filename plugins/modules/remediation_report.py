#!/usr/bin/python

# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_report
short_description: Sums up what a remediation has achieved on the hosts of a play
version_added: 0.1.0
description:
  - Writes C(report.json) on the control node and prints the fleet in one line, from the host fact C(remediate_results) that the role
    P(redisops.persistence.remediate#role) sets.
  - Asks no host anything, and is meant to run once, after all hosts. It never fails for what the hosts have come to.
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
    support: N/A
    details:
      - Nothing is changed on a host.
  idempotent:
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
  - module: redisops.persistence.remediation_conclusion
  - module: redisops.persistence.diagnosis_report
"""

EXAMPLES = r"""
---
- name: Sum up the fleet
  redisops.persistence.remediation_report:
    report_dir: ./reports
  run_once: true
"""

RETURN = r"""
complete:
  description: Whether every host of the play is through, or has left the play.
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
      returned: success
      type: int
      sample: 12
    servers:
      description: Servers on them.
      returned: success
      type: int
      sample: 14
    cured:
      description: Servers that could not save, and now have.
      returned: success
      type: int
      sample: 1
    improved:
      description: Servers of which something was put right.
      returned: success
      type: int
      sample: 2
    unchanged:
      description: Servers without a change.
      returned: success
      type: int
      sample: 10
    refused:
      description: Servers for which what would help was not done.
      returned: success
      type: int
      sample: 1
    failed:
      description: Servers of which a fix or the proof failed.
      returned: success
      type: int
      sample: 0
    still_failing:
      description: Servers whose last save still counts as failed.
      returned: success
      type: int
      sample: 1
    changes:
      description: Changes made, or in check mode foretold.
      returned: success
      type: int
      sample: 5
    unreachable:
      description: Hosts without a connection.
      returned: success
      type: int
      sample: 0
    in_trouble:
      description: Hosts with a connection on which something went wrong for the host as a whole.
      returned: success
      type: int
      sample: 0
"""
