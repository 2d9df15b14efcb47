# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a host, with what only the control node knows: who runs this, and whether another run of here is gone."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.module_utils._remediation_lock import (
    argument_spec,
    describe_holder,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils import run_identity

MODULE = "redisops.persistence.remediation_lock"


class ActionModule(ActionBase):
    """Ask the module; where a run of this control node has the lock and is gone, ask it to take the lock over."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(argument_spec())

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        arguments = self._arguments()
        result = self._execute(arguments, task_vars)
        holder = result.get("holder")
        if not result.get("failed") or not isinstance(holder, dict):
            return result
        if is_gone(holder, arguments["control_identity"]):
            result = self._execute({**arguments, "take_over_from": holder["run_id"]}, task_vars)
            holder = result.get("holder")
        if result.get("failed") and isinstance(holder, dict):
            host = str(task_vars.get("inventory_hostname") or "localhost")
            result["msg"] = describe_holder(host, holder, result.get("lock_file"))
            # The module does not know the host's name, and its own text would be shown first.
            result.pop("exception", None)
        return result

    def _arguments(self) -> dict[str, t.Any]:
        """The task's arguments, and of this run what they don't say."""
        process = run_identity.run_process()
        known = {
            "operator": run_identity.operator(),
            "control_host": run_identity.control_host(),
            "control_identity": run_identity.control_identity(),
            "control_pid": process.pid,
            "control_started": process.started,
        }
        given = {name: value for name, value in self._task.args.items() if value is not None}
        return {**known, **given}

    def _execute(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        result: dict[str, t.Any] = self._execute_module(
            module_name=MODULE, module_args=dict(arguments), task_vars=task_vars
        )
        return result


def is_gone(holder: dict[str, t.Any], control_identity: str | None) -> bool:
    """Whether the holder's run was started on this control node, since its last boot, and does not run any more."""
    pid = holder.get("control_pid")
    if control_identity is None or holder.get("control_identity") != control_identity:
        return False
    if not isinstance(pid, int) or not holder.get("run_id"):
        return False
    return run_identity.is_running(pid, holder.get("control_started")) is False
