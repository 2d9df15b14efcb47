# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One module execution on the host, then the failure tree over its evidence, all in the same task.

The result is ``{changed, reachable, error, diagnoses, ..}``; the module of the same name documents it.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.redisops.persistence.plugins.module_utils._options import (
    PLACE_OPTIONS,
    diagnosis_argument_spec,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    evidence_files,
    host_trouble,
    output,
    screen,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import HAS_JMESPATH
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import RuleError, Rules, load_rules

MODULE = "redisops.persistence.redis_diagnosis_info"
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
# A save that is forecast to end in one of these can take the server down with it.
DEADLY_CAUSES = frozenset(("child_oom_killed_cgroup", "child_oom_killed_host"))
Entry = dict[str, t.Any]
# A directory of every Linux that needs no disk.
MEMORY_DIRECTORY = "/dev/shm"


class NotExamined(Exception):
    """The module did not run on the host."""

    def __init__(self, is_reachable: bool, trouble: host_trouble.Trouble, secrets: list[str]) -> None:
        self.is_reachable = is_reachable
        self.error = host_trouble.mask(trouble.text, secrets)
        self.lacks_temporary_directory = trouble.lacks_temporary_directory
        super().__init__(self.error)


@contextlib.contextmanager
def without_cycle_collection() -> t.Iterator[None]:
    """Keep Python from searching all of Ansible's objects for cycles, over and over, while trees of source are built.

    ansible-core parses each file of a module to find its imports. In a worker, whose heap is Ansible's, the searches
    for cycles that this sets off can cost as much as the parsing; the worker ends with its task.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@functools.lru_cache(maxsize=1)
def shipped_rules() -> Rules:
    """The rules as they are shipped, read and compiled once."""
    return load_rules()


# Ansible imports this file before it forks a worker for each host: what is read here is read once for the fleet.
# A broken file is told when a task asks for the rules.
with contextlib.suppress(RuleError), without_cycle_collection():
    shipped_rules()


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
        options = self._options()
        if options["reproduce"] and self._task.check_mode:
            raise output.refusal(
                "reproduce (diagnose_reproduce) starts a BGSAVE on the server, and check mode changes nothing: "
                "leave out one of the two."
            )
        rules = self._rules(options)
        host = str(task_vars.get("inventory_hostname") or "localhost")
        if options["evidence_file"]:
            result = self._diagnose_files(options["evidence_file"], rules)
        else:
            result = self._diagnose_host(host, options, rules, task_vars)
        if options["show"]:
            self._show(host, result)
        return result

    def _options(self) -> dict[str, t.Any]:
        """The options, checked before the host is asked anything. No message shows a password."""
        given = dict(self._task.args)
        result = ArgumentSpecValidator(diagnosis_argument_spec()).validate(given)
        if result.error_messages:
            raise output.refusal(host_trouble.mask("; ".join(result.error_messages), secrets_of(given)))
        return result.validated_parameters

    def _rules(self, options: dict[str, t.Any]) -> Rules:
        """The shipped rules with the user's over them; a broken one is told before the host is asked anything."""
        extra = (options["extra_nodes"], options["extra_outcomes"], options["extra_risks"])
        try:
            return load_rules(*extra) if any(extra) else shipped_rules()
        except RuleError as error:
            if not HAS_JMESPATH:
                raise output.refusal(
                    "The failure tree needs the Python package jmespath on the control node. Install it for the Python "
                    f"that runs Ansible: {sys.executable} -m pip install jmespath"
                ) from None
            raise output.refusal(f"A rule of the failure tree is broken: {error}") from None

    # Saved evidence

    def _diagnose_files(self, path: str, rules: Rules) -> dict[str, t.Any]:
        try:
            saved = evidence_files.load(path)
        except evidence_files.EvidenceError as error:
            raise output.refusal(str(error)) from None
        hosts: dict[str, Entry] = {}
        for name, evidence in saved:
            hosts[name] = {"reachable": True, "error": None, "instances": self._judge(evidence, rules, name)}
        diagnoses = [diagnosis for entry in hosts.values() for diagnosis in entry["instances"]]
        return {"changed": False, "reachable": True, "error": None, "diagnoses": diagnoses, "hosts": hosts}

    # The host

    def _diagnose_host(
        self, host: str, options: dict[str, t.Any], rules: Rules, task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        arguments = {name: value for name, value in self._task.args.items() if name not in CONTROLLER_OPTIONS}
        try:
            module_result = self._gather(arguments, task_vars)
        except NotExamined as trouble:
            return self._trouble(trouble, arguments)
        evidence = module_result["evidence"]
        path = self._save(options["evidence_dir"], host, evidence)
        diagnoses = self._judge(evidence, rules, host)
        addresses = worth_reproducing(diagnoses, options["reproduce_addresses"]) if options["reproduce"] else []
        if addresses:
            reproduction = {**arguments, "reproduce": True, "reproduce_addresses": addresses}
            try:
                module_result = self._gather(reproduction, task_vars)
            except NotExamined as trouble:
                output.warn(f"{host}: the save could not be reproduced: {trouble.error}")
            else:
                evidence = module_result["evidence"]
                path = self._save(options["evidence_dir"], host, evidence)
                diagnoses = self._judge(evidence, rules, host)
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

    def _gather(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The module's result. Raises NotExamined where it could not run, AnsibleActionFail where it was asked wrongly.

        A host without room for a temporary file is asked once more in a way that needs none on its disks.
        """
        try:
            return self._execute(arguments, task_vars)
        except NotExamined as trouble:
            if not trouble.lacks_temporary_directory or not self._avoid_disks():
                raise
        return self._execute(arguments, task_vars)

    def _avoid_disks(self) -> bool:
        """Send the module through a pipe, and its own files to memory. False where that is in force already."""
        memory = {"TMPDIR": MEMORY_DIRECTORY}
        if self._connection.get_option("pipelining") and self._task.environment[-1:] == [memory]:
            return False
        self._connection.set_option("pipelining", True)
        self._task.environment = [*self._task.environment, memory]
        return True

    def _execute(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        secrets = secrets_of(arguments)
        try:
            with without_cycle_collection():
                result = self._execute_module(module_name=MODULE, module_args=dict(arguments), task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            raise NotExamined(False, host_trouble.explain_connection(str(error)), secrets) from error
        except AnsibleError as error:
            raise NotExamined(True, host_trouble.explain_module({"msg": str(error)}), secrets) from error
        if isinstance(result.get("evidence"), dict):
            return result
        if result.get("_ansible_parsed") and not result.get("exception"):
            raise output.refusal(host_trouble.mask(str(result.get("msg") or "the module failed"), secrets))
        raise NotExamined(True, host_trouble.explain_module(result), secrets)

    def _trouble(self, trouble: NotExamined, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """What can be said of a host where the module did not run."""
        probe = self._probe()
        instances = [item for item in arguments.get("instances") or [] if isinstance(item, dict)]
        if not instances and any(name in arguments for name in PLACE_OPTIONS):
            instances = [arguments]
        return {
            "changed": False,
            "reachable": trouble.is_reachable or probe is not None,
            "error": trouble.error,
            "probe": host_trouble.mask(probe, secrets_of(arguments)) if probe else None,
            "diagnoses": host_trouble.unseen(instances, trouble.error),
        }

    def _probe(self) -> str | None:
        """Free space and load from a bare shell; None where there is not even that."""
        try:
            result = self._low_level_execute_command(host_trouble.PROBE_COMMAND, sudoable=False)
        except AnsibleError:
            return None
        return host_trouble.probe_text(str(result.get("stdout") or "")) or None

    # Both

    def _judge(self, evidence: dict[str, t.Any], rules: Rules, name: str) -> list[dict[str, t.Any]]:
        try:
            return diagnose(evidence, rules)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise output.refusal(
                f"{name}: this evidence can't be diagnosed ({type(error).__name__}: {error}). Is it complete?"
            ) from None

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


def worth_reproducing(diagnoses: list[dict[str, t.Any]], wanted: list[str] | None) -> list[str]:
    """The servers whose verdict a save under observation would settle, and that it would not take down."""
    addresses = [diagnosis["instance"]["address"] for diagnosis in diagnoses if is_worth_reproducing(diagnosis)]
    return [address for address in addresses if wanted is None or address in wanted]


def is_worth_reproducing(diagnosis: dict[str, t.Any]) -> bool:
    """Whether it is failing for a reason that is not proven, and a save can't cost the server its life."""
    cause = diagnosis.get("cause") or {}
    forecast = diagnosis.get("forecast") or {}
    ahead = forecast.get("cause")
    ahead = ahead.get("id") if isinstance(ahead, dict) else ahead
    return (
        diagnosis.get("state") == "failing"
        and cause.get("confidence") != "confirmed"
        and not (forecast.get("answer") == "will_fail" and ahead in DEADLY_CAUSES)
    )


def secrets_of(arguments: dict[str, t.Any]) -> list[str]:
    """The passwords among the arguments, which no text may show."""
    instances = arguments.get("instances")
    sources = [arguments, *(instances if isinstance(instances, list) else [])]
    return [str(item["login_password"]) for item in sources if isinstance(item, dict) and item.get("login_password")]
