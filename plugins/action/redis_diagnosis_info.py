# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One module execution on the host, then the failure tree over its evidence, all in the same task.

The result is ``{changed, reachable, error, diagnoses, ..}``; the module of the same name documents it.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.module_utils._options import diagnosis_argument_spec
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    evidence_files,
    gathering,
    output,
    screen,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules

# Options that stay on the control node; what is left goes to the module.
CONTROLLER_OPTIONS = frozenset(
    (
        "show",
        "return_evidence",
        "evidence_dir",
        "evidence_file",
        "extra_nodes",
        "extra_outcomes",
        "extra_risks",
        "reproduce",
        "reproduce_addresses",
    )
)
Entry = dict[str, t.Any]


class ActionModule(ActionBase):
    """Gather on the target, judge on the control node."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(diagnosis_argument_spec())

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(task_vars=task_vars)
        task_vars = task_vars or {}
        options = gathering.check_options(diagnosis_argument_spec(), self._task.args)
        if options["reproduce"] and self._task.check_mode:
            raise output.refusal(
                "reproduce (diagnose_reproduce) starts a BGSAVE on the server, and check mode changes nothing: "
                "leave out one of the two."
            )
        rules = gathering.rules_for(options)
        host = gathering.host_of(task_vars)
        if options["evidence_file"]:
            result = self._diagnose_files(options["evidence_file"], rules)
        else:
            result = self._diagnose_host(host, options, rules, task_vars)
        if options["show"]:
            self._show(host, result)
        return result

    # Saved evidence

    def _diagnose_files(self, path: str, rules: Rules) -> dict[str, t.Any]:
        try:
            saved = evidence_files.load(path)
        except evidence_files.EvidenceError as error:
            raise output.refusal(str(error)) from None
        hosts: dict[str, Entry] = {}
        for name, evidence in saved:
            hosts[name] = {"reachable": True, "error": None, "instances": gathering.judge(evidence, rules, name)}
        diagnoses = [diagnosis for entry in hosts.values() for diagnosis in entry["instances"]]
        return {"changed": False, "reachable": True, "error": None, "diagnoses": diagnoses, "hosts": hosts}

    # The host

    def _diagnose_host(
        self, host: str, options: dict[str, t.Any], rules: Rules, task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        arguments = {name: value for name, value in self._task.args.items() if name not in CONTROLLER_OPTIONS}
        gatherer = gathering.Gatherer(self, task_vars)
        try:
            module_result = gatherer.gather(arguments)
        except gathering.NotExamined as trouble:
            return gatherer.describe_trouble(trouble, arguments)
        evidence = module_result["evidence"]
        path = self._save(options["evidence_dir"], host, evidence)
        diagnoses = gathering.judge(evidence, rules, host)
        wanted = options["reproduce_addresses"]
        addresses = worth_reproducing(diagnoses, wanted, rules.deadly) if options["reproduce"] else []
        if addresses:
            reproduction = {**arguments, "reproduce": True, "reproduce_addresses": addresses}
            try:
                module_result = gatherer.gather(reproduction)
            except gathering.NotExamined as trouble:
                output.warn(f"{host}: the save could not be reproduced: {trouble.error}")
            else:
                evidence = module_result["evidence"]
                path = self._save(options["evidence_dir"], host, evidence)
                diagnoses = gathering.judge(evidence, rules, host)
        result = {
            "changed": bool(module_result.get("changed", False)),
            "reachable": True,
            "error": None,
            "diagnoses": diagnoses,
        }
        if not diagnoses:
            result["gaps"] = evidence.get("gaps") or []
        if path:
            result["evidence_path"] = path
        if options["return_evidence"]:
            result["evidence"] = evidence
        if module_result.get("warnings"):
            result["warnings"] = module_result["warnings"]
        return result

    # Both

    def _save(self, directory: str | None, host: str, evidence: dict[str, t.Any]) -> str | None:
        if not directory:
            return None
        try:
            return evidence_files.save(directory, host, evidence)
        except OSError as error:
            raise output.refusal(f"The evidence of {host} can't be saved in {directory}: {error.strerror}") from None

    def _show(self, host: str, result: dict[str, t.Any]) -> None:
        """Print the screens of a host in one call, so that hosts that are examined side by side don't mix."""
        hosts = result.get("hosts") or {host: {**result, "instances": result["diagnoses"]}}
        text = "\n".join(screen.render_host(entry, name) for name, entry in hosts.items())
        output.say(text)


def worth_reproducing(
    diagnoses: list[dict[str, t.Any]], wanted: list[str] | None, deadly: t.Collection[str]
) -> list[str]:
    """The servers whose verdict a save under observation would settle, and that it would not take down."""
    addresses = [diagnosis["instance"]["address"] for diagnosis in diagnoses if is_worth_reproducing(diagnosis, deadly)]
    return [address for address in addresses if wanted is None or address in wanted]


def is_worth_reproducing(diagnosis: dict[str, t.Any], deadly: t.Collection[str]) -> bool:
    """Whether it is failing for a reason that is not proven, and a save can't cost the server its life."""
    cause = diagnosis.get("cause") or {}
    forecast = diagnosis.get("forecast") or {}
    ahead = forecast.get("cause")
    ahead = ahead.get("id") if isinstance(ahead, dict) else ahead
    return (
        diagnosis.get("state") == "failing"
        and cause.get("confidence") != "confirmed"
        and not (forecast.get("answer") == "will_fail" and ahead in deadly)
    )
