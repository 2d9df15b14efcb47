# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The evidence as the fixes of a plan will leave it, so that the save that follows can be judged beforehand.

Only what the forecast looks at is carried over. What a fix makes unknown (another directory) becomes unknown.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import Action
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import UNLIMITED, Mapping, number

Document = dict[str, t.Any]
_VIEWS = ("process_view", "host_view", "lookup_view")
_SPACE = ("usable_bytes", "free_bytes", "available_bytes")
_INODES = ("inodes_usable", "inodes_free")


def evidence_after(evidence: Mapping, actions: t.Iterable[Action]) -> Document:
    """A copy of the evidence with the outcome of the actions in it."""
    document: Document = copy.deepcopy(dict(evidence))
    host = _child(document, "host")
    instances = [entry for entry in document.get("instances") or [] if isinstance(entry, dict)]
    now = number(document, "gathered_at_unix")
    for action in actions:
        fix, arguments = action["fix"], action["arguments"]
        if action["address"] is None:
            _on_host(host, fix)
            continue
        for instance in instances:
            if instance.get("address") == action["address"]:
                _on_server(instance, fix, arguments, now)
            elif arguments.get("inode") is not None and _same_directory(instance, arguments):
                _on_directory(_child(instance, "data_directory"), fix, arguments, now)
    return document


def _child(document: Document, name: str) -> Document:
    """A mapping below a mapping, made where there is none."""
    value = document.get(name)
    if not isinstance(value, dict):
        value = {}
        document[name] = value
    return value


def _on_host(host: Document, fix: str) -> None:
    if fix == "overcommit":
        _child(host, "overcommit")["mode"] = 1
    elif fix == "thp":
        _child(host, "thp")["policy"] = "never"


def _same_directory(instance: Document, arguments: Mapping) -> bool:
    view = _child(_child(instance, "data_directory"), "process_view")
    return (view.get("device"), view.get("inode")) == (arguments.get("device"), arguments.get("inode"))


def _on_server(instance: Document, fix: str, arguments: Mapping, now: float | None) -> None:
    redis, directory = _child(instance, "redis"), _child(instance, "data_directory")
    if fix == "restore_dir":
        _move(instance, arguments["parameters"])
    if "parameters" in arguments:
        _child(redis, "config").update(arguments["parameters"])
    elif fix == "emergency_unblock":
        _child(redis, "config")["stop-writes-on-bgsave-error"] = "no"
    elif fix in ("process_limit", "file_size_limit"):
        _raise_limit(_child(_child(instance, "process"), "limits"), arguments)
    elif fix in ("pids_limit", "cgroup_memory"):
        _raise_group(_child(instance, "cgroups"), arguments)
    elif fix == "recreate_dir":
        _step_into(directory, arguments)
        _child(redis, "config")["dir"] = arguments["path"]
    if arguments.get("drop_in"):
        _keep_in_unit(_child(instance, "systemd"), arguments["drop_in"])
    _on_directory(directory, fix, arguments, now)
    if fix == "unit_sandbox" or (fix == "recreate_dir" and not arguments["without_restart"]):
        # A start makes the status ok; the dump is the copy of every key.
        _child(redis, "info")["rdb_last_bgsave_status"] = "ok"
        _child(directory, "dump").update({"exists": True, "type": "file", "to_be_seen": True})


def _keep_in_unit(systemd: Document, written: Mapping) -> None:
    """The drop-in is there, and systemd has read it."""
    paths = systemd.get("drop_in_paths")
    systemd["drop_in_paths"] = [*(paths if isinstance(paths, list) else []), written["path"]]
    name, _equals, value = str(written["content"]).splitlines()[-1].partition("=")
    if name in _child(systemd, "limits"):
        systemd["limits"][name] = UNLIMITED if value == "infinity" else int(value)


def _move(instance: Document, parameters: Mapping) -> None:
    """Another place for the dump: nothing is known of it, least of all whose file lies there."""
    old = _child(instance, "data_directory")
    name = parameters.get("dbfilename") or _child(_child(instance, "redis"), "config").get("dbfilename")
    dump = {"name": name, "to_be_seen": True}
    if "dir" in parameters:
        instance["data_directory"] = {"path": parameters["dir"], "root": old.get("root"), "dump": dump}
    elif "dbfilename" in parameters:
        old["dump"] = dump


def _raise_limit(limits: Document, arguments: Mapping) -> None:
    entry = _child(limits, str(arguments["resource"]))
    value, hard = arguments["value"], entry.get("hard")
    entry["soft"] = value
    if hard != UNLIMITED and (value == UNLIMITED or (isinstance(hard, int) and value > hard)):
        entry["hard"] = value


def _raise_group(cgroups: Document, arguments: Mapping) -> None:
    controller = str(arguments["controller"])
    name = "limit_bytes" if controller == "memory" else "limit"
    for group in cgroups.get(controller) or []:
        if isinstance(group, dict) and group.get("path") == arguments["path"]:
            group[name] = arguments["value"]


def _step_into(directory: Document, arguments: Mapping) -> None:
    """The directory that has been made again: the server's own. One that is there already may hold a backup."""
    dump: Document = {"name": arguments["dump_name"], "exists": False}
    if directory.get("lookup_view") is not None:
        dump = {"name": arguments["dump_name"], "to_be_seen": True}
    directory.update(
        {
            "deleted": False,
            "same_directory": True,
            "owner": {"uid": arguments["uid"], "gid": arguments["gid"], "mode": arguments["mode"]},
            "access": {"writable": True, "searchable": True, "blocked_by": None, "reason": None},
            "attributes": {"immutable": False, "append_only": False},
            "dump": dump,
            "temp_files": [],
        }
    )


def _on_directory(directory: Document, fix: str, arguments: Mapping, now: float | None) -> None:
    if fix == "data_dir":
        owner = _child(directory, "owner")
        owner.update({key: arguments[key] for key in ("uid", "gid", "mode") if arguments[key] is not None})
        owner["changed_unix"] = now
        _child(directory, "access").update({"writable": True, "blocked_by": None, "reason": None})
    elif fix == "immutable":
        nothing = {"immutable": False, "append_only": False}
        if arguments["attributes_remove"]:
            directory["attributes"] = dict(nothing)
        if arguments["dump_attributes_remove"]:
            _child(directory, "dump").update(attributes=dict(nothing), changed_unix=now)
    elif fix == "destination":
        directory["dump"] = {"name": arguments["dump_name"], "exists": False}
    elif fix == "orphan_temp_files":
        _free(directory, set(arguments["names"]))
    elif fix == "unit_sandbox":
        for view in _VIEWS:
            if isinstance(directory.get(view), dict):
                directory[view]["read_only"] = False


def _free(directory: Document, names: set[str]) -> None:
    """Space and inodes that the removed files have held."""
    files = [entry for entry in directory.get("temp_files") or [] if isinstance(entry, dict)]
    removed = [entry for entry in files if entry.get("name") in names]
    freed_bytes = int(sum(number(entry, "size_bytes") or 0 for entry in removed))
    directory["temp_files"] = [entry for entry in files if entry.get("name") not in names]
    for view in (directory.get(name) for name in _VIEWS):
        if not isinstance(view, dict):
            continue
        for name, amount in [*((key, freed_bytes) for key in _SPACE), *((key, len(removed)) for key in _INODES)]:
            if isinstance(view.get(name), (int, float)):
                view[name] += amount
