# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the kernel did to a save attempt: the records of its child (or of the server).

A process id comes again, so that it joins nothing by itself: time, user, control group and program must fit too
(:mod:`._kernel_match`). Where the server has a pid namespace of its own, the kernel's process ids are not those of the
server's log: then the control group and the time must fit, and the match says so.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._kernel_match import (
    CLOCK_SLACK_SECONDS,
    Event,
    Identity,
    identity,
    is_of_another,
    is_sure,
    lies_between,
    names_server,
    same_group,
    same_pids_group,
)

Attempt = dict[str, t.Any]

__all__ = ["Attempt", "Event", "Identity", "find_killer", "identity", "kernel_events", "window"]

SIGKILL = 9
SIGSYS = 31
# A child whose start is not in the log can't have run for longer than this, as far as its kill is concerned.
UNKNOWN_START_SECONDS = 3600.0
# A server fetches its child ten times a second; after this long the number may be another process's.
FETCH_SECONDS = 120.0
MAXIMUM_EVENTS = 20


def window(attempt: Attempt, who: Identity) -> tuple[float, float] | None:
    """From when to when something may have happened to an attempt; None without any time."""
    start, end = attempt["started_unix"], attempt["ended_unix"]
    if start is None and end is None:
        return None
    if end is None:
        restarted = who.started_unix if attempt["before_restart"] else None
        end = float("inf") if restarted is None else restarted
    if start is None:
        start = end - UNKNOWN_START_SECONDS
    return start - CLOCK_SLACK_SECONDS, end + CLOCK_SLACK_SECONDS


def _matched_by(
    event: Event, pid: int | None, times: tuple[float, float] | None, who: Identity, victim: str
) -> str | None:
    """How a kill fits a process of the server: ``pid``, ``cgroup_and_time``, or None where it does not fit."""
    if times is None or not lies_between(event, *times) or is_of_another(event, who):
        return None
    if who.shares_host_pids is not False and pid is not None and event.get("pid") == pid:
        return "pid"
    if who.shares_host_pids is True:
        return None
    # Another pid namespace: the live server itself is known by its pid on the host, and was not killed.
    if victim == "child" and event.get("pid") == who.host_pid:
        return None
    return "cgroup_and_time" if same_group(event, who) and names_server(event, who) else None


def _near_its_end(attempt: Attempt, event: Event) -> bool:
    """Whether the number was certainly the child's: it ran then, or was fetched soon after."""
    if attempt["started_unix"] is not None:
        return True
    moment, end = event.get("time_unix"), attempt["ended_unix"]
    return moment is not None and end is not None and moment >= end - FETCH_SECONDS


def _killer(event: Event, how: str, victim: str, sure: bool) -> dict[str, t.Any]:
    if event["event"] == "seccomp_kill":
        kind = "seccomp"
    elif event.get("constraint") == "cgroup" or event.get("global") is False:
        kind = "oom_cgroup"
    else:
        kind = "oom_host"
    return {
        "kind": kind,
        "victim": victim,
        "evidence": event["text"],
        "cgroup": event.get("oom_cgroup"),
        "pid": event.get("pid"),
        "time_unix": event.get("time_unix"),
        "matched_by": how,
        "sure": sure,
    }


def _nearest(events: list[tuple[Event, str]], moment: float | None) -> tuple[Event, str] | None:
    """The match that is surest (by pid), then nearest in time."""
    if not events:
        return None
    target = moment if moment is not None else float("inf")
    return min(events, key=lambda pair: (pair[1] != "pid", abs((pair[0]["time_unix"] or 0.0) - target)))


def find_killer(attempt: Attempt, kernel_log: dict[str, t.Any] | None, who: Identity) -> dict[str, t.Any] | None:
    """Who killed an attempt's child (signal 9 or 31), or the server under it; None where nothing was killed.

    ``kind`` is ``unknown`` where the child was killed and no record fits: somebody sent the signal, or the kernel log
    does not reach back that far, or can't be read. Nothing else follows from it.
    """
    events = (kernel_log or {}).get("events") or []
    times = window(attempt, who)
    signal = attempt["signal"]
    if attempt["outcome"] == "failed" and signal in (SIGKILL, SIGSYS):
        wanted = "oom_kill" if signal == SIGKILL else "seccomp_kill"
        fitting = []
        for event in events:
            how = _matched_by(event, attempt["child_pid"], times, who, "child") if event["event"] == wanted else None
            if how:
                fitting.append((event, how))
        found = _nearest(fitting, attempt["ended_unix"])
        if found:
            sure = is_sure(found[0], who) and _near_its_end(attempt, found[0])
            return _killer(found[0], found[1], "child", sure)
        if signal == SIGSYS:
            return None
        return {
            "kind": "unknown",
            "victim": "child",
            "evidence": _why_unknown(kernel_log, times),
            "cgroup": None,
            "pid": None,
            "time_unix": None,
            "matched_by": None,
            "sure": False,
        }
    if attempt["outcome"] == "unknown" and attempt["before_restart"] and attempt["server_pid"] is not None:
        fitting = []
        for event in events:
            if event["event"] == "oom_kill":
                how = _matched_by(event, attempt["server_pid"], times, who, "server")
                if how:
                    fitting.append((event, how))
        found = _nearest(fitting, attempt["started_unix"])
        sure = found is not None and is_sure(found[0], who) and attempt["started_unix"] is not None
        return _killer(found[0], found[1], "server", sure) if found else None
    return None


def _why_unknown(kernel_log: dict[str, t.Any] | None, times: tuple[float, float] | None) -> str:
    if not kernel_log or not kernel_log.get("available"):
        return "the kernel log could not be read"
    oldest = kernel_log.get("oldest_unix")
    if kernel_log.get("truncated") and oldest is not None and times is not None and times[1] < oldest:
        return "the kernel log does not reach back to that time"
    return "the kernel log has no record of an out-of-memory kill of this process"


def kernel_events(attempt: Attempt, kernel_log: dict[str, t.Any] | None, who: Identity) -> list[Event]:
    """The kernel's records that belong to an attempt: of its child, of its server's fork, of the disk under it."""
    times = window(attempt, who)
    if times is None:
        return []
    pids = {attempt["child_pid"], attempt["server_pid"], who.host_pid} - {None}
    failed_on_disk = attempt["stage"] in ("open", "write", "dir_fsync", "rename")
    found = []
    for event in (kernel_log or {}).get("events") or []:
        kind = event["event"]
        # A file system that the kernel turned read-only days ago is why a save fails today.
        lasting = kind == "remounted_read_only" and attempt["errno"] == "EROFS"
        since = float("-inf") if lasting else times[0]
        if not lies_between(event, since, times[1]) or is_of_another(event, who):
            continue
        by_pid = event.get("pid") in pids and (who.shares_host_pids is not False or event.get("pid") == who.host_pid)
        if kind == "oom_kill":
            belongs = by_pid or (who.shares_host_pids is not True and bool(same_group(event, who)))
        elif kind == "commit_refused":
            belongs = by_pid and attempt["stage"] == "fork"
        elif kind == "fork_rejected":
            belongs = attempt["stage"] == "fork" and same_pids_group(event, who) is not False
        elif kind in ("io_error", "filesystem_error", "remounted_read_only"):
            belongs = failed_on_disk and attempt["errno"] in ("EIO", "EROFS", "ENOSPC", "EUCLEAN", None)
        elif kind == "access_denied":
            other = who.shares_host_pids is not True and bool(names_server(event, who))
            belongs = attempt["errno"] in ("EACCES", "EPERM") and (by_pid or other)
        else:
            belongs = by_pid
        if belongs:
            found.append(event)
    return found[-MAXIMUM_EVENTS:]
