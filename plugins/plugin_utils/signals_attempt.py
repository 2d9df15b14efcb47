# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about the deciding attempt and its streak: who killed the child, what the kernel says of the fork."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import (
    SERVER_COMMANDS,
    find_killed_predecessor,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    entries,
    flag,
    integer,
    mapping,
    number,
    text,
)

# Signals of a program that went wrong by itself: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
CRASH_SIGNALS = (4, 6, 7, 8, 11)
SIGNAL_KILL = 9
# The kernel's lines about one fork or one write are this near to it.
NEAR_SECONDS = 30
FRESH_SECONDS = 24 * 3600


def _kernel_events(case: Case, name: str) -> list[t.Mapping[str, t.Any]]:
    return [event for event in entries(case.kernel, "events") if event.get("event") == name]


def _attempt_times(case: Case) -> tuple[float | None, float | None]:
    attempt: t.Mapping[str, t.Any] = case.attempt or {}
    start, end = number(attempt, "started_unix"), number(attempt, "ended_unix")
    return (start if start is not None else end), (end if end is not None else start)


def _near_attempt(case: Case, time_unix: float | None) -> bool:
    start, end = _attempt_times(case)
    if time_unix is None or start is None or end is None:
        return False
    return start - NEAR_SECONDS <= time_unix <= end + NEAR_SECONDS


def _commit_refused(case: Case) -> t.Mapping[str, t.Any] | None:
    """The kernel's own proof that it refused a charge of this very server."""
    pids = {integer(case.process, "pid")} - {None}
    records = [event for event in _kernel_events(case, "commit_refused") if integer(event, "pid") in pids]
    times = [attempt.get("ended_unix") or attempt.get("started_unix") for attempt in case.streak]
    if not any(times):
        return records[-1] if records else None
    near = [
        event
        for event in records
        if any(
            moment is not None and abs(moment - (number(event, "time_unix") or 0)) <= NEAR_SECONDS for moment in times
        )
    ]
    # The kernel prints at most a few such lines in five seconds, so one of the streak's forks stands for the others.
    return near[-1] if near else None


def _same_device(case: Case, event: t.Mapping[str, t.Any]) -> bool:
    view = mapping(case.directory, "process_view")
    device = text(event, "device")
    if device is None:
        return False
    return device in (text(view, "device"), (text(view, "source") or "").rsplit("/", 1)[-1])


def _storage_errors(case: Case) -> list[t.Mapping[str, t.Any]]:
    kinds = ("io_error", "filesystem_error", "remounted_read_only")
    return [
        event
        for event in entries(case.kernel, "events")
        if text(event, "event") in kinds
        and (_near_attempt(case, number(event, "time_unix")) or _same_device(case, event))
        and case.now - (number(event, "time_unix") or 0) <= FRESH_SECONDS
    ]


def _memory_kill(case: Case) -> Mapping | None:
    """The newest kill for memory of this server, of its predecessors or of one of their children.

    Joined by pid: the writers of the log, the children of its attempts, and the pids in the names of temp files. A
    kill of another program, or of another server, proves nothing here.
    """
    pids = {integer(event, "pid") for event in entries(case.log, "events") if event.get("role") in ("M", "S", "C")}
    pids |= {integer(attempt, "child_pid") for attempt in case.attempts}
    pids |= {integer(attempt, "host_pid") for attempt in case.attempts}
    pids |= {
        integer(entry, "pid")
        for entry in entries(case.directory, "temp_files")
        if entry.get("kind") == "rdb_child" and entry.get("holder") == "none"
    }
    pids.discard(None)
    killed: Mapping | None = find_killed_predecessor(case)
    event: Mapping
    for event in reversed(_kernel_events(case, "oom_kill")):
        if event is killed or (integer(event, "pid") in pids and text(event, "command") in SERVER_COMMANDS):
            return event
    return killed


def _memory_kills(case: Case) -> dict[str, t.Any]:
    kill = _memory_kill(case)
    kind = None if kill is None else "cgroup" if kill.get("constraint") == "cgroup" else "host"
    orphans = [entry for entry in entries(case.directory, "temp_files") if entry.get("holder") == "none"]
    return {
        "memory_kill_text": text(kill, "text"),
        # A text that says which, or "none" where the kernel log was read and shows no such kill.
        "orphans_from_memory_kills": (kind if orphans else "none")
        if kind
        else ("none" if flag(case.kernel, "available") else None),
    }


def attempt_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    attempt: t.Mapping[str, t.Any] = case.attempt or {}
    killers = [mapping(entry, "killer").get("kind") for entry in case.streak]
    refused = _commit_refused(case)
    memory = mapping(case.host, "memory")
    total = number(memory, "total_bytes")
    refused_bytes = number(refused, "bytes")
    beyond = (
        None
        if refused_bytes is None or total is None
        else refused_bytes > total + (number(memory, "swap_total_bytes") or 0)
    )
    errors = _storage_errors(case)
    kernel_read = flag(case.kernel, "available")
    rejected = [
        event for event in _kernel_events(case, "fork_rejected") if _near_attempt(case, number(event, "time_unix"))
    ]
    lines = attempt.get("lines")
    signal = integer(attempt, "signal")
    return {
        **_memory_kills(case),
        "attempt_known": case.attempt is not None,
        "attempt_lines": [str(line) for line in lines][:8] if isinstance(lines, (list, tuple)) else None,
        "streak_length": len(case.streak),
        "streak_stages": sorted({str(entry.get("stage")) for entry in case.streak if entry.get("stage")}),
        "streak_errnos": sorted({str(entry.get("errno")) for entry in case.streak if entry.get("errno")}),
        "streak_has_cgroup_oom_kill": "oom_cgroup" in killers,
        "streak_has_host_oom_kill": "oom_host" in killers,
        "crash_signal": signal if signal in CRASH_SIGNALS else integer(mapping(attempt, "crash"), "signal"),
        "commit_refused_seen": True if refused else False if kernel_read else None,
        "commit_refused_bytes": None if refused_bytes is None else int(refused_bytes),
        "commit_refused_beyond_memory": beyond,
        "commit_refused_text": text(refused, "text"),
        "fork_rejected_seen": True if rejected else False if kernel_read else None,
        "storage_error_seen": True if errors else False if kernel_read else None,
        "storage_error_text": text(errors[-1], "text") if errors else None,
        "log_available": flag(case.log, "available"),
        "log_kept": flag(case.log, "kept"),
        "kernel_log_available": kernel_read,
    }
