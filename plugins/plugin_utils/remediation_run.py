# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the actions of a remediation share: their options, one look at the host, and the record."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible import constants as C
from ansible_collections.redisops.persistence.plugins.module_utils._options import (
    LOG_LIMIT_BYTES,
    instances_argument_spec,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils import (
    evidence_files,
    files,
    gathering,
    output,
    record,
    run_identity,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.outcome import facts_of
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import Policy, PolicyError
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, entries, integer, mapping

_MODULE_OPTIONS: dict[str, t.Any] = {
    **instances_argument_spec(),
    "deep": {"type": "bool", "default": False},
    "log_limit_bytes": {"type": "int", "default": LOG_LIMIT_BYTES},
}
RULES_OPTIONS: dict[str, t.Any] = {
    "extra_nodes": {"type": "list", "elements": "dict"},
    "extra_outcomes": {"type": "list", "elements": "dict"},
    "extra_risks": {"type": "list", "elements": "dict"},
}
SHOW_OPTION: dict[str, t.Any] = {"show": {"type": "bool", "default": False}}
GATHERING_OPTIONS: dict[str, t.Any] = {**_MODULE_OPTIONS, **RULES_OPTIONS, **SHOW_OPTION}
RECORD_DIRECTORY_OPTION: dict[str, t.Any] = {"record_dir": {"type": "path"}}
RECORD_OPTION: dict[str, t.Any] = {"record_path": {"type": "path"}}

TIMED_OUT_BEFORE = "The host did not answer in time before, and was not asked a second time. Check that it is up."

Document = dict[str, t.Any]
Values = t.Mapping[str, t.Any]


class Look(t.NamedTuple):
    """One look at a host.

    :ivar evidence: what the module brought; null where it did not run.
    :ivar diagnoses: one for each server.
    :ivar facts: {address: what to compare with later}.
    :ivar trouble: ``{reachable, error, probe}`` of a host where it did not run, or null.
    """

    evidence: Document | None
    diagnoses: list[Document]
    facts: dict[str, Document]
    trouble: Document | None


def look(action: t.Any, task_vars: Values, rules: Rules, host: str, again: bool = False) -> Look:
    """Gather on the host by the task's own options, and judge.

    :param again: not the first look of this run. A host that did not answer the one before in time is not asked then.
    """
    marker = _timed_out_path(host)
    if again and os.path.exists(marker):
        return Look(None, [], {}, {"reachable": False, "error": TIMED_OUT_BEFORE, "probe": None})
    arguments = {name: value for name, value in action._task.args.items() if name in _MODULE_OPTIONS}
    gatherer = gathering.Gatherer(action, task_vars)
    try:
        evidence = gatherer.gather(arguments)["evidence"]
    except gathering.NotExamined as trouble:
        if trouble.timed_out:
            _note_time_out(marker)
        described = gatherer.describe_trouble(trouble, arguments)
        return Look(None, described["diagnoses"], {}, described)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(marker)
    facts = {str(instance.get("address")): facts_of(instance) for instance in entries(evidence, "instances")}
    return Look(evidence, gathering.judge(evidence, rules, host), facts, None)


def _timed_out_path(host: str) -> str:
    """Where this run notes that a host did not answer in time; Ansible removes it when the run ends."""
    return os.path.join(str(C.DEFAULT_LOCAL_TMP), "redisops_persistence_timed_out", evidence_files.file_name(host))


def _note_time_out(marker: str) -> None:
    """Where it can't be noted the host is asked once more, which costs time and nothing else."""
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(marker), mode=0o700, exist_ok=True)
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600))


def policy_of(options: Values) -> Policy:
    """The policy; a broken value is told before the host is asked anything."""
    try:
        return Policy.from_options(options["policy"] or {})
    except PolicyError as error:
        raise output.refusal(str(error)) from None


def tags_around(task: t.Any) -> frozenset[str]:
    """The tags of a task, of its blocks, and of the statements that have included them."""
    tags: set[str] = set()
    while task is not None:
        tags.update(str(tag) for tag in getattr(task, "tags", None) or [])
        task = getattr(task, "_parent", None)
    return frozenset(tags)


def check_places(places: t.Mapping[str, str | None]) -> None:
    """Refuse directories of the control node that are another user's to change, before a host is asked anything.

    :param places: {what names it: directory, or null}.
    """
    for name, directory in places.items():
        if not directory:
            continue
        try:
            files.check_directory(directory)
        except files.NotOurs as error:
            raise output.refusal(f"{name}: {error.strerror}. Nothing is changed.") from None
        except OSError:
            continue  # what keeps it from being written is told by who writes it


def scratch_path(host: str) -> str:
    """Where a check run keeps its prediction for this host."""
    return record.scratch_path(str(C.DEFAULT_LOCAL_TMP), host)


def open_record(
    directory: str | None,
    host: str,
    instances: t.Sequence[Mapping],
    check_mode: bool,
    kind: str = record.REMEDIATION,
    rolls_back: str | None = None,
) -> str | None:
    """Open the record of this run before anything is changed. Returns its path; null in check mode.

    What can't be recorded is not done: an unwritable directory is an error here.
    """
    run, operator, now = run_identity.run_id(), run_identity.operator(), time.time()
    where = "the temporary directory of this run"
    try:
        if check_mode:
            record.write(scratch_path(host), record.new_record(host, run, operator, instances, now, kind, rolls_back))
            return None
        if not directory:
            raise output.refusal("record_dir (remediate_record_dir) is needed: nothing is changed without a record.")
        where = directory
        return record.open_record(directory, host, run, operator, instances, now, kind, rolls_back)
    except OSError as error:
        raise output.refusal(
            f"{host}: no record can be written in {where} ({error.strerror or error}), so nothing is changed."
        ) from None


def read_record(path: str | None, host: str, check_mode: bool) -> Document | None:
    """The record of this run, or in check mode the prediction; null where none was opened."""
    place = scratch_path(host) if check_mode else path
    if not place:
        return None
    try:
        return record.read(place)
    except record.RecordError as error:
        if check_mode:
            return None
        raise output.refusal(str(error)) from None


def write_record(path: str | None, host: str, document: Document, check_mode: bool) -> None:
    """Write what :func:`read_record` gave back."""
    place = scratch_path(host) if check_mode else path
    if not place:
        return
    try:
        record.write(place, document)
    except OSError as error:
        raise output.refusal(f"{host}: the record {place} can't be written: {error.strerror or error}") from None


def with_tls(connection: Mapping, instance: Mapping) -> Document:
    """How a server is reached, and that its port speaks TLS where its own configuration says so."""
    port = integer(instance, "redis", "config", "tls-port")
    return {**connection, "tls": True} if port and port == connection.get("login_port") else dict(connection)


def changed_servers(document: Document, plan: Values) -> list[str]:
    """The servers on which something has changed since their last proof; what holds for the host concerns many."""
    changed = record.changed_since_proof(document)
    found = []
    for item in entries(plan, "instances"):
        address = str(item.get("address"))
        own = {fix.get("id") for fix in entries(item, "plan") if fix.get("decision") == "apply"}
        if any(where == address or (where is None and fix in own) for where, fix in changed):
            found.append(address)
    return found


def plan_argument(options: Values) -> Mapping:
    """The plan that an earlier task returned."""
    plan = mapping(options, "plan")
    if not isinstance(plan.get("actions"), list) or not isinstance(plan.get("instances"), list):
        raise output.refusal("plan must be what redisops.persistence.remediation_plan returned.")
    return plan
