# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about the deciding attempt and its streak: who killed the child, what the kernel says of the fork."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempt_kernel import window
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_match import (
    CLOCK_SLACK_SECONDS,
    Identity,
    identity,
    is_of_another,
    is_sure,
    lies_between,
    names_server,
    same_group,
    same_pids_group,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import (
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
# A saving child writes all the time: what kills it comes within so long of its file's last change.
LAST_WRITE_SECONDS = 300.0
# Names of whole disks in /dev, whose partitions are named after them. Others (dm-0, md0) stand for disks of any name.
_PLAIN_DISK = re.compile(r"((?:sd|vd|xvd|hd)[a-z]{1,3})\d{0,3}|((?:nvme\d{1,4}n\d{1,4}|mmcblk\d{1,3}))(?:p\d{1,3})?")
# File systems that lie on no device.
_WITHOUT_DEVICE = ("tmpfs", "ramfs")


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


def _who(case: Case) -> Identity:
    return identity(case.process, case.cgroups)


def _commit_refused(case: Case) -> t.Mapping[str, t.Any] | None:
    """The kernel's own proof that it refused a charge of this very server, at one of the streak's forks."""
    who = _who(case)
    if who.host_pid is None:
        return None
    records = [
        event
        for event in _kernel_events(case, "commit_refused")
        if integer(event, "pid") == who.host_pid and not is_of_another(dict(event), who)
    ]
    times = [attempt.get("ended_unix") or attempt.get("started_unix") for attempt in case.streak]
    if not any(times):
        # Without a time of the attempt: since this process exists, at least.
        since = who.started_unix
        records = [event for event in records if since is not None and (number(event, "time_unix") or 0) >= since]
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


def plain_disk(name: str) -> str | None:
    """``vdb1`` -> ``vdb``; None for what may lie on disks of any name (device mapper, RAID, loop, a network)."""
    match = _PLAIN_DISK.fullmatch(name)
    return None if match is None else match[1] or match[2]


def is_servers_device(case: Case, event: t.Mapping[str, t.Any]) -> bool | None:
    """Whether a record of storage is of the device under the data directory; None where that is not known."""
    view = mapping(case.directory, "process_view")
    device, source, kind = text(event, "device"), text(view, "source"), text(view, "type")
    if device is None or source is None:
        return None
    if kind in _WITHOUT_DEVICE:
        return False
    name = source.rsplit("/", 1)[-1] if source.startswith("/dev/") else source
    if device in (text(view, "device"), name) or source.startswith(f"{device}:"):
        return True
    ours, other = plain_disk(name) if source.startswith("/dev/") else None, plain_disk(device)
    if ours is None or other is None:
        return None
    if ours != other:
        return False
    # Of the same disk: the record names the disk, or another partition of it.
    return True if other == device else None


def _storage_errors(case: Case) -> list[t.Mapping[str, t.Any]]:
    """Records of the storage under the data directory; where it is not known which it is, those of the attempt's time.

    That the time fits is not enough where another device is known to be meant.
    """
    kinds = ("io_error", "filesystem_error", "remounted_read_only")
    found = []
    for event in entries(case.kernel, "events"):
        moment = number(event, "time_unix")
        if text(event, "event") not in kinds or moment is None or case.now - moment > FRESH_SECONDS:
            continue
        is_ours = is_servers_device(case, event)
        if is_ours or (is_ours is None and _near_attempt(case, moment)):
            found.append(event)
    return found


class _Life(t.NamedTuple):
    """A process of this server, or one of its children: when it may have been killed. ``uid``: null where unknown."""

    pid: int
    since_unix: float
    until_unix: float
    uid: int | None = None


def _lives_in_log(case: Case) -> list[_Life]:
    """Those that wrote the log: killed after their last line, and before another server began in the same file."""
    last: dict[int, float] = {}
    starts = []
    for event in entries(case.log, "events"):
        pid, moment = integer(event, "pid"), number(event, "time_unix")
        if pid is None or moment is None:
            continue
        if text(event, "event") == "server_started":
            starts.append(moment)
        if event.get("role") in ("M", "S", "C"):
            last[pid] = moment
    lives = []
    for pid, moment in last.items():
        next_start = min((start for start in starts if start > moment), default=moment + LAST_WRITE_SECONDS)
        lives.append(_Life(pid, moment - CLOCK_SLACK_SECONDS, next_start + CLOCK_SLACK_SECONDS))
    return lives


def _lives(case: Case, who: Identity) -> list[_Life]:
    lives = _lives_in_log(case)
    for attempt in case.attempts:
        times, pid = window(attempt, who), integer(attempt, "child_pid")
        if times is not None and pid is not None:
            lives.append(_Life(pid, *times))
    return lives + [life for life in map(_life_of_file, _orphans(case)) if life is not None]


def _orphans(case: Case) -> list[Mapping]:
    return [
        entry
        for entry in entries(case.directory, "temp_files")
        if entry.get("kind") == "rdb_child" and entry.get("holder") == "none"
    ]


def _life_of_file(entry: Mapping) -> _Life | None:
    """The dead child that a temporary file is named after: it was alive when the file was last changed."""
    pid, moment = integer(entry, "pid"), number(entry, "modified_unix")
    if pid is None or moment is None:
        return None
    return _Life(pid, moment - CLOCK_SLACK_SECONDS, moment + LAST_WRITE_SECONDS, integer(entry, "uid"))


def _fits_life(event: Mapping, life: _Life, who: Identity) -> bool:
    """Whether a kill ended that process: by number where the kernel's are the server's, else by its group."""
    record, uid = dict(event), integer(event, "uid")
    if not lies_between(record, life.since_unix, life.until_unix) or is_of_another(record, who):
        return False
    if not who.nested and None not in (uid, life.uid) and uid != life.uid:
        return False
    if who.shares_host_pids is not False and integer(event, "pid") == life.pid:
        return True
    if who.shares_host_pids is True or integer(event, "pid") == who.host_pid:
        return False
    return same_group(record, who) is True and names_server(record, who) is True


def _memory_kill(case: Case) -> tuple[Mapping | None, bool]:
    """The newest kill for memory of this server, of its predecessors or of one of their children; whether it is sure.

    A number alone joins nothing, since it comes again: the time must be one at which that process lived, and user,
    group and program must not be another's. A kill of another program, or of another server, proves nothing here.
    """
    who = _who(case)
    killed: Mapping | None = find_killed_predecessor(case)
    lives = _lives(case, who)
    event: Mapping
    for event in reversed(_kernel_events(case, "oom_kill")):
        if event is killed or any(_fits_life(event, life, who) for life in lives):
            return event, is_sure(dict(event), who)
    return killed, killed is not None and is_sure(dict(killed), who)


def _memory_kills(case: Case) -> dict[str, t.Any]:
    kill, sure = _memory_kill(case)
    kind = None if kill is None else "cgroup" if kill.get("constraint") == "cgroup" else "host"
    orphans = [entry for entry in entries(case.directory, "temp_files") if entry.get("holder") == "none"]
    return {
        "memory_kill_text": text(kill, "text"),
        "memory_kill_sure": None if kill is None else sure,
        # A text that says which, or "none" where the kernel log was read and shows no such kill.
        "orphans_from_memory_kills": (kind if orphans else "none")
        if kind
        else ("none" if flag(case.kernel, "available") else None),
    }


def _is_sure_kill(killer: Mapping, kind: str) -> bool:
    return killer.get("kind") == kind and killer.get("sure") is True


def _fork_rejected(case: Case) -> tuple[list[Mapping], list[Mapping]]:
    """Refusals of a process at the attempt's time: of the server's own groups, and of groups that may be its own."""
    who = _who(case)
    near = [event for event in _kernel_events(case, "fork_rejected") if _near_attempt(case, number(event, "time_unix"))]
    own = [event for event in near if same_pids_group(dict(event), who) is True]
    return own, [event for event in near if same_pids_group(dict(event), who) is None]


def attempt_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    attempt: t.Mapping[str, t.Any] = case.attempt or {}
    killers = [mapping(entry, "killer") for entry in case.streak]
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
    rejected, perhaps_rejected = _fork_rejected(case)
    lines = attempt.get("lines")
    signal = integer(attempt, "signal")
    return {
        **_memory_kills(case),
        "attempt_known": case.attempt is not None,
        "attempt_lines": [str(line) for line in lines][:8] if isinstance(lines, (list, tuple)) else None,
        "streak_length": len(case.streak),
        "streak_stages": sorted({str(entry.get("stage")) for entry in case.streak if entry.get("stage")}),
        "streak_errnos": sorted({str(entry.get("errno")) for entry in case.streak if entry.get("errno")}),
        "streak_has_cgroup_oom_kill": any(killer.get("kind") == "oom_cgroup" for killer in killers),
        "streak_has_host_oom_kill": any(killer.get("kind") == "oom_host" for killer in killers),
        "streak_cgroup_oom_kill_sure": any(_is_sure_kill(killer, "oom_cgroup") for killer in killers),
        "streak_host_oom_kill_sure": any(_is_sure_kill(killer, "oom_host") for killer in killers),
        "crash_signal": signal if signal in CRASH_SIGNALS else integer(mapping(attempt, "crash"), "signal"),
        "commit_refused_seen": True if refused else False if kernel_read else None,
        "commit_refused_bytes": None if refused_bytes is None else int(refused_bytes),
        "commit_refused_beyond_memory": beyond,
        "commit_refused_text": text(refused, "text"),
        "fork_rejected_seen": True if rejected else False if kernel_read and not perhaps_rejected else None,
        "storage_error_seen": True if errors else False if kernel_read else None,
        "storage_error_text": text(errors[-1], "text") if errors else None,
        "log_available": flag(case.log, "available"),
        "log_kept": flag(case.log, "kept"),
        "kernel_log_available": kernel_read,
    }
