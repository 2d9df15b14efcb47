# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The record of a run on one host: what was about to change, with the values before, and what became of it.

One JSON file, ``RECORD_DIR/RUN/HOST.json``, on the control node::

    {schema_version: 1, collection_version, kind: remediation|rollback, run_id, host, operator: "user@control host",
     started_at, ended_at: text|null, rolls_back: path|null,
     instances: [{address, connection}],
     entries: [{number, fix, address: text|null, state: started|done|skipped|failed, started_unix, ended_unix,
                arguments: {..}, planned: [CHANGE], changes: [CHANGE], error: text|null, left_to_do: text|null,
                restored: bool, details: {..}}],
     decisions: {ADDRESS: [fix, ..]}}     # what was decided of the proof; only where it came to that

``CHANGE`` = {fix, address, what, before, after, reversible}. ``planned`` is the intent, written before the fix runs;
``changes`` is what it has changed, as the modules say. An entry that stays ``started`` belongs to a run that died: it
may have been carried out or not. ``details`` are the few figures of a fix that somebody will want later.

In check mode there is no such file. What a check run predicts is kept in the same form in Ansible's own temporary
directory of the run (:func:`scratch_path`), which Ansible removes when it ends. It is no host fact, since these can
land in a cache of facts that outlives the run.

No password gets here: actions carry none, results are read by name, and texts come masked from the modules.
"""

from __future__ import annotations

import json
import os
import re
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.plugin_utils import evidence_files, files
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import VERIFY
from ansible_collections.redisops.persistence.plugins.plugin_utils.report import collection_version
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import entries, mapping
from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import shorten

SCHEMA_VERSION = 1
REMEDIATION = "remediation"
ROLLBACK = "rollback"
STARTED, STEP, DONE, SKIPPED, FAILED, RESTORED = "started", "step", "done", "skipped", "failed", "restored"
EMERGENCY = "emergency_unblock"
# A run's directory: the name of the run, and a number from its second record of the same host on.
_RUN_DIRECTORY = re.compile(r"\d{8}T\d{6}Z-\d+(-\d+)?\Z")
_RUNS_OF_ONE_NAME = 100
_ERROR_LIMIT = 2000
_TEXT_LIMIT = 4000
_SIZE_LIMIT_BYTES = 64 * 1024 * 1024
# What is kept of a module's result besides its changes.
_DETAILS = (
    # redis_bgsave
    "reply",
    "duration_seconds",
    "status_before",
    "status_after",
    "last_save_before_unix",
    "last_save_after_unix",
    "last_save_advanced",
    "dump_before",
    "dump_after",
    "kept_dump",
    "objections",
    # redis_rescue
    "path",
    "size_bytes",
    "sha256",
    "keys_in_file",
    "keys_in_server",
    "checked",
    "checker",
    # redis_bgsave, redis_restart
    "keys_before",
    "keys_after",
    "previous_dump",
    "seconds",
    # redis_emergency_unblock
    "deadline_unix",
    "value_before",
    "watcher_pid",
    # redis_config, kernel_setting
    "rewritten",
    "rewrite_reason",
    "rewrite_refused",
    "conflict",
    "conflicts",
    "boot",
    # redis_temp_files
    "kept",
    "freed_bytes",
    # redis_data_directory
    "destination_before",
    "replaced_as",
    # ansible.builtin.fetch
    "dest",
)

Document = dict[str, t.Any]
Change = dict[str, t.Any]
Action = t.Mapping[str, t.Any]
Result = t.Mapping[str, t.Any]


class RecordError(Exception):
    """A record that can't be used; the text names the file and the reason."""


# Files


def open_record(
    directory: str,
    host: str,
    run_id: str,
    operator: str,
    instances: t.Sequence[t.Mapping[str, t.Any]],
    now: float,
    kind: str = REMEDIATION,
    rolls_back: str | None = None,
) -> str:
    """Write a new record without entries, never over one that has some. Returns its path. Raises OSError."""
    root = os.path.abspath(os.path.expanduser(directory))
    name = evidence_files.file_name(host)
    for number in range(1, _RUNS_OF_ONE_NAME):
        # A role can run more than once in a run.
        run = run_id if number == 1 else f"{run_id}-{number}"
        if not os.path.lexists(os.path.join(root, run, name)):
            document = new_record(host, run, operator, instances, now, kind, rolls_back)
            return files.write_json(os.path.join(root, run), name, document)
    raise FileExistsError(17, f"there are {_RUNS_OF_ONE_NAME - 1} records of this run already")


def new_record(
    host: str,
    run_id: str,
    operator: str,
    instances: t.Sequence[t.Mapping[str, t.Any]],
    now: float,
    kind: str = REMEDIATION,
    rolls_back: str | None = None,
) -> Document:
    """A record without entries."""
    return {
        "schema_version": SCHEMA_VERSION,
        "collection_version": collection_version(),
        "kind": kind,
        "run_id": run_id,
        "host": host,
        "operator": operator,
        "started_at": moment(now),
        "ended_at": None,
        "rolls_back": rolls_back,
        "instances": [
            {"address": item.get("address"), "connection": dict(mapping(item, "connection"))} for item in instances
        ],
        "entries": [],
    }


def scratch_path(run_directory: str, host: str) -> str:
    """Where the prediction of a check run is kept for this host, in Ansible's own temporary directory of the run."""
    return os.path.join(run_directory, "redisops_persistence_prediction", evidence_files.file_name(host))


def write(path: str, document: Document) -> None:
    """Replace a record, whole or not at all. Raises OSError."""
    files.write_json(os.path.dirname(path), os.path.basename(path), document)


def read(path: str) -> Document:
    """A record of this version, with at least the fields that this collection writes. Raises RecordError."""
    path = os.path.abspath(os.path.expanduser(path))
    try:
        document = files.read_json(path, "a record", _SIZE_LIMIT_BYTES)
    except files.NotReadable as error:
        raise RecordError(str(error)) from None
    return check(document, path)


def check(document: object, name: str) -> Document:
    """The document, where it is a record of a known version. Raises RecordError."""
    if not isinstance(document, dict) or not isinstance(document.get("entries"), list):
        raise RecordError(f"{name}: not a record of a remediation")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise RecordError(f"{name}: not a record of schema_version {SCHEMA_VERSION} (schema_version is {version!r})")
    if document.get("kind") not in (REMEDIATION, ROLLBACK):
        raise RecordError(f"{name}: not a record: kind is {document.get('kind')!r}")
    if not isinstance(document.get("host"), str) or not isinstance(document.get("run_id"), str):
        raise RecordError(f"{name}: not a record: it names no host or no run")
    for number, entry in enumerate(document["entries"]):
        where = f"{name}: entries[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("fix"), str):
            raise RecordError(f"{where}: names no fix")
        if entry.get("address") is not None and not isinstance(entry["address"], str):
            raise RecordError(f"{where}.address: must be a text or null")
        if not isinstance(entry.get("arguments"), dict):
            raise RecordError(f"{where}.arguments: must be a mapping")
        for key in ("planned", "changes"):
            changes = entry.get(key)
            if not isinstance(changes, list) or not all(_is_change(change) for change in changes):
                raise RecordError(f"{where}.{key}: must be a list of changes")
    return document


def _is_change(change: object) -> bool:
    return isinstance(change, dict) and isinstance(change.get("what"), str) and {"before", "after"} <= set(change)


def find(record: str | None, directory: str | None, host: str) -> str | None:
    """The record file that is meant for a host: a file, a run's directory, a run's name, or (null) the newest run.

    The newest is the last remediation that changed, or may have changed, something on this host that can be put back;
    where there is none, the last that changed anything. Null where there is none for it. Raises RecordError.
    """
    found = _find(record, directory, host)
    if found is not None:
        try:
            # What another user wrote there would be carried out.
            files.check_directory(os.path.dirname(found))
        except OSError as error:
            raise RecordError(f"{found}: {error.strerror or error}") from None
    return found


def _find(record: str | None, directory: str | None, host: str) -> str | None:
    root = os.path.abspath(os.path.expanduser(directory)) if directory else None
    if not record:
        return _newest(root, host) if root else None
    name = evidence_files.file_name(host)
    path = os.path.abspath(os.path.expanduser(record))
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path) and root and _RUN_DIRECTORY.match(record):
        path = os.path.join(root, record)
    if not os.path.isdir(path):
        raise RecordError(
            f"{record}: neither a record file, nor a directory of them, nor the name of a run"
            + (f" in {root}" if root else "")
        )
    found = os.path.join(path, name)
    return found if os.path.isfile(found) else None


def _newest(root: str, host: str) -> str | None:
    try:
        runs = sorted((name for name in os.listdir(root) if _RUN_DIRECTORY.match(name)), key=_run_order, reverse=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{root}: {error.strerror}") from None
    changed: str | None = None
    for run in runs:
        path = os.path.join(root, run, evidence_files.file_name(host))
        if not os.path.isfile(path):
            continue
        document = read(path)
        if document["kind"] != REMEDIATION or not any(may_have_changed(entry) for entry in document["entries"]):
            continue
        # A run that only proved what the one before it had begun hides that one from nobody.
        if any(_is_reversible(entry) for entry in document["entries"]):
            return path
        changed = changed or path
    return changed


def _is_reversible(entry: t.Mapping[str, t.Any]) -> bool:
    """Whether an entry changed, or may have changed, something that can be put back."""
    changes = entries(entry, "changes" if entry.get("state") == DONE else "planned") + entries(entry, "changes")
    return any(change.get("reversible") for change in changes)


def undone_at(path: str, host: str) -> str | None:
    """When a rollback of this record has ended that put everything back; null where none is beside it.

    :param path: ``RECORD_DIR/RUN/HOST.json``.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(path)))
    moments = []
    for name in sorted(os.listdir(root), key=_run_order) if os.path.isdir(root) else []:
        beside = os.path.join(root, name, os.path.basename(path))
        if not _RUN_DIRECTORY.match(name) or not os.path.isfile(beside):
            continue
        try:
            document = read(beside)
        except RecordError:
            continue
        states = {entry.get("state") for entry in document["entries"]}
        if document.get("rolls_back") == path and document["host"] == host and states and states <= {DONE, SKIPPED}:
            moments.append(str(document.get("ended_at")))
    return moments[-1] if moments else None


def _run_order(run: str) -> tuple[str, int]:
    """By time, then by the number of the record in the run."""
    parts = run.split("-")
    return "-".join(parts[:2]), int(parts[2]) if len(parts) > 2 else 1


def may_have_changed(entry: t.Mapping[str, t.Any]) -> bool:
    """Whether an entry changed something, or was left in a state in which nobody knows."""
    return bool(entry.get("changes")) or (entry.get("state") == STARTED and bool(entry.get("planned")))


# Entries


def note(
    document: Document, action: Action, state: str, result: Result | None, error: str | None, now: float
) -> Document:
    """Note in a record what becomes of an action. Returns the entry.

    :param action: ``{fix, address, arguments, changes}`` of a plan.
    :param state: ``started`` (before it is carried out), ``step`` (one module of several has run), ``done``,
        ``failed``, or ``restored`` (what was lent for the time of the run has been given back, or not yet).
    :param result: the registered result of the module that has run.
    """
    entry = _begin(document, action, now) if state == STARTED else _entry_of(document, action, now)
    outcome = result or {}
    if state == RESTORED:
        _give_back(entry, outcome)
        return entry
    if state == STARTED:
        return entry
    # What a later step of another module brings without a list of its own is no change that the first has not told.
    changes = changes_of(action, outcome) if "changes" in outcome or not entry["changes"] else []
    known = [_identity(change) for change in entry["changes"]]
    entry["changes"].extend(change for change in changes if _identity(change) not in known)
    entry["details"].update(details_of(outcome))
    if outcome.get("left_to_do"):
        entry["left_to_do"] = _words(outcome["left_to_do"])
    elif state == DONE and action.get("fix") == EMERGENCY:
        entry["left_to_do"] = None
    if state == STEP:
        return entry
    is_skipped = bool(outcome.get("skipped")) and not entry["changes"]
    entry["state"] = SKIPPED if state == DONE and is_skipped else state
    entry["ended_unix"] = now
    if document.get("kind") == ROLLBACK:
        close(document, now)  # nothing follows its last action that would
    if state == FAILED:
        entry["error"] = _words(error or outcome.get("msg") or outcome.get("message") or "It failed without a message.")
    return entry


def _begin(document: Document, action: Action, now: float) -> Document:
    fix, address = str(action.get("fix")), action.get("address") or None
    entry: Document = {
        "number": len(document["entries"]) + 1,
        "fix": fix,
        "address": address,
        "state": STARTED,
        "started_unix": now,
        "ended_unix": None,
        "arguments": dict(mapping(action, "arguments")),
        "planned": [full_change(change, fix, address) for change in entries(action, "changes")],
        "changes": [],
        "error": None,
        "left_to_do": _left_if_it_ends_here(action, now),
        "restored": False,
        "details": {},
    }
    document["entries"].append(entry)
    return entry


def _entry_of(document: Document, action: Action, now: float) -> Document:
    """The entry that an action has begun; a new one where none is open."""
    fix, address = action.get("fix"), action.get("address") or None
    for entry in reversed(document["entries"]):
        if entry["fix"] == fix and entry["address"] == address:
            found: Document = entry
            return found
    return _begin(document, action, now)


def _left_if_it_ends_here(action: Action, now: float) -> str | None:
    """What is left to do if the control node dies right after this line was written."""
    arguments = mapping(action, "arguments")
    if action.get("fix") != EMERGENCY or arguments.get("state") == "absent":
        return None
    seconds = arguments.get("seconds")
    until = f", at {moment(now + seconds)} at the latest," if isinstance(seconds, (int, float)) else ""
    return (
        f"A timer on the host puts stop-writes-on-bgsave-error back as soon as a save has succeeded{until} if it was "
        "changed at all. To look: CONFIG GET stop-writes-on-bgsave-error. To put it back now: "
        "CONFIG SET stop-writes-on-bgsave-error yes"
    )


def _give_back(entry: Document, result: Result) -> None:
    """What was lent is back: no change of its own, the entry's own change has ended."""
    if result.get("failed") or result.get("unreachable") or not result:
        entry["left_to_do"] = _words(result.get("left_to_do") or entry["left_to_do"] or "") or None
        return
    left = result.get("left_to_do")
    entry["restored"] = not left
    entry["left_to_do"] = _words(left) if left else None


def changes_of(action: Action, result: Result) -> list[Change]:
    """What a registered result has changed, or in check mode would change, as changes of the action.

    A module of this collection lists its changes. Of a built-in one the changes that the plan predicted for it are
    taken: those of the ``part`` that the result's key ``part`` names, or all.
    """
    fix, address = str(action.get("fix")), action.get("address") or None
    if fix == VERIFY and isinstance(result.get("state"), str) and result["state"] != "skipped":
        return _changes_of_save(action, result)
    if result.get("skipped") or not result.get("changed"):
        return []
    if isinstance(result.get("changes"), list):
        # A module does not know what a plan does for good.
        final = {change.get("what") for change in entries(action, "changes") if change.get("reversible") is False}
        return [
            full_change({**change, "reversible": False} if change.get("what") in final else change, fix, address)
            for change in entries(result, "changes")
        ]
    if result.get("failed"):
        return []
    part = result.get("part")
    predicted = [change for change in entries(action, "changes") if part is None or change.get("part") == part]
    return [full_change(change, fix, address) for change in predicted]


def _changes_of_save(action: Action, result: Result) -> list[Change]:
    """What was kept beside, also where the save failed after that; and the save, with the status that it left."""
    address = action.get("address") or None
    changes = []
    kept = mapping(result, "kept_dump")
    if kept.get("path"):
        told = _changes.dump_text(kept.get("bytes"), kept.get("keys_at_least"), kept.get("saved_unix"))
        changes.append(_changes.change(_changes.kept_dump(_place_of(kept, action)), told, _changes.KEPT_BESIDE))
    if result["state"] == "succeeded":
        before, after = result.get("status_before"), result.get("status_after") or "ok"
        changes.append(_changes.change(_changes.SAVE, before, after, reversible=False))
    return [full_change(change, VERIFY, address) for change in changes]


def _place_of(kept: Result, action: Action) -> str:
    """The place that was kept: as the plan named it, else by the kept file's own name."""
    prefix = _changes.kept_dump("")
    for change in entries(action, "changes"):
        if str(change.get("what")).startswith(prefix):
            return str(change["what"])[len(prefix) :]
    return str(kept["path"]).rpartition(".kept-")[0]


def full_change(change: t.Mapping[str, t.Any], fix: str, address: str | None) -> Change:
    """``{fix, address, what, before, after, reversible}``."""
    return {
        "fix": fix,
        "address": address,
        "what": str(change.get("what")),
        "before": change.get("before"),
        "after": change.get("after"),
        "reversible": bool(change.get("reversible", True)),
    }


def details_of(result: Result) -> Document:
    """The figures of a result that are kept."""
    return {name: _bounded(result[name]) for name in _DETAILS if result.get(name) is not None}


def _bounded(value: t.Any) -> t.Any:
    """A value as JSON, without anything of Ansible's own types, and without a text beyond all measure."""
    if isinstance(value, bool) or value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, t.Mapping):
        return {str(key): _bounded(item) for key, item in list(value.items())[:100]}
    if isinstance(value, (list, tuple)):
        return [_bounded(item) for item in value[:100]]
    return shorten(str(value), _TEXT_LIMIT)


def _identity(change: Change) -> str:
    return json.dumps(change, sort_keys=True, default=str)


def _words(value: object) -> str:
    return shorten(str(value).strip(), _ERROR_LIMIT)


def close(document: Document, now: float) -> None:
    """The run has ended."""
    document["ended_at"] = moment(now)


def changed_since_proof(document: Document) -> list[tuple[str | None, str]]:
    """``[(address or null, fix)]`` of what has changed since the server's last proof, and has not been given back.

    A save is the proof itself, not a change that needs one.
    """
    changed: list[tuple[str | None, str]] = []
    for entry in document["entries"]:
        if entry["fix"] == "verify":
            if entry["state"] == DONE:
                changed = [(address, fix) for address, fix in changed if address != entry["address"]]
        elif entry["changes"] and not entry["restored"]:
            changed.append((entry["address"], entry["fix"]))
    return changed


def moment(unix: float) -> str:
    """``2026-11-22T23:59:01Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix))
