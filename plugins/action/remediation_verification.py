# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the fixes: another look at the host, and which saves may be started to prove the cure."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    gathering,
    output,
    remediation_run,
    remediation_screen,
    run_again,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan import verification_actions

OPTIONS: dict[str, dict[str, t.Any]] = {
    **remediation_run.GATHERING_OPTIONS,
    **remediation_run.RECORD_OPTION,
    "policy": {"type": "dict"},
    "plan": {"type": "dict", "required": True},
}


class ActionModule(ActionBase):
    """Gather on the target, decide on the control node."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        options = gathering.check_options(OPTIONS, self._task.args)
        policy = remediation_run.policy_of(options)
        rules = gathering.rules_for(options)
        plan = remediation_run.plan_argument(options)
        host = gathering.host_of(task_vars)
        document = remediation_run.read_record(options["record_path"], host, self._task.check_mode)
        look = remediation_run.look(self, task_vars, rules, host, again=True)
        result: dict[str, t.Any] = {
            "changed": False,
            "reachable": True,
            "error": None,
            "diagnoses": look.diagnoses,
            "fixes": [],
            "actions": [],
        }
        if look.evidence is None:
            result.update(look.trouble or {})
            output.warn(f"{host}: no save is started, because the host could not be examined again: {result['error']}")
            return result
        changed = remediation_run.changed_servers(document, plan) if document else []
        fixes, actions = verification_actions(look.evidence, look.diagnoses, rules, policy, changed, plan)
        result.update(fixes=fixes, actions=actions)
        if document is not None:
            document["decisions"] = {item["address"]: item["plan"] for item in fixes}
            remediation_run.write_record(options["record_path"], host, document, self._task.check_mode)
        text = remediation_screen.render_refused_saves(fixes, host, run_again.this_run())
        if options["show"] and text:
            output.say(text)
        return result
