# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the servers of a host, and what a remediation would do about it. Nothing is changed."""

from __future__ import annotations

import typing as t
from collections import abc

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    gathering,
    output,
    remediation_run,
    remediation_screen,
    run_again,
    run_identity,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan import build_plan
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import is_selected

OPTIONS: dict[str, dict[str, t.Any]] = {
    **remediation_run.GATHERING_OPTIONS,
    **remediation_run.RECORD_DIRECTORY_OPTION,
    "policy": {"type": "dict"},
    "report_dir": {"type": "path"},
}


class ActionModule(ActionBase):
    """Gather on the target, judge and plan on the control node."""

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
        if not is_selected(policy.run_tags, remediation_run.tags_around(self._task)):
            return _not_meant(policy.run_tags)
        remediation_run.check_places(
            {
                "remediate_record_dir": options["record_dir"],
                "remediate_report_dir": options["report_dir"],
                "remediate_rescue_control_dir": policy.rescue_control_dir,
            }
        )
        rules = gathering.rules_for(options)
        host = gathering.host_of(task_vars)
        look = remediation_run.look(self, task_vars, rules, host)
        result: dict[str, t.Any] = {
            "changed": False,
            "reachable": True,
            "error": None,
            "run_id": run_identity.run_id(),
            "operator": run_identity.operator(),
            "record_path": None,
            "diagnoses": look.diagnoses,
            "instances": [],
            "actions": [],
        }
        if look.evidence is None:
            result.update(look.trouble or {})
        else:
            plan = build_plan(look.evidence, look.diagnoses, rules, policy, check_mode=self._task.check_mode)
            seen = {instance["address"]: instance for instance in look.evidence["instances"]}
            result["instances"] = [
                {
                    **item,
                    "connection": remediation_run.with_tls(item["connection"], seen[item["address"]]),
                    "facts": look.facts[item["address"]],
                }
                for item in plan["instances"]
            ]
            result["actions"] = plan["actions"]
            if not look.diagnoses:
                result["gaps"] = look.evidence.get("gaps") or []
            if result["actions"]:
                result["record_path"] = remediation_run.open_record(
                    options["record_dir"], host, result["instances"], self._task.check_mode
                )
        if options["show"]:
            output.say(remediation_screen.render_plan(result, host, self._task.check_mode, run_again.this_run()))
        return result


def _not_meant(run_tags: abc.Set[str]) -> dict[str, t.Any]:
    """Nothing is looked at, and nothing done: what was asked for is another role, or a tag that was mistyped."""
    reason = (
        f"No server is remediated: the tags of this run ({', '.join(sorted(run_tags))}) are neither plan, apply, "
        "verify or a fix, nor a tag of the play or the role."
    )
    output.warn(reason)
    return {
        "changed": False,
        "skipped": True,
        "skip_reason": reason,
        "reachable": True,
        "error": None,
        "run_id": run_identity.run_id(),
        "operator": run_identity.operator(),
        "record_path": None,
        "diagnoses": [],
        "instances": [],
        "actions": [],
    }
