# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Note in the record of a run, on the control node, what becomes of one action. No host is asked."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import gathering, output, record, remediation_run

OPTIONS: dict[str, dict[str, t.Any]] = {
    **remediation_run.RECORD_OPTION,
    "action": {"type": "dict", "required": True},
    "state": {
        "type": "str",
        "required": True,
        "choices": [record.STARTED, record.STEP, record.DONE, record.FAILED, record.RESTORED],
    },
    "result": {"type": "dict"},
    "error": {"type": "str"},
}


class ActionModule(ActionBase):
    """Append to a file on the control node; in check mode to the prediction of this run."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        options = gathering.check_options(OPTIONS, self._task.args)
        action, check_mode = options["action"], self._task.check_mode
        if not isinstance(action.get("fix"), str) or not isinstance(action.get("arguments"), dict):
            raise output.refusal("action must be one of the actions of a plan: it needs fix and arguments.")
        path, host = options["record_path"] or None, gathering.host_of(task_vars)
        document = remediation_run.read_record(path, host, check_mode)
        if document is None:
            raise output.refusal("There is no record of this run: redisops.persistence.remediation_plan opens it.")
        if document["host"] != host:
            raise output.refusal(f"{path}: this is the record of {document['host']}, not of {host}.")
        entry = record.note(document, action, options["state"], options["result"], options["error"], time.time())
        remediation_run.write_record(path, host, document, check_mode)
        return {"changed": False, "entry": entry, "changes": entry["changes"]}
