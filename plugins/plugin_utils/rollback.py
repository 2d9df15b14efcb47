# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""From the record of a run to the actions that put back what can be put back, and a list of what can't.

The actions are those of a plan, with the values before as the wanted ones and the values after as the expected ones:
the same task files carry them out, and the modules leave alone what somebody else has changed since. The last change
comes first. An entry whose run died, or that failed, counts as perhaps done: it is put back by what it intended, which
changes nothing where it was not done.

A record is data. Its fix, parameters, settings and files must be those that this collection changes; everything else
is refused, naming the entry. Where a directory may be changed at all is for the module to say, as it was before.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._forbidden_places import why_forbidden
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import grade_name, grade_place
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import ACCEPTABLE, UNTRUSTED_SERVER
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_drop_in import MARK
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_drop_in import PATH as DROP_IN_PATH
from ansible_collections.redisops.persistence.plugins.plugin_utils import record
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import VERIFY
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import FIX_IDS
from ansible_collections.redisops.persistence.plugins.plugin_utils.record import RecordError
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, entries, mapping, text
from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import plain

_KERNEL = {"overcommit": "vm.overcommit_memory", "thp": "transparent_hugepage"}
_KERNEL_VALUES = {"overcommit": ("0", "1", "2"), "thp": ("always", "madvise", "never")}
_PARAMETERS = {
    "restore_dir": ("dir", "dbfilename"),
    "oom_score": ("oom-score-adj", "oom-score-adj-values"),
    "stop_writes": ("stop-writes-on-bgsave-error",),
    "save_points": ("save",),
    "maxmemory": ("maxmemory", "maxmemory-policy"),
}
_LIMITS = {"process_limit": "nproc", "file_size_limit": "fsize"}
_GROUPS = {"pids_limit": "pids", "cgroup_memory": "memory"}
_RESTARTS = ("recreate_dir", "unit_sandbox")
# What a drop-in of ours may say: one limit, as plan_units writes it.
_DROP_IN = re.compile(
    re.escape(MARK) + r"[^\n]*\n\[Service\]\n(?:LimitNPROC|LimitFSIZE|TasksMax|MemoryMax)=(?:\d{1,20}|infinity)\n\Z",
    re.ASCII,
)
_OWNER = re.compile(r"(\d{1,10}):(\d{1,10})\Z", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3,4}\Z", re.ASCII)
_OPEN_TO_ALL = 0o002

Action = dict[str, t.Any]
Arguments = dict[str, t.Any]


class Rollback(t.NamedTuple):
    """``actions`` as in a plan; ``not_reversible``: [{fix, address, what, why}]."""

    actions: list[Action]
    not_reversible: list[dict[str, t.Any]]


class _Refused(Exception):
    """Why this part of an entry is not put back."""


def invert(document: Mapping, name: str) -> Rollback:
    """What puts back the changes of a record. ``name`` is its file. Raises RecordError for what is no such record."""
    actions: list[Action] = []
    stays: list[dict[str, t.Any]] = []
    rewritten: dict[str, list[Arguments]] = {}
    for position, entry in reversed(list(enumerate(entries(document, "entries")))):
        if not _is_open(entry) or not _changes_of(entry):
            continue
        where = f"{name}: entries[{position}]"
        if entry.get("fix") not in FIX_IDS:
            raise RecordError(f"{where}: there is no fix {plain(entry.get('fix'))!r}, so this is not a record of ours")
        if entry["fix"] == "rewrite_config":
            rewritten.setdefault(str(entry.get("address")), [])
            continue
        inverse = _Inverse(entry, where)
        action = inverse.action()
        stays.extend(inverse.stays)
        if action is None:
            continue
        actions.append(action)
        if mapping(action, "arguments", "parameters") and str(entry.get("address")) in rewritten:
            rewritten[str(entry["address"])].append(action["arguments"])
    actions.extend(_rewrite(address, put_back) for address, put_back in rewritten.items() if put_back)
    return Rollback(actions, stays)


def _is_open(entry: Mapping) -> bool:
    """Whether there is, or may be, something to put back: what was lent and is back again is not."""
    return entry.get("state") != record.SKIPPED and not entry.get("restored")


def _changes_of(entry: Mapping) -> list[Mapping]:
    """The changes made; with the intended ones where nobody knows how far the entry came."""
    made = entries(entry, "changes")
    if entry.get("state") == record.DONE:
        return made
    names = {change.get("what") for change in made}
    return made + [change for change in entries(entry, "planned") if change.get("what") not in names]


def _rewrite(address: str, put_back: t.Sequence[Arguments]) -> Action:
    """The configuration file had our values written to it: it gets the old ones, where these are all that differs.

    Where one of them could not be put back, as somebody else has set it since, or the file has another value of it than
    we gave it, it stays as it is. In check mode nothing before has set them: the prediction needs to know what they
    would be.
    """
    values = {name: str(value) for arguments in put_back for name, value in arguments["parameters"].items()}
    in_file: dict[str, str] = {}
    for arguments in put_back:
        for name, value in arguments["expected"].items():
            in_file.setdefault(name, str(value))
    return {
        "fix": "rewrite_config",
        "address": address,
        "arguments": {
            "parameters": {},
            "rewrite": "if_only_drift",
            "own_parameters": list(values),
            "assumed": values,
            "expected_in_file": in_file,
        },
        "changes": [],
    }


class _Inverse:
    """One entry, the other way round."""

    def __init__(self, entry: Mapping, where: str) -> None:
        self.entry = entry
        self.where = where
        self.fix = str(entry["fix"])
        self.address = text(entry, "address")
        self.arguments = mapping(entry, "arguments")
        self.open = {str(change["what"]): change for change in reversed(_changes_of(entry))}
        self.undone: list[Mapping] = []
        self.stays: list[dict[str, t.Any]] = []

    def action(self) -> Action | None:
        """None where nothing of it can be put back."""
        try:
            arguments = self._arguments()
        except _Refused as refusal:
            arguments = None
            self.undone = []
            self._stay_all(str(refusal))
        self._stay_all(_why_final(self.fix, self.arguments.get("without_restart") is True))
        if arguments is None:
            return None
        changes = [
            _changes.change(str(change["what"]), change.get("after"), change.get("before")) for change in self.undone
        ]
        return {"fix": self.fix, "address": self.address, "arguments": arguments, "changes": changes}

    def _arguments(self) -> Arguments | None:
        if self.fix in _KERNEL:
            return self._kernel()
        if self.fix in _PARAMETERS:
            return self._parameters()
        if self.fix in _LIMITS:
            return self._limit({"resource": _LIMITS[self.fix]}, _changes.process_limit(_LIMITS[self.fix]))
        if self.fix in _GROUPS:
            path = self._text("path")
            return self._limit(
                {"controller": _GROUPS[self.fix], "path": path}, _changes.control_group(_GROUPS[self.fix], path)
            )
        if self.fix == "data_dir":
            return self._owner_and_mode()
        if self.fix == "immutable":
            return self._attributes()
        if self.fix == "destination":
            return self._destination()
        if self.fix == VERIFY:
            return self._kept_dump()
        if self.fix == "emergency_unblock":
            self._take(_changes.parameter("stop-writes-on-bgsave-error"))
            return {"state": "absent", "seconds": self.arguments.get("seconds")}
        return None

    # Changes

    def _take(self, what: str) -> Mapping | None:
        """The change of this name, which this action undoes."""
        change = self.open.pop(what, None)
        if change is None or change.get("reversible") is False:
            if change is not None:
                self._stay(change, "It can't be undone.")
            return None
        self.undone.append(change)
        return change

    def _stay(self, change: Mapping, why: str) -> None:
        self.stays.append({"fix": self.fix, "address": self.address, "what": str(change.get("what")), "why": why})

    def _stay_all(self, why: str) -> None:
        for what in list(self.open):
            self._stay(self.open.pop(what), why)

    # What the record says, checked

    def _broken(self, problem: str) -> RecordError:
        return RecordError(f"{self.where} ({self.fix}): {problem}")

    def _text(self, name: str) -> str:
        value = self.arguments.get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._broken(f"arguments.{name} must be a text")
        return value

    def _path(self, name: str) -> str:
        value = self._text(name)
        if not value.startswith("/") or ".." in value.split("/"):
            raise self._broken(f"arguments.{name} must be an absolute path")
        return value

    def _process(self) -> Arguments:
        pid = self.arguments.get("pid")
        if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 1:
            raise self._broken("arguments.pid must be a process")
        started = self.arguments.get("started_unix")
        return {"pid": pid} if started is None else {"pid": pid, "started_unix": started}

    def _place(self) -> Arguments:
        """The directory that was changed; another one is refused by the module."""
        allowed = self.arguments.get("allowed_dirs")
        if not isinstance(allowed, (list, tuple)) or not all(isinstance(path, str) for path in allowed):
            raise self._broken("arguments.allowed_dirs must be a list of paths")
        # It gets back what it had: what stands against giving it something new does not count.
        place = {
            **self._process(),
            "path": self._path("path"),
            "allowed_dirs": list(allowed),
            "accept": list(ACCEPTABLE),
        }
        place.update({name: self.arguments[name] for name in ("device", "inode") if self.arguments.get(name)})
        return place

    # Fixes

    def _kernel(self) -> Arguments:
        name = _KERNEL[self.fix]
        if self.arguments.get("name") != name:
            raise self._broken(f"arguments.name must be {name}")
        change = self._take(_changes.huge_pages() if self.fix == "thp" else _changes.sysctl(name))
        files = [what for what in self.open if what.startswith(_changes.file_content(""))]
        ours = [what for what in files if self.open[what].get("before") is None]
        for what in ours:
            self._take(what)
        wanted = self._setting("value") if change is None else str(change.get("before"))
        expected = self._setting("value") if change is None else str(change.get("after"))
        for value in (wanted, expected):
            if value not in _KERNEL_VALUES[self.fix]:
                raise self._broken(f"{value!r} is no value of {name}")
        return {"name": name, "value": wanted, "expected": expected, "boot": "absent" if ours else "unchanged"}

    def _setting(self, name: str) -> str:
        return str(self.arguments.get(name))

    def _parameters(self) -> Arguments:
        wanted: dict[str, str] = {}
        expected: dict[str, str] = {}
        for what in list(self.open):
            name = what[len(_changes.parameter("")) :] if what.startswith(_changes.parameter("")) else None
            if name is None:
                continue
            if name not in _PARAMETERS[self.fix]:
                raise self._broken(f"{plain(name)} is not a parameter of this fix")
            change = self.open[what]
            if not isinstance(change.get("before"), str) or not isinstance(change.get("after"), str):
                raise self._broken(f"{what} must have a text before and after")
            self._refuse_intruders_place(name, change["before"])
            if self._take(what) is not None:
                wanted[name], expected[name] = change["before"], change["after"]
        if not wanted:
            raise _Refused("The record does not say what it was.")
        return {"parameters": wanted, "expected": expected}

    def _refuse_intruders_place(self, name: str, value: str) -> None:
        if name == "dir" and (why_forbidden(posixpath.normpath(value)) or grade_place(value)):
            raise _Refused(f"It would send the dump to {plain(value)} again, a place that intruders use.")
        if name == "dbfilename" and grade_name(value):
            raise _Refused(f"It would give the dump the name {plain(value)} again, one that intruders use.")

    def _limit(self, more: Arguments, what: str) -> Arguments:
        for name, value in more.items():
            if self.arguments.get(name) != value:
                raise self._broken(f"arguments.{name} must be {value}")
        change = self._take(what)
        # Where the running value was not changed, "as it is" is wanted, and nothing else is touched.
        wanted = self.arguments.get("value") if change is None else change.get("before")
        expected = self.arguments.get("value") if change is None else change.get("after")
        for value in (wanted, expected):
            if not (value == "unlimited" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)):
                raise self._broken(f"{plain(value)!r} is no limit")
        arguments = {**self._process(), **more, "value": wanted, "expected": expected}
        if "resource" in more:
            # The value before gives the server nothing new.
            arguments["accept"] = [UNTRUSTED_SERVER]
        drop_in = self._drop_in()
        if drop_in is not None:
            arguments["drop_in"] = drop_in
        if self.arguments.get("unit"):
            arguments["unit"] = self._text("unit")
        return arguments

    def _drop_in(self) -> dict[str, t.Any] | None:
        """``{path, content}`` of a drop-in that was written: its text before, null for none."""
        given = mapping(self.arguments, "drop_in")
        if not given:
            return None
        path = given.get("path")
        if not isinstance(path, str) or not DROP_IN_PATH.fullmatch(path):
            raise self._broken("arguments.drop_in.path is not a drop-in of this collection")
        change = self._take(_changes.file_content(path))
        if change is None:
            return None
        before = change.get("before")
        if before is not None and not (isinstance(before, str) and _DROP_IN.match(before)):
            raise self._broken(f"what {path} is to say again is no limit in a drop-in of this collection")
        self._take(_changes.directory(posixpath.dirname(path)))
        return {"path": path, "content": before}

    def _owner_and_mode(self) -> Arguments:
        arguments = self._place()
        expected: Arguments = {}
        for what in [what for what in self.open if what.startswith(_changes.owner(""))]:
            change = self.open[what]
            before, after = _owner(change.get("before")), _owner(change.get("after"))
            if what != _changes.owner(arguments["path"]) or before is None or after is None:
                raise self._broken(f"{plain(what)}: not the owner of {plain(arguments['path'])}")
            if self._take(what) is not None:
                arguments.update(uid=before[0], gid=before[1])
                expected.update(uid=after[0], gid=after[1])
        for what in [what for what in self.open if what.startswith(_changes.mode(""))]:
            change = self.open[what]
            before_mode, after_mode = str(change.get("before")), str(change.get("after"))
            is_own = what == _changes.mode(arguments["path"])
            if not (is_own and _MODE.match(before_mode) and _MODE.match(after_mode)):
                raise self._broken(f"{plain(what)}: not the mode of {plain(arguments['path'])}")
            if int(before_mode, 8) & _OPEN_TO_ALL:
                self._stay(self.open.pop(what), f"Mode {before_mode} lets everybody write.")
            elif self._take(what) is not None:
                arguments["mode"] = before_mode
                expected["mode"] = after_mode
        if not expected:
            raise _Refused("There is no owner or mode to put back.")
        return {**arguments, "expected": expected}

    def _attributes(self) -> Arguments:
        arguments = self._place()
        dump_name = text(self.arguments, "dump_name")
        if dump_name:
            arguments["dump_name"] = dump_name
        for name, path in (
            ("attributes_add", arguments["path"]),
            ("dump_attributes_add", posixpath.join(arguments["path"], dump_name or "")),
        ):
            change = self._take(_changes.attributes(path))
            if change is not None:
                before, after = str(change.get("before") or ""), str(change.get("after") or "")
                if set(before + after) - set("ia"):
                    raise self._broken(f"{before!r} are no attributes")
                arguments[name] = sorted(set(before) - set(after))
        if not self.undone:
            raise _Refused("The record does not say which attributes there were.")
        return arguments

    def _destination(self) -> Arguments:
        arguments = self._place()
        arguments["dump_name"] = self._text("dump_name")
        if self._take(_changes.directory(posixpath.join(arguments["path"], arguments["dump_name"]))) is None:
            raise _Refused("The record does not say that a directory was removed.")
        before = mapping(self.entry, "details", "destination_before")
        for name in ("uid", "gid", "mode"):
            if before.get(name) is not None:
                arguments[f"destination_{name}"] = before[name]
        return {**arguments, "destination": "directory"}

    def _kept_dump(self) -> Arguments | None:
        """What a save has replaced, put back. Its own file is kept in its turn, so nothing is lost either way."""
        what = next((what for what in self.open if what.startswith(_changes.kept_dump(""))), None)
        if what is None:
            return None
        details = mapping(self.entry, "details")
        kept, written = mapping(details, "kept_dump"), mapping(details, "dump_after")
        path = kept.get("path")
        if not isinstance(path, str):
            raise _Refused("No file was kept.")
        place = what[len(_changes.kept_dump("")) :]
        directory, dump_name = posixpath.split(place)
        name = posixpath.basename(path)
        is_sound = directory.startswith("/") and ".." not in directory.split("/") and dump_name
        if not is_sound or posixpath.dirname(path) != directory or ".kept-" not in name or grade_name(dump_name):
            raise self._broken(f"{plain(path)} is no file that a save has kept beside")
        if written.get("saved_unix") is None:
            raise _Refused(f"Which file the save wrote is not on record. {plain(path)} stays where it is.")
        change = self._take(what)
        if change is None:
            return None
        replaced = _changes.dump_text(written.get("bytes"), written.get("keys_at_least"), written["saved_unix"])
        # Announced as what it does: the kept file keeps its own name.
        self.undone[-1] = {"what": _changes.put_back_dump(place), "before": change.get("before"), "after": replaced}
        return {
            **self._process(),
            "path": directory,
            "allowed_dirs": [directory],
            "dump_name": dump_name,
            "kept_name": name,
            "kept": _dump_identity(kept),
            "replaced": _dump_identity(written),
        }


def _dump_identity(dump: Mapping) -> dict[str, t.Any]:
    return {key: dump[key] for key in ("bytes", "inode", "saved_unix") if dump.get(key) is not None}


def _owner(value: object) -> tuple[int, int] | None:
    """``uid:gid`` taken apart."""
    match = _OWNER.match(value) if isinstance(value, str) else None
    return (int(match.group(1)), int(match.group(2))) if match else None


def _why_final(fix: str, without_restart: bool) -> str:
    """Why what is left of a fix stays."""
    if fix in _RESTARTS and without_restart:
        return "The server saves there now: without it the next save would fail again."
    if fix in _RESTARTS:
        return (
            "The server runs in it now: without it the next save would fail again. A copy of every key lies in the "
            "rescue directory, and the old dump beside the new one."
        )
    return {
        "orphan_temp_files": "The files are gone. No server would ever have read them.",
        "rescue": "The copy stays where it is, until somebody removes it.",
        VERIFY: "A save has no opposite.",
    }.get(fix, "It can't be undone.")


def with_processes(actions: t.Sequence[Action], facts: Mapping) -> list[Action]:
    """The actions with the process of today, for servers that were started again since.

    :param facts: {address: {pid, started_unix}} as they are now; a server that is not in it keeps what was recorded.
    """
    refreshed = []
    for action in actions:
        now = mapping(facts, str(action.get("address")))
        arguments = action["arguments"]
        if "pid" in arguments and now.get("pid") is not None:
            arguments = {**arguments, "pid": now["pid"], "started_unix": now.get("started_unix")}
            arguments = {name: value for name, value in arguments.items() if value is not None}
        refreshed.append({**action, "arguments": arguments})
    return refreshed


class Undone(t.NamedTuple):
    """What became of one action of a rollback.

    :ivar state: ``done`` (it is as it was before the remediation), ``kept`` (left as somebody else has set it
        since), ``same`` (it was so already) or ``failed``.
    :ivar remarks: what differs, or why it failed.
    """

    fix: str
    address: str | None
    state: str
    changes: list[Mapping]
    remarks: list[str]


def undone(document: Mapping) -> list[Undone]:
    """What the record of a rollback says that it has put back, and what not."""
    return [_undone(entry) for entry in entries(document, "entries")]


def _undone(entry: Mapping) -> Undone:
    changes = entries(entry, "changes")
    remarks = _conflicts_of(mapping(entry, "details"))
    state = "done" if changes else "same"
    if entry.get("state") in (record.FAILED, record.STARTED):
        state = "failed"
        remarks = [str(entry.get("error") or "It was begun, and nobody knows how it ended.")]
    elif remarks:
        state = "kept"
    elif entry.get("fix") == "rewrite_config" and mapping(entry, "details").get("rewrite_refused"):
        state, remarks = "kept", [_why_not_rewritten(mapping(entry, "details").get("rewrite_reason"))]
    return Undone(str(entry.get("fix")), text(entry, "address"), state, changes, remarks)


def _why_not_rewritten(reason: object) -> str:
    return f"what is back is so at run time alone, for the file stays as it is: {reason}"


def _conflicts_of(details: Mapping) -> list[str]:
    """What a module has left alone because somebody has changed it since, in its own form, as sentences."""
    remarks = [str(details["conflict"])] if details.get("conflict") else []
    conflicts = details.get("conflicts")
    if isinstance(conflicts, list):
        remarks += [str(conflict) for conflict in conflicts]
    for name, conflict in mapping(details, "conflicts").items():
        remarks.append(
            f"{name} is {conflict.get('running')!r} now, neither the value before nor the one that was set"
            if isinstance(conflict, dict)
            else f"{name}: {conflict}"
        )
    return remarks


def failures(document: Mapping, error: str | None) -> list[str]:
    """What was not put back because something failed, and why; what was left alone on purpose is no failure."""
    told = [error] if error else []
    for item in undone(document):
        if item.state == "failed":
            where = f" of {plain(item.address)}" if item.address else ""
            told.append(f"{plain(item.fix)}{where}: {plain(' '.join(item.remarks))}")
    return told
