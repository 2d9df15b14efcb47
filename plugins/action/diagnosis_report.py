# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After all hosts of a play: the report, and the fleet in one line."""

from __future__ import annotations

import os
import time
import typing as t

from ansible import constants as C
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.plugin_utils import collected, fleet, output, report

OPTIONS: dict[str, dict[str, t.Any]] = {
    "report_dir": {"type": "path"},
    "show": {"type": "bool", "default": True},
}
# Strategies that ignore run_once: the task then runs for every host, at any time.
_HOST_BY_HOST = frozenset(("free", "host_pinned"))


class ActionModule(ActionBase):
    """Sum up what the hosts of the play have found. Reads variables, asks no host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(OPTIONS)

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        options = self._options()
        play = collected.Play(
            [str(name) for name in task_vars.get("ansible_play_hosts_all") or []],
            [str(name) for name in task_vars.get("ansible_play_hosts") or []],
            [str(name) for name in task_vars.get("ansible_play_batch") or []],
        )
        live = frozenset(play.live_hosts)
        hostvars = task_vars["hostvars"]
        is_last = collected.is_complete(play.all_hosts, live, hostvars.raw_get)
        result: dict[str, t.Any] = {"changed": False, "complete": is_last}
        if not is_last and not collected.is_complete(play.batch, live, hostvars.raw_get):
            return result  # host by host, and others are still being examined
        if self._is_host_by_host() and not (is_last and self._is_first_to_say()):
            return result
        hosts = collected.entries(play.all_hosts, live, hostvars.raw_get)
        document = report.build(hosts, time.time())
        result["summary"] = document["summary"]
        line = fleet.fleet_line(hosts)
        if options["report_dir"]:
            result["path"] = self._write(options["report_dir"], document)
            line += f" Report: {result['path']}"
        if options["show"] and is_last:
            output.say("\n" + line)
        return result

    def _options(self) -> dict[str, t.Any]:
        validated = ArgumentSpecValidator(OPTIONS).validate(dict(self._task.args))
        if validated.error_messages:
            raise output.refusal("; ".join(validated.error_messages))
        return validated.validated_parameters

    def _write(self, directory: str, document: dict[str, t.Any]) -> str:
        try:
            return report.write(directory, document)
        except OSError as error:
            raise output.refusal(f"The report can't be written in {directory}: {error.strerror}") from None

    def _is_host_by_host(self) -> bool:
        block = self._task
        while block is not None and not hasattr(block, "_play"):
            block = block._parent
        strategy = str(getattr(getattr(block, "_play", None), "strategy", ""))
        return strategy.rsplit(".", 1)[-1] in _HOST_BY_HOST

    def _is_first_to_say(self) -> bool:
        """Whether no other host's task has summed up this play yet. The marker lies in the run's own directory."""
        try:
            marker = os.open(
                os.path.join(C.DEFAULT_LOCAL_TMP, f"diagnosis_report_{self._task._uuid}"),
                os.O_CREAT | os.O_EXCL | os.O_WRONLY,
                0o600,
            )
        except FileExistsError:
            return False
        os.close(marker)
        return True
