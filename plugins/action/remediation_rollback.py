# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback puts back on a host, out of the record of a run. Nothing is changed."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    gathering,
    output,
    record,
    remediation_run,
    remediation_screen,
    rollback,
    run_identity,
)

OPTIONS: dict[str, dict[str, t.Any]] = {
    **remediation_run.GATHERING_OPTIONS,
    **remediation_run.RECORD_DIRECTORY_OPTION,
    "record": {"type": "str"},
}


class ActionModule(ActionBase):
    """Read a record on the control node, and ask the host which processes its servers are now."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        options = gathering.check_options(OPTIONS, self._task.args)
        remediation_run.check_places({"remediate_record_dir": options["record_dir"]})
        rules = gathering.rules_for(options)
        host, check_mode = gathering.host_of(task_vars), self._task.check_mode
        result: dict[str, t.Any] = {
            "changed": False,
            "run_id": run_identity.run_id(),
            "operator": run_identity.operator(),
            "record": None,
            "record_path": None,
            "undone_at": None,
            "instances": [],
            "actions": [],
            "not_reversible": [],
        }
        try:
            path = record.find(options["record"] or None, options["record_dir"], host)
            if path is not None:
                document = record.read(path)
                if document["host"] != host:
                    raise record.RecordError(f"{path}: this is the record of {document['host']}, not of {host}")
                undone = rollback.invert(document, path)
                result.update(
                    record=path,
                    undone_at=record.undone_at(path, host),
                    instances=document.get("instances") or [],
                    actions=undone.actions,
                    not_reversible=undone.not_reversible,
                )
        except record.RecordError as error:
            raise output.refusal(str(error)) from None
        if any("pid" in action["arguments"] for action in result["actions"]):
            look = remediation_run.look(self, task_vars, rules, host)
            if look.trouble is not None and not look.trouble["reachable"]:
                # Each action would wait for the host once more, and leave an entry that nobody carried out.
                return {**result, "actions": [], "unreachable": True, "msg": f"{host}: {look.trouble['error']}"}
            result["actions"] = rollback.with_processes(result["actions"], look.facts)
        if result["actions"]:
            result["record_path"] = remediation_run.open_record(
                options["record_dir"], host, result["instances"], check_mode, record.ROLLBACK, result["record"]
            )
        if options["show"]:
            output.say(remediation_screen.render_rollback(result, host, check_mode))
        return result
