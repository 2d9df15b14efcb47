# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about saves: status, save points, what waits, what a running save does, and what counters say of a fork.

Every function returns values named with their units; a value is null when one of its inputs is.
"""

from __future__ import annotations

import datetime
import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempt_kernel import window
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_match import (
    CLOCK_SLACK_SECONDS,
    Identity,
    identity,
    lies_between,
    names_server,
    same_group,
    same_user,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Attempt, Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_privilege import servers_beside
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    all_of,
    any_of,
    dig,
    entries,
    flag,
    integer,
    mapping,
    negate,
    number,
    ratio,
    text,
)

# server.c CONFIG_BGSAVE_RETRY_DELAY: after a failure the next automatic try is at least this much later.
RETRY_DELAY_SECONDS = 5
# A real fork takes longer even of an empty server; a refused one leaves a value such as 14 us (measured on 6.2).
REFUSED_FORK_MICROSECONDS = 50
# rdb_last_save_time is the time of the start until the first save; the two clocks may differ by this much.
START_TOLERANCE_SECONDS = 3
# How long before a server's start the kernel's record of its predecessor's death may lie.
RESTART_WINDOW_SECONDS = 900

SavePoint = dict[str, int]


def parse_save_points(value: str | None) -> list[SavePoint] | None:
    """``3600 1 300 100`` -> [{seconds, changes}, ..]; an empty text (or ``""``) means none; null if unreadable."""
    if value is None:
        return None
    words = value.replace('"', " ").split()
    if len(words) % 2 or not all(word.isdigit() for word in words):
        return None
    numbers = [int(word) for word in words]
    return [{"seconds": numbers[i], "changes": numbers[i + 1]} for i in range(0, len(numbers), 2)]


def version_numbers(version: str | None) -> tuple[int, int, int] | None:
    """``7.0.15`` -> (7, 0, 15); null for what isn't a version."""
    if not version:
        return None
    parts = version.split("-")[0].split(".")
    if not all(part.isdigit() for part in parts):
        return None
    numbers = [int(part) for part in parts[:3]] + [0, 0]
    return numbers[0], numbers[1], numbers[2]


def behaves_at_least(redis: Mapping, wanted: tuple[int, int, int]) -> bool | None:
    """Does the server behave like this Redis version or later? Valkey began as 7.2.4; KeyDB 6.3 is a Redis 6.2."""
    version = version_numbers(text(redis, "compatible_version") or text(redis, "version"))
    return None if version is None else version >= wanted


def save_points_of(case: Case) -> list[SavePoint] | None:
    """The save points in force, or the configuration file's where the server doesn't show its configuration."""
    if "save" in case.config:
        return parse_save_points(text(case.config, "save"))
    return parse_save_points(text(case.redis, "config_file_settings", "save"))


def save_points_met(points: list[SavePoint] | None, changes: float | None, seconds: float | None) -> bool | None:
    """Would serverCron start a save: some point has enough changes and enough time?"""
    if points is None:
        return None
    return any_of(
        *[
            all_of(
                None if changes is None else changes >= point["changes"],
                None if seconds is None else seconds > point["seconds"],
            )
            for point in points
        ]
    )


def is_replica(case: Case) -> bool | None:
    role = text(case.redis, "role")
    return None if role not in ("master", "replica") else role == "replica"


def _writes_blocked(case: Case, points: list[SavePoint] | None) -> dict[str, bool | None]:
    """Are clients' writes refused? server.c writeCommandsDeniedByDiskError, with the rule of each version.

    By the RDB: status err, stop-writes, save points. By the AOF: on and its last write failed, whatever stop-writes
    says. Before 7.0 neither holds on a replica.
    """
    if "loading" in case.info and flag(case.info, "loading"):
        return dict.fromkeys(("writes_blocked", "writes_blocked_by_rdb", "writes_blocked_by_aof"))
    held_here = any_of(behaves_at_least(case.redis, (7, 0, 0)), negate(is_replica(case)))
    status = text(case.info, "rdb_last_bgsave_status")
    by_rdb = all_of(
        None if status is None else status == "err",
        flag(case.config, "stop-writes-on-bgsave-error"),
        None if points is None else bool(points),
        held_here,
    )
    aof_status = text(case.info, "aof_last_write_status")
    by_aof = all_of(flag(case.info, "aof_enabled"), None if aof_status is None else aof_status == "err", held_here)
    return {
        "writes_blocked": any_of(by_rdb, by_aof),
        "writes_blocked_by_rdb": by_rdb,
        "writes_blocked_by_aof": by_aof,
    }


def replica_would_panic(case: Case, blocked: bool | None) -> bool | None:
    """Does the next write of its master end this replica? networking.c and server.c of 7.0 and later."""
    return all_of(
        is_replica(case),
        behaves_at_least(case.redis, (7, 0, 0)),
        blocked,
        negate(flag(case.config, "replica-ignore-disk-write-errors")),
    )


def fork_failed_by_counters(case: Case) -> bool | None:
    """Did the last save fail at fork()? What the counters say where no log can be read; null when they say nothing."""
    if text(case.info, "rdb_last_bgsave_status") != "err":
        return None
    duration = number(case.info, "rdb_last_bgsave_time_sec")
    saves = number(case.info, "rdb_saves")
    forks = number(case.info, "total_forks")
    consecutive = number(case.info, "rdb_saves_consecutive_failures")
    fork_usec = number(case.info, "latest_fork_usec")
    if duration == -1:
        # No child has ever been reaped, and yet a save failed.
        return True
    if consecutive is not None:
        # 8.6: a failed fork doesn't count here, so a failure that isn't counted was one (or RESETSTAT zeroed it).
        return True if consecutive == 0 else None
    if saves is not None and forks is not None:
        # 7.0+: attempts are counted before the fork, forks only when they succeed. But every SAVE counts as an attempt
        # too, and none of them forks: the difference may be the backup's, and proves nothing.
        return None
    if behaves_at_least(case.redis, (7, 0, 0)) is False and fork_usec is not None and fork_usec > 0:
        if fork_usec < REFUSED_FORK_MICROSECONDS:
            return True
        # The time is that of the last fork of any kind: of a rewrite or a transfer, where there are such.
        others = any_of(flag(case.info, "aof_enabled"), (number(case.info, "connected_slaves") or 0) > 0)
        return None if others is not False else False
    return None


def last_save_is_start(case: Case) -> bool | None:
    """Has nothing been saved since the server started? rdb_last_save_time is then the time of the start."""
    last, started = number(case.info, "rdb_last_save_time"), number(case.redis, "started_unix")
    if last is None or started is None:
        return None
    if last > started + START_TOLERANCE_SECONDS:
        return False
    # The first save can follow the start at once; the log then shows it.
    return not any(
        attempt.get("outcome") == "succeeded" and attempt.get("target") == "disk" and not attempt.get("before_restart")
        for attempt in case.attempts
    )


def _running_save(case: Case) -> dict[str, t.Any]:
    kinds = [child.get("kind") for child in entries(case.process, "children")]
    children = [child for child in entries(case.process, "children") if child.get("kind") == "rdb_save"]
    child: Mapping = children[0] if children else {}
    current = number(case.info, "rdb_current_bgsave_time_sec")
    last = number(case.info, "rdb_last_bgsave_time_sec")
    current = None if current is None or current < 0 else current
    in_progress = flag(case.info, "rdb_bgsave_in_progress")
    # INFO calls a transfer to replicas without a file a save, too: it ends without a dump and without a status.
    is_transfer = bool(in_progress) and "rdb_to_replicas" in kinds and not children
    if is_transfer:
        in_progress = False
    state = text(child, "state")
    done, total = number(case.info, "current_save_keys_processed"), number(case.info, "current_save_keys_total")
    return {
        "save_in_progress": in_progress,
        "save_child_pid": integer(child, "pid"),
        "save_child_state": state[:1].upper() if state else None,
        "save_child_missing": all_of(in_progress, not children) if "children" in case.process else None,
        "current_save_seconds": current if in_progress else None,
        "current_save_times_last": ratio(current, None if last is None or last < 0 else max(last, 1)),
        "current_save_progress_percent": None if not total or done is None else round(100 * done / total, 1),
        "other_child_running": any_of(
            flag(case.info, "aof_rewrite_in_progress"), flag(case.info, "module_fork_in_progress") or False,
            flag(case.info, "slot_migration_fork_in_progress") or False,
            is_transfer,
        ),
    }  # fmt: skip


def _expected_interval(points: list[SavePoint] | None, changes: float | None) -> int | None:
    """The time after which a save point is met by the changes that wait now."""
    if points is None or changes is None:
        return None
    due = [point["seconds"] for point in points if changes >= max(point["changes"], 1)]
    return min(due) if due else None


def _measured_interval(points: list[SavePoint] | None, changes: float | None, seconds: float | None) -> float | None:
    """How often the save points start a save at the rate of changes since the last one."""
    if not points or not changes or not seconds or seconds < 1:
        return None
    rate = changes / seconds
    return min(max(float(point["seconds"]), point["changes"] / rate) for point in points)


def _last_words(case: Case) -> dict[int, float]:
    """When each server that wrote this log (its predecessors too) wrote its last line; by pid, as that log knows it."""
    return {
        int(event["pid"]): number(event, "time_unix") or 0.0
        for event in entries(case.log, "events")
        if isinstance(integer(event, "pid"), int) and event.get("role") in ("M", "S")
    }


def _is_of_child(case: Case, who: Identity, event: Mapping) -> bool:
    """Whether the killed process was a saving child: its number, while that child lived."""
    for attempt in case.attempts:
        times = window(attempt, who)
        number_of_child = integer(attempt, "host_pid") or integer(attempt, "child_pid")
        if number_of_child == integer(event, "pid") and times is not None and lies_between(dict(event), *times):
            return True
    return False


def _lay_in_unit(group: str, unit: str | None) -> bool:
    return unit is not None and unit in group.split("/")


def find_killed_predecessor(case: Case) -> Mapping | None:
    """The kernel's record that this server's predecessor was killed for memory just before this one started.

    By its number it must have written this log, and nothing in it after the kill; by its group it must have been this
    server's. User and program must fit in any case.
    """
    started = number(case.redis, "started_unix") or number(case.process, "started_unix")
    if started is None:
        return None
    who = identity(case.process, case.cgroups)
    last_words = _last_words(case)
    unit = text(mapping(case.instance, "systemd"), "unit")
    for event in reversed(entries(case.kernel, "events")):
        if event.get("event") != "oom_kill":
            continue
        pid, time_unix, record = integer(event, "pid"), number(event, "time_unix"), dict(event)
        if time_unix is None or pid is None:
            continue
        if not lies_between(record, started - RESTART_WINDOW_SECONDS, started + START_TOLERANCE_SECONDS):
            continue
        if pid == integer(case.process, "pid") or not names_server(record, who) or same_user(record, who) is False:
            continue
        group = text(event, "task_cgroup") or "/"
        in_group = group != "/" and (same_group(record, who) is True or _lay_in_unit(group, unit))
        wrote = who.shares_host_pids is not False and pid in last_words
        silent_since = wrote and last_words[pid] <= time_unix + CLOCK_SLACK_SECONDS
        # A predecessor that somebody started by hand was in another group than a unit's.
        if (silent_since or in_group) and not _is_of_child(case, who, event):
            return event
    return None


def _restart(case: Case, killed: Mapping | None) -> dict[str, t.Any]:
    kernel_read = flag(case.kernel, "available")
    mid_save: bool | None = None
    if killed is not None:
        time_unix = number(killed, "time_unix") or 0
        unfinished = [
            attempt
            for attempt in case.attempts
            if (number(attempt, "started_unix") or time_unix + 1) <= time_unix + START_TOLERANCE_SECONDS
            and (attempt.get("outcome") in ("running", "unknown", None))
        ]
        orphans = [
            entry
            for entry in entries(case.directory, "temp_files")
            if entry.get("kind") == "rdb_child"
            and entry.get("holder") == "none"
            and abs((number(entry, "modified_unix") or 0) - time_unix) < RESTART_WINDOW_SECONDS
            and integer(entry, "uid") in (None, integer(killed, "uid"), integer(case.process, "uid", "effective"))
        ]
        if unfinished or orphans:
            mid_save = True
        elif flag(case.log, "available"):
            mid_save = False
    return {
        "predecessor_killed_for_memory": True if killed is not None else False if kernel_read else None,
        "predecessor_pid": integer(killed, "pid"),
        "predecessor_killed_unix": number(killed, "time_unix"),
        "predecessor_was_saving": mid_save,
    }


# Parameters that CONFIG SET can't change (IMMUTABLE_CONFIG of config.c). One that runs with another value than the
# file's has it from the command line, as daemonize and supervised under Debian's and Red Hat's units, and keeps it.
_FIXED_AT_START = frozenset(
    "appenddirname appendfilename daemonize disable-thp enable-debug-command enable-protected-configs logfile"
    " set-proc-title supervised syslog-enabled syslog-ident unixsocket use-fork".split()
)


def _failed_before_restart(case: Case) -> Attempt | None:
    """The failure with which an earlier process of this server ended: a start sets the status to ok."""
    last: Attempt | None = None
    for attempt in case.attempts:
        if not attempt.get("before_restart") or attempt.get("target") == "replicas":
            continue
        if attempt.get("outcome") == "succeeded":
            last = None
        elif attempt.get("outcome") == "failed" and not attempt.get("foreground"):
            last = attempt
    return last


def _restart_hides(case: Case) -> dict[str, t.Any]:
    failed = _failed_before_restart(case)
    lines = (failed or {}).get("lines")
    fresh = last_save_is_start(case)
    return {
        "failed_before_restart": all_of(fresh, True if failed else False if flag(case.log, "available") else None),
        "failed_before_restart_lines": [str(line) for line in lines][-2:]
        if failed and isinstance(lines, list)
        else None,
    }


def _drifted_parameters(case: Case) -> list[str] | None:
    """Parameters whose running value, set at run time, is not the configuration file's: a restart loses them.

    A ``dir`` that is empty has been set by nobody: the directory is gone, and the file has the better value.
    """
    written = dig(case.redis, "config_file_settings")
    if not isinstance(written, t.Mapping) or not case.config:
        return None
    return sorted(
        name
        for name, value in written.items()
        if isinstance(value, str)
        and name not in _FIXED_AT_START
        and isinstance(case.config.get(name), str)
        and not _same_setting(str(name), case.config[name], value)
        and not (name == "dir" and not case.config[name].startswith("/"))
    )


_SIZE_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def parse_size(value: str) -> int | None:
    """``1gb`` -> 1073741824, as util.c memtoull reads it."""
    digits = value.strip().lower()
    unit = digits.lstrip("0123456789")
    digits = digits[: len(digits) - len(unit)]
    return int(digits) * _SIZE_UNITS[unit] if digits and unit in _SIZE_UNITS else None


def _same_setting(name: str, running: str, written: str) -> bool:
    running, written = running.strip(), written.strip().strip("\"'")
    if running.lower() == written.lower():
        return True
    if name == "save":
        return parse_save_points(running) == parse_save_points(written)
    if name == "dir":
        return not written.startswith("/") or posixpath.normpath(running) == posixpath.normpath(written)
    if name in ("oom-score-adj",):
        return {"yes": "relative"}.get(written, written) == running
    if name == "bind":
        return running.split() == written.split()
    running_size, written_size = parse_size(running), parse_size(written)
    return running_size is not None and running_size == written_size


def _only_loopback(case: Case) -> bool | None:
    bind = text(case.config, "bind")
    if bind is None:
        return None
    addresses = [word.lstrip("-") for word in bind.split()]
    # An empty bind listens on every interface.
    return bool(addresses) and all(
        address.startswith("127.") or address in ("::1", "localhost") for address in addresses
    )


def _shared_dump_with(case: Case) -> list[str] | None:
    view, name = mapping(case.directory, "process_view"), text(case.directory, "dump", "name")
    place = (view.get("device"), view.get("inode"), name)
    if None in place:
        return None
    others = []
    listed = set()
    for peer in case.peers:
        directory = mapping(peer, "data_directory")
        peer_view = mapping(directory, "process_view")
        peer_name = text(directory, "dump", "name")
        if peer_name is not None:
            listed.add(integer(peer, "process", "pid"))
        if (peer_view.get("device"), peer_view.get("inode"), peer_name) == place:
            others.append(str(peer.get("address")))
    beside = servers_beside(case)
    if beside is None:
        return sorted(others) or None
    # Of a server in no list the name of its dump is not known.
    return sorted([*others, *(named for pid, named in beside if pid not in listed)])


def _when(unix: float | None) -> str:
    if unix is None:
        return "an unknown time"
    return datetime.datetime.fromtimestamp(unix, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _emergency(case: Case) -> dict[str, t.Any]:
    """Of an emergency unblock whose watcher is gone: nobody takes it back."""
    found = mapping(case.redis, "emergency_unblock")
    if not found:
        known = "emergency_unblock" in case.redis
        return {
            "emergency_unblock_unwatched": False if known else None,
            "emergency_unblock_over": False if known else None,
            "emergency_unblock_text": None,
        }
    unwatched = negate(flag(found, "watched"))
    end, status = number(found, "deadline_unix"), text(case.info, "rdb_last_bgsave_status")
    ended = any_of(None if end is None else case.now >= end, None if status is None else status == "ok")
    told = f"an emergency unblock of {_when(number(found, 'since_unix'))}; it was to end at {_when(end)}"
    return {
        "emergency_unblock_unwatched": unwatched,
        "emergency_unblock_over": all_of(unwatched, ended),
        "emergency_unblock_text": f"{told}, and nobody took it back" if unwatched else told,
    }


def save_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    points = save_points_of(case)
    changes = number(case.info, "rdb_changes_since_last_save")
    last_save = number(case.info, "rdb_last_save_time")
    seconds = None if last_save is None else max(case.now - last_save, 0)
    duration = number(case.info, "rdb_last_bgsave_time_sec")
    measured = _measured_interval(points, changes, seconds)
    expected = _expected_interval(points, changes)
    errorstats = dig(case.redis, "errorstats")
    since_6_2 = behaves_at_least(case.redis, (6, 2, 0))
    counted = bool(since_6_2) and isinstance(errorstats, t.Mapping)
    killed = find_killed_predecessor(case)
    blocked = _writes_blocked(case, points)
    fork_usec = number(case.info, "latest_fork_usec")
    resident = number(case.process, "resident_bytes") or number(case.info, "used_memory_rss")
    signals: dict[str, t.Any] = {
        "behaves_like_7_0": behaves_at_least(case.redis, (7, 0, 0)),
        "replica": is_replica(case),
        "save_points": points,
        "save_points_count": None if points is None else len(points),
        "save_points_least_changes": min((point["changes"] for point in points), default=None) if points else None,
        "save_points_longest_seconds": max((point["seconds"] for point in points), default=None) if points else None,
        "save_points_met": save_points_met(points, changes, seconds),
        "changes_since_last_save": None if changes is None else int(changes),
        "seconds_since_last_save": None if seconds is None else int(seconds),
        "last_save_is_start": last_save_is_start(case),
        "retry_delay_seconds": RETRY_DELAY_SECONDS,
        "expected_save_interval_seconds": expected,
        "save_overdue_times": ratio(seconds, expected),
        "measured_save_interval_seconds": None if measured is None else round(measured, 1),
        "save_duration_share": None if duration is None or duration < 0 else ratio(duration, measured),
        **blocked,
        "replica_would_panic": replica_would_panic(case, blocked["writes_blocked"]),
        "misconf_count": (integer(errorstats, "MISCONF") or 0) if counted else None,
        "fork_failed_by_counters": fork_failed_by_counters(case),
        "fork_usec_per_gigabyte": None if not resident or fork_usec is None else int(fork_usec / (resident / 1024**3)),
        "drifted_parameters": _drifted_parameters(case),
        "listens_on_loopback_only": _only_loopback(case),
        "shared_dump_with": _shared_dump_with(case),
        "log_events": sorted({str(event.get("event")) for event in entries(case.log, "events")}),
    }  # fmt: skip
    signals.update(_running_save(case))
    signals.update(_restart(case, killed))
    signals.update(_restart_hides(case))
    signals.update(_emergency(case))
    return signals
