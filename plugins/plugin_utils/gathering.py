# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One execution of the module on the host, and the failure tree over what it brings, for every action that needs it.

A host where nothing could be run is a finding here: :class:`NotExamined` says why in plain words.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.redisops.persistence.plugins.module_utils._options import PLACE_OPTIONS
from ansible_collections.redisops.persistence.plugins.plugin_utils import host_trouble, output, run_again
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.expressions import HAS_JMESPATH
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import RuleError, Rules, load_rules

MODULE = "redisops.persistence.redis_diagnosis_info"
# A directory of every Linux that needs no disk.
MEMORY_DIRECTORY = "/dev/shm"

Values = t.Mapping[str, t.Any]
Result = dict[str, t.Any]


class NotExamined(Exception):
    """The module did not run on the host."""

    def __init__(self, is_reachable: bool, trouble: host_trouble.Trouble, secrets: list[str]) -> None:
        self.is_reachable = is_reachable
        self.error = host_trouble.mask(trouble.text, secrets)
        self.lacks_temporary_directory = trouble.lacks_temporary_directory
        self.timed_out = trouble.timed_out
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


def check_options(specification: Values, given: Values) -> Result:
    """The options of a task, checked before the host is asked anything. No message shows a password."""
    result = ArgumentSpecValidator(dict(specification)).validate(dict(given))
    if result.error_messages:
        raise output.refusal(host_trouble.mask("; ".join(result.error_messages), secrets_of(given)))
    parameters: Result = result.validated_parameters
    return parameters


def rules_for(options: Values) -> Rules:
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


def judge(evidence: Result, rules: Rules, name: str) -> list[dict[str, t.Any]]:
    """One diagnosis for each server of the evidence; ``name`` is what a message calls it."""
    try:
        diagnoses = diagnose(evidence, rules)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise output.refusal(
            f"{name}: this evidence can't be diagnosed ({type(error).__name__}: {error}). Is it complete?"
        ) from None
    again = run_again.this_run()
    for fix in (fix for diagnosis in diagnoses for fix in diagnosis.get("fixes", ())):
        fix["commands"] = [again.complete(command, name) for command in fix["commands"]]
    return diagnoses


def host_of(task_vars: Values) -> str:
    """The inventory's name of the host."""
    return str(task_vars.get("inventory_hostname") or "localhost")


def secrets_of(arguments: Values) -> list[str]:
    """The passwords among the arguments, which no text may show."""
    instances = arguments.get("instances")
    sources = [arguments, *(instances if isinstance(instances, list) else [])]
    return [str(item["login_password"]) for item in sources if isinstance(item, dict) and item.get("login_password")]


class Gatherer:
    """Gathers the evidence of one host through the task's own connection."""

    def __init__(self, action: t.Any, task_vars: Values) -> None:
        """``action``: the running ``ActionBase``."""
        self._action = action
        self._task_vars = task_vars

    def gather(self, arguments: Values) -> Result:
        """The module's result. Raises NotExamined where it could not run, AnsibleActionFail where it was asked wrongly.

        A host without room for a temporary file is asked once more in a way that needs none on its disks.
        """
        try:
            return self._execute(arguments)
        except NotExamined as trouble:
            if not trouble.lacks_temporary_directory or not self._avoid_disks():
                raise
        return self._execute(arguments)

    def describe_trouble(self, trouble: NotExamined, arguments: Values) -> Result:
        """What can be said of a host where the module did not run.

        A host that timed out is not asked a second time: it would cost the same time-out once more.
        """
        probe = None if trouble.timed_out else self._probe()
        instances = [item for item in arguments.get("instances") or [] if isinstance(item, dict)]
        if not instances and any(name in arguments for name in PLACE_OPTIONS):
            instances = [dict(arguments)]
        return {
            "changed": False,
            "reachable": trouble.is_reachable or probe is not None,
            "error": trouble.error,
            "probe": host_trouble.mask(probe, secrets_of(arguments)) if probe else None,
            "diagnoses": host_trouble.unseen(instances, trouble.error),
        }

    def _avoid_disks(self) -> bool:
        """Send the module through a pipe, and its own files to memory. False where that is in force already."""
        memory = {"TMPDIR": MEMORY_DIRECTORY}
        connection, task = self._action._connection, self._action._task
        if connection.get_option("pipelining") and task.environment[-1:] == [memory]:
            return False
        connection.set_option("pipelining", True)
        task.environment = [*task.environment, memory]
        return True

    def _execute(self, arguments: Values) -> Result:
        secrets = secrets_of(arguments)
        try:
            with without_cycle_collection():
                result: Result = self._action._execute_module(
                    module_name=MODULE, module_args=dict(arguments), task_vars=self._task_vars
                )
        except AnsibleConnectionFailure as error:
            raise NotExamined(False, host_trouble.explain_connection(str(error)), secrets) from error
        except AnsibleError as error:
            raise NotExamined(True, host_trouble.explain_module({"msg": str(error)}), secrets) from error
        if isinstance(result.get("evidence"), dict):
            return result
        if result.get("_ansible_parsed") and not result.get("exception"):
            raise output.refusal(host_trouble.mask(str(result.get("msg") or "the module failed"), secrets))
        raise NotExamined(True, host_trouble.explain_module(result), secrets)

    def _probe(self) -> str | None:
        """Free space and load from a bare shell; None where there is not even that."""
        try:
            result = self._action._low_level_execute_command(host_trouble.PROBE_COMMAND, sudoable=False)
        except AnsibleError:
            return None
        return host_trouble.probe_text(str(result.get("stdout") or "")) or None
