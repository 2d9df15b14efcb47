# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After all hosts of a play: the report, and the fleet in one line."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import collected, fleet, play_report, report

OPTIONS = play_report.OPTIONS
KIND = play_report.Kind("diagnosis_report", collected.DIAGNOSIS, report.build, fleet.fleet_line)


class ActionModule(ActionBase):
    """Sum up what the hosts of the play have found. Reads variables, asks no host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        return play_report.sum_up(self, task_vars or {}, KIND)
