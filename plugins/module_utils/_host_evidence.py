# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the host alone knows of its servers: ``redis_host_info``. Redis itself is not asked."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_config_file
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import Survey, find_pid
from ansible_collections.redisops.persistence.plugins.module_utils._evidence import (
    HOST_BLOCKS,
    HOST_EVIDENCE_SECONDS,
    Limits,
    collect_host_with_logs,
    collect_instance_host,
    show_units_of,
)
from ansible_collections.redisops.persistence.plugins.module_utils._instances import resolve_targets
from ansible_collections.redisops.persistence.plugins.module_utils._options import LOG_LIMIT_BYTES, PLACE_OPTIONS
from ansible_collections.redisops.persistence.plugins.module_utils._parallel import run_in_parallel
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

HINT_OPTIONS = ("dir", "dbfilename", "logfile")


class Place(t.NamedTuple):
    """A server as the host knows it.

    :param config_file: as the server itself names it, below its own root directory.
    :param hints: settings that the caller knows, by their names in CONFIG GET.
    """

    address: str
    pid: int | None
    config_file: str | None
    hints: dict[str, str]


def argument_spec() -> dict[str, t.Any]:
    """The options of ``redis_host_info``."""
    instance = {
        "pid": {"type": "int"},
        "login_host": {"type": "str"},
        "login_port": {"type": "int"},
        "unix_socket": {"type": "path"},
        "dir": {"type": "path"},
        "dbfilename": {"type": "str"},
        "logfile": {"type": "path"},
    }
    return {
        "instances": {"type": "list", "elements": "dict", "options": instance},
        "deep": {"type": "bool", "default": False},
        "log_limit_bytes": {"type": "int", "default": LOG_LIMIT_BYTES},
    }


def collect_host_evidence(parameters: t.Mapping[str, t.Any], system: System) -> dict[str, t.Any]:
    """``{host, instances: [{address, process, .., gaps}], gaps}``, with the blocks of docs/evidence.md."""
    gaps = Gaps()
    survey = Survey(system)
    places = resolve_places(parameters["instances"], system, survey, gaps)
    units = show_units_of(system, [place.pid for place in places])
    limits = Limits(parameters["log_limit_bytes"], parameters["deep"], units)
    host = collect_host_with_logs(system, gaps)
    instances = run_in_parallel(
        lambda place: collect_place(place, system, limits),
        places,
        surprised_place,
        deadline_seconds=HOST_EVIDENCE_SECONDS,
    )
    return {"host": host, "instances": instances, "gaps": gaps.entries()}


def resolve_places(entries: list[dict[str, t.Any]] | None, system: System, survey: Survey, gaps: Gaps) -> list[Place]:
    """The servers that the caller named, or all that run here."""
    found = resolve_targets({}, system, gaps if entries is None else Gaps(), survey)
    discovered = {
        target.server["pid"]: Place(target.address, target.server["pid"], target.server["config_file"], {})
        for target in found
        if target.server is not None
    }
    if entries is None:
        return list(discovered.values())
    return [named_place(entry, discovered, system, survey) for entry in entries]


def named_place(entry: t.Mapping[str, t.Any], discovered: dict[int, Place], system: System, survey: Survey) -> Place:
    """One server that the caller named by its pid, or by where it listens."""
    where = {name: entry[name] for name in PLACE_OPTIONS if entry.get(name) is not None}
    options = ConnectionOptions.from_mapping(where)
    pid = entry.get("pid")
    if pid is None:
        pid = find_pid(system, options, None, survey)
        where = where or {"login_port": options.login_port}
    known = discovered.get(pid, Place(f"process {pid}", pid, None, {}))
    hints = {name: entry[name] for name in HINT_OPTIONS if entry.get(name) is not None}
    return known._replace(address=options.address if where else known.address, hints=hints)


def collect_place(place: Place, system: System, limits: Limits) -> dict[str, t.Any]:
    """The host's side of one server."""
    gaps = Gaps()
    instance = empty_place(place)
    if place.pid is None:
        gaps.add(
            "host evidence",
            "no process on this host is known to own that address",
            "Name the server by its pid, or run as root (become: true) on the host that it runs on.",
        )
    else:
        settings = {**settings_of_config_file(place, system, gaps), **place.hints}
        instance.update(collect_instance_host(system, place.pid, settings, gaps, limits, place.config_file))
    instance["gaps"] = gaps.entries()
    return instance


def settings_of_config_file(place: Place, system: System, gaps: Gaps) -> dict[str, str]:
    """What the server's configuration file says; empty where it has none, or where it can't be read."""
    if place.config_file is None:
        return {}
    return read_config_file(system, f"/proc/{place.pid}/root{place.config_file}", gaps) or {}


def empty_place(place: Place) -> dict[str, t.Any]:
    """A server of which nothing is known yet."""
    return {"address": place.address, **dict.fromkeys(HOST_BLOCKS), "gaps": []}


def surprised_place(place: Place, error: Exception) -> dict[str, t.Any]:
    """What is said of a server whose collection ended in an error that nobody foresaw, or did not end."""
    gaps = Gaps()
    why = f"the collection failed: {type(error).__name__}: {error}"
    gaps.add("evidence", why, "Report this as a defect of redisops.persistence.")
    return {**empty_place(place), "gaps": gaps.entries()}
