# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One host's evidence: every collector, for every server, in one execution.

The shape is docs/evidence.md. Servers are asked side by side, so that one that hangs costs its own time-out and
nothing of the others'.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._cgroup import collect_cgroups
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_config_file
from ansible_collections.redisops.persistence.plugins.module_utils._container import collect_container
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import Survey, find_config_file, find_pid
from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import collect_data_directory
from ansible_collections.redisops.persistence.plugins.module_utils._host_facts import collect_host
from ansible_collections.redisops.persistence.plugins.module_utils._instances import (
    Target,
    collect_target,
    resolve_targets,
)
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_log import collect_kernel_log
from ansible_collections.redisops.persistence.plugins.module_utils._options import LOG_LIMIT_BYTES
from ansible_collections.redisops.persistence.plugins.module_utils._parallel import run_in_parallel
from ansible_collections.redisops.persistence.plugins.module_utils._process import collect_process
from ansible_collections.redisops.persistence.plugins.module_utils._read_as import end_children
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import overall_deadline_seconds
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log import collect_redis_log
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System
from ansible_collections.redisops.persistence.plugins.module_utils._systemd import (
    collect_systemd,
    show_units,
    unit_of_process,
)
from ansible_collections.redisops.persistence.plugins.module_utils._trust import collect_trust

EVIDENCE_SCHEMA_VERSION = 1
# Beyond the answers of Redis itself: commands such as journalctl and systemctl, and a file system that does not answer.
HOST_EVIDENCE_SECONDS = 30.0

OBSERVED_SAVE_SECONDS = 900.0

HOST_BLOCKS = ("process", "cgroups", "data_directory", "systemd", "container", "redis_log")


class Limits(t.NamedTuple):
    """How much a collector may cost, and what was asked once for all servers of the host.

    :param units: what systemd says of their units (:func:`_systemd.show_units`); None: each is asked for alone.
    """

    log_limit_bytes: int = LOG_LIMIT_BYTES
    deep: bool = False
    units: dict[str, dict[str, str]] | None = None


Observer = t.Callable[[Target, "dict[str, t.Any]", System, Gaps], "dict[str, t.Any] | None"]
"""Makes a server save under observation: (target, REDIS, system, gaps) -> ATTEMPT, or None where it did not."""


def collect_instance_host(
    system: System,
    pid: int,
    settings: t.Mapping[str, str],
    gaps: Gaps,
    limits: Limits,
    config_file: str | None = None,
) -> dict[str, t.Any]:
    """The host's side of one server.

    :param config_file: as the server itself names it; empty: it has none.
    :param settings: what is known of the server's settings, by their names in CONFIG GET; any may be missing.
    :return: the blocks process, cgroups, data_directory, systemd, container, redis_log; each is None where it could
        not be read, with the reason among ``gaps``.
    """
    process = collect_process(system, pid, gaps, deep=limits.deep)
    if process is None:
        gaps.add("process", f"process {pid} ended while it was looked at", "Run the diagnosis again.")
        return dict.fromkeys(HOST_BLOCKS)
    process["trust"] = collect_trust(system, pid, config_file, limits.units)
    systemd = collect_systemd(system, pid, gaps, limits.units)
    container = collect_container(system, pid, gaps)
    data_directory = collect_data_directory(system, pid, process, directory_hints(settings), gaps)
    log_hints = {
        "logfile": settings.get("logfile"),
        "loglevel": settings.get("loglevel"),
        "syslog_enabled": settings.get("syslog-enabled") == "yes",
        "syslog_ident": settings.get("syslog-ident"),
        "daemonize": settings.get("daemonize"),
        "unit": systemd["unit"] if systemd else None,
        "container_log_path": container["log_path"] if container else None,
        "directory": data_directory["path"] if data_directory else settings.get("dir"),
    }
    return {
        "process": process,
        "cgroups": collect_cgroups(system, pid, gaps),
        "data_directory": data_directory,
        "systemd": systemd,
        "container": container,
        "redis_log": collect_redis_log(system, pid, process, log_hints, gaps, limits.log_limit_bytes),
    }


def settings_in_force(
    redis: t.Mapping[str, t.Any] | None,
    pid: int,
    ports: t.Collection[int],
    system: System,
    survey: Survey,
    gaps: Gaps,
) -> dict[str, str]:
    """What the server says of its settings; where it would not say, what its configuration file says.

    :param ports: where the server listens, as far as that is known: some files are told apart by it.
    """
    if redis is not None:
        return {**(redis["config_file_settings"] or {}), **redis["config"]}
    process = next((process for process in survey.processes if process.pid == pid), None)
    path = find_config_file(system, process, ports) if process is not None else None
    return (read_config_file(system, f"/proc/{pid}/root{path}", gaps) or {}) if path else {}


def config_file_of(
    redis: t.Mapping[str, t.Any] | None, pid: int, ports: t.Collection[int], system: System, survey: Survey
) -> str | None:
    """The configuration file as the server names it (empty: none), else the one that is found; None: not known."""
    said = redis.get("config_file") if redis is not None else None
    if isinstance(said, str):
        return said
    process = next((process for process in survey.processes if process.pid == pid), None)
    return find_config_file(system, process, ports) if process is not None else None


def directory_hints(settings: t.Mapping[str, str]) -> dict[str, str]:
    """The settings that name files of the data directory."""
    names = ("dir", "dbfilename", "appendonly", "appendfilename", "appenddirname")
    return {name: settings[name] for name in names if name in settings}


def collect_instance(
    target: Target, system: System, survey: Survey, limits: Limits, observe: Observer | None
) -> dict[str, t.Any]:
    """Everything about one server."""
    gaps = Gaps()
    instance = empty_instance(target)
    instance.update(collect_target(target, system, gaps, survey))
    if observe is not None and instance["redis"] is not None:
        instance["observed_attempt"] = observe(target, instance["redis"], system, gaps)
        if instance["observed_attempt"] is not None:
            instance.update(collect_target(target, system, gaps, survey))
    pid = pid_of(target, instance["redis"], system, survey)
    if pid is None:
        gaps.add(
            "host evidence",
            "no process on this host owns that address",
            "Run against the host that the server runs on; a managed service has none to look at.",
        )
    else:
        settings = settings_in_force(instance["redis"], pid, ports_of(target), system, survey, gaps)
        config_file = config_file_of(instance["redis"], pid, ports_of(target), system, survey)
        instance.update(collect_instance_host(system, pid, settings, gaps, limits, config_file))
    instance["gaps"] = gaps.entries()
    return instance


def pid_of(target: Target, redis: dict[str, t.Any] | None, system: System, survey: Survey) -> int | None:
    """The server's process on this host; None for a remote server."""
    if target.server is not None:
        return int(target.server["pid"])
    return None if target.options is None else find_pid(system, target.options, redis, survey)


def ports_of(target: Target) -> list[int]:
    """The port that a server was asked at; none for a Unix socket."""
    if target.options is None or target.options.unix_socket:
        return []
    return [target.options.login_port]


def empty_instance(target: Target) -> dict[str, t.Any]:
    """A server of which nothing is known yet."""
    blocks = dict.fromkeys(("connection", "redis", "observed_attempt", *HOST_BLOCKS))
    return {"address": target.address, **blocks, "gaps": []}


def surprised_instance(target: Target, error: Exception) -> dict[str, t.Any]:
    """What is said of a server whose collection ended in an error that nobody foresaw, or did not end."""
    message = f"{type(error).__name__}: {error}"
    gaps = Gaps()
    gaps.add("evidence", f"the collection failed: {message}", "Report this as a defect of redisops.persistence.")
    failure = {"kind": type(error).__name__, "message": message}
    return {
        **empty_instance(target),
        "connection": {"state": "error", "client": None, "error": failure, "seconds": None},
        "gaps": gaps.entries(),
    }


def show_units_of(system: System, pids: t.Iterable[int | None]) -> dict[str, dict[str, str]] | None:
    """Ask systemd once for all: the question costs as much as the rest of a server's evidence."""
    units = {unit_of_process(system, pid).unit for pid in pids if pid is not None}
    return show_units(system, sorted(unit for unit in units if unit))


def collect_host_with_logs(system: System, gaps: Gaps) -> dict[str, t.Any]:
    """The ``host`` block, the kernel's log included."""
    host = collect_host(system, gaps)
    host["kernel_log"] = collect_kernel_log(system, gaps)
    return host


def instance_deadline_seconds(targets: list[Target], observing: bool) -> float:
    """How long one server may take in all. A save under observation has a bound of its own."""
    asked = max((overall_deadline_seconds(target.options) for target in targets if target.options), default=0.0)
    return asked + HOST_EVIDENCE_SECONDS + (OBSERVED_SAVE_SECONDS if observing else 0.0)


def collect_evidence(
    system: System,
    parameters: t.Mapping[str, t.Any] | None = None,
    *,
    collection_version: str | None = None,
    limits: Limits | None = None,
    observe: Observer | None = None,
) -> dict[str, t.Any]:
    """The evidence document of this host (docs/evidence.md).

    :param parameters: the options of ``redisops.persistence.redis.instances``: which servers, and how to reach them.
        Without any, every server that runs here.
    """
    started_unix = system.clock()
    gaps = Gaps()
    survey = Survey(system)
    targets = resolve_targets(parameters or {}, system, gaps, survey)
    host = collect_host_with_logs(system, gaps)
    pids = []
    for target in targets:
        # The same question is asked again, and answered for, when the server's turn comes.
        with contextlib.suppress(Exception):
            pids.append(pid_of(target, None, system, survey))
    shared = (limits or Limits())._replace(units=show_units_of(system, pids))
    try:
        collected = run_in_parallel(
            lambda target: collect_instance(target, system, survey, shared, observe),
            targets,
            surprised_instance,
            deadline_seconds=instance_deadline_seconds(targets, observe is not None),
        )
    finally:
        end_children()
    return {
        "schema_version": EVIDENCE_SCHEMA_VERSION,
        "collection_version": collection_version,
        "gathered_at_unix": started_unix,
        "duration_seconds": round(system.clock() - started_unix, 3),
        "host": host,
        "instances": collected,
        "gaps": gaps.entries(),
    }
