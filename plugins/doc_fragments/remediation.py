# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that the actions of a remediation share."""

from __future__ import annotations


class ModuleDocFragment:
    """``redisops.persistence.remediation``: looking at a host. The parts are for some of the actions alone."""

    DOCUMENTATION = r"""
options:
  deep:
    description:
      - As O(redisops.persistence.redis_diagnosis_info#module:deep).
    type: bool
    default: false
  log_limit_bytes:
    description:
      - The most that is read from the end of each log.
    type: int
    default: 2097152
  show:
    description:
      - Print for the operator what is returned, as plain text, while the playbook runs.
    type: bool
    default: false
  extra_nodes:
    description:
      - As O(redisops.persistence.redis_diagnosis_info#module:extra_nodes).
    type: list
    elements: dict
  extra_outcomes:
    description:
      - As O(redisops.persistence.redis_diagnosis_info#module:extra_outcomes).
    type: list
    elements: dict
  extra_risks:
    description:
      - As O(redisops.persistence.redis_diagnosis_info#module:extra_risks).
    type: list
    elements: dict
"""

    POLICY = r"""
options:
  policy:
    description:
      - What the operator allows, as the variables of the role P(redisops.persistence.remediate#role) without their
        prefix C(remediate_).
      - The keys are C(opt_in), C(skip), C(scope), C(allowed_dirs), C(rescue_dir), C(rescue_control_dir),
        C(emergency_seconds), C(process_limit),
        C(pids_limit), C(cgroup_memory_bytes), C(save_points), C(maxmemory), C(verify_timeout_seconds), C(run_tags)
        and C(skip_tags).
      - What is left out is the safe choice. A value that can't be used is refused before the host is asked anything.
    type: dict
"""

    PLAN = r"""
options:
  plan:
    description:
      - What M(redisops.persistence.remediation_plan) has returned.
    type: dict
    required: true
"""

    RECORD = r"""
options:
  record_path:
    description:
      - The record of this run, as RV(redisops.persistence.remediation_plan#module:record_path) names it. Not needed
        in check mode.
    type: path
"""

    RECORD_DIR = r"""
options:
  record_dir:
    description:
      - The directory on the control node that has the records. Each run has a directory there, with one file a
        host, readable by its owner alone.
      - Needed where something will be changed. Where it can't be written, nothing is changed.
      - It must be a directory that only you and root can write, and no link that another user may have made may lie on
        the way to it. Another place is refused.
    type: path
"""
