# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After all hosts of a play: the report of a remediation, and the fleet in one line."""

from __future__ import annotations

import functools
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import collected, play_report, remediation_report

OPTIONS = play_report.OPTIONS


class ActionModule(ActionBase):
    """Sum up what the hosts of the play have come to. Reads variables, asks no host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        is_check = bool(self._task.check_mode)
        kind = play_report.Kind(
            "remediation_report",
            collected.REMEDIATION,
            functools.partial(remediation_report.build, check_mode=is_check),
            functools.partial(remediation_report.fleet_line, check_mode=is_check),
        )
        return play_report.sum_up(self, task_vars or {}, kind)
