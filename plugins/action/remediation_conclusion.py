# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a run on one host: a last look, a remediation document for each server, and whether the play must fail."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    gathering,
    outcome,
    output,
    record,
    remediation_run,
    remediation_screen,
    rollback,
    run_again,
)

OPTIONS: dict[str, dict[str, t.Any]] = {
    **remediation_run.GATHERING_OPTIONS,
    **remediation_run.RECORD_OPTION,
    "plan": {"type": "dict", "required": True},
    "error": {"type": "str"},
}


class ActionModule(ActionBase):
    """Gather on the target where something was done, conclude on the control node."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        options = gathering.check_options(OPTIONS, self._task.args)
        rules = gathering.rules_for(options)
        plan = remediation_run.plan_argument(options)
        host, check_mode = gathering.host_of(task_vars), self._task.check_mode
        document: dict[str, t.Any] = {}
        if plan["actions"]:
            document = remediation_run.read_record(options["record_path"] or None, host, check_mode) or {}
        if document.get("kind") == record.ROLLBACK or "not_reversible" in plan:
            return self._conclude_rollback(document, options, host)
        entries = document.get("entries") or []
        look = remediation_run.look(self, task_vars, rules, host, again=True) if entries and not check_mode else None
        trouble = (look.trouble or {}) if look else {}
        run = outcome.Run(
            plan=plan,
            entries=entries,
            decisions=document.get("decisions") or {},
            after=after_of(look) if look and look.evidence is not None else None,
            error=options["error"] or None,
            trouble=trouble.get("error"),
            check_mode=check_mode,
        )
        conclusion = outcome.conclude(run)
        if document and not check_mode:
            record.close(document, time.time())
            remediation_run.write_record(options["record_path"], host, document, check_mode)
        if options["show"] and conclusion.remediations:
            run_id = str(document.get("run_id") or "") or None
            output.say(
                remediation_screen.render_outcome(
                    conclusion.remediations, host, check_mode, run_id, run_again.this_run()
                )
            )
        return {
            "changed": False,
            "reachable": bool(plan.get("reachable", True) and trouble.get("reachable", True)),
            "error": plan.get("error") or trouble.get("error") or options["error"] or None,
            "remediations": conclusion.remediations,
            "cured_all": conclusion.cured_all,
            "must_fail": bool(conclusion.failures),
            "failures": conclusion.failures,
        }

    def _conclude_rollback(self, document: dict[str, t.Any], options: dict[str, t.Any], host: str) -> dict[str, t.Any]:
        """No other look at the host: what the modules said of each value is what has become of it."""
        error, check_mode = options["error"] or None, self._task.check_mode
        failures = rollback.failures(document, error)
        if options["show"] and (document or error):
            output.say(remediation_screen.render_undone(rollback.undone(document), host, check_mode, error))
        return {
            "changed": False,
            "reachable": True,
            "error": error,
            "remediations": [],
            "cured_all": not failures,
            "must_fail": bool(failures),
            "failures": failures,
        }


def after_of(look: remediation_run.Look) -> dict[str, dict[str, t.Any]]:
    """{address: {diagnosis, facts}}."""
    return {
        diagnosis["instance"]["address"]: {
            "diagnosis": diagnosis,
            "facts": look.facts.get(diagnosis["instance"]["address"], {}),
        }
        for diagnosis in look.diagnoses
    }
