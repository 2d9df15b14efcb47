# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Save attempts: a server's log and the kernel log joined by child process.

The join is by the child's process id and never by the order of lines: a child's line can precede the parent's
``Background saving started by pid`` (both append to the same file). A process id comes again after some time, so that a
start makes a new attempt. Pure: nothing is read here.

Which lines are the server's: its process id (in its own pid namespace) stands on every line of its own, and its
children are known by the parent's lines. Other servers that write to the same file are left out; attempts of earlier
processes of this server are kept as history (``before_restart``), since the flag is ok after a start.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempt_kernel import (
    Attempt,
    Event,
    Identity,
    find_killer,
    identity,
    kernel_events,
)

MAXIMUM_LINES = 20
# "N changes in M seconds. Saving..." and "Starting BGSAVE for SYNC" stand right before what they start.
TRIGGER_SECONDS = 10.0
# A child's line before its parent's "started by pid": fractions of a second; the rest is for slow disks.
EARLY_CHILD_SECONDS = 60.0
# /proc has a process's start in ticks from the boot; a log line of the server itself is never older than that.
START_SLACK_SECONDS = 2.0
# SIGUSR1 stops a child on purpose (killRDBChild) and does not touch the flag: x86 and ARM, MIPS, SPARC.
SIGUSR1_NUMBERS = (10, 16, 30)

CHILD_STAGES = {
    "open_failed": "open",
    "write_failed": "write",
    "dir_fsync_failed": "dir_fsync",
    "rename_failed": "rename",
    "child_report_failed": "child",
}
CHILD_DEATHS = ("crashed", "crash_stack", "out_of_memory_handler", "assertion", "panic")
ENDS = {
    "save_succeeded": "succeeded",
    "transfer_succeeded": "succeeded",
    "save_failed": "failed",
    "transfer_failed": "failed",
    "save_signalled": "failed",
    "transfer_signalled": "failed",
}
# Lines of level notice: where none is in the log, the absence of "N changes in M seconds" says nothing.
NOTICES = ("save_points_met", "save_started", "save_succeeded", "child_saved", "server_ready", "copy_on_write")


def new_attempt(**values: t.Any) -> Attempt:
    """ATTEMPT of docs/evidence.md with nothing known."""
    attempt: Attempt = {
        "child_pid": None,
        "host_pid": None,
        "server_pid": None,
        "before_restart": False,
        "foreground": False,
        "target": "disk",
        "trigger": "unknown",
        "started_unix": None,
        "ended_unix": None,
        "outcome": "unknown",
        "stage": None,
        "errno": None,
        "errno_text": None,
        "operation": None,
        "signal": None,
        "file": None,
        "directory": None,
        "destination": None,
        "killer": None,
        "kernel_events": [],
        "crash": None,
        "silent": False,
        "lines": [],
        "source": "log",
    }
    attempt.update(values)
    return attempt


def _seconds_between(first: float | None, second: float | None) -> float:
    """How far two times are apart; 0 where one is not known, so that order decides."""
    return 0.0 if first is None or second is None else abs(second - first)


class _Child:
    """One attempt while the log is read: what its child and its parent wrote."""

    def __init__(self, attempt: Attempt, first_seen: float | None, position: int) -> None:
        self.attempt = attempt
        self.first_seen = first_seen
        self.position = position  # of its first line among the events
        self.last_seen = first_seen
        self.spoke = False  # the child wrote why it failed
        self.aborted = False
        self.closed = False
        self.saved_or_failed = False  # a line that only a save's child writes

    def add_line(self, event: Event) -> None:
        lines = self.attempt["lines"]
        if len(lines) < MAXIMUM_LINES and event["text"] not in lines:
            lines.append(event["text"])
        if event["time_unix"] is not None:
            self.last_seen = event["time_unix"]

    def take_error(self, event: Event) -> None:
        """What a child (or the server in a foreground save) wrote about its failure; the first word counts."""
        self.add_line(event)
        self.saved_or_failed = True
        if self.spoke:
            return
        self.spoke = True
        self.attempt["stage"] = CHILD_STAGES[event["event"]]
        for name in ("errno", "errno_text", "operation", "file", "directory", "destination"):
            if event.get(name) is not None:
                self.attempt[name] = event[name]

    def take_death(self, event: Event) -> None:
        """A crash report of the child."""
        self.add_line(event)
        self.spoke = True
        crash = self.attempt["crash"] or {"signal": None, "module": None}
        if event["event"] == "crashed":
            crash["signal"] = event["signal"]
        if event["event"] == "crash_stack" and event.get("module"):
            crash["module"] = event["module"]
        self.attempt["crash"] = crash
        self.attempt["stage"] = self.attempt["stage"] or "child"


class Join:
    """Reads the events of one log, oldest first, and makes attempts of them."""

    def __init__(self, server_pid: int | None, events: list[Event], log_begins_late: bool) -> None:
        self._server_pid = server_pid
        self._events = events
        self._log_begins_late = log_begins_late
        self._children: list[_Child] = []
        self._open_by_child: dict[int, _Child] = {}
        self._current: dict[int | None, _Child] = {}
        self._position = 0
        self._triggers: dict[int | None, tuple[Event, str, str]] = {}
        self._aof_children: set[int] = set()
        self._parents = {event["pid"] for event in events if self._is_parent_line(event)}
        self._notices = any(event["event"] in NOTICES for event in events)

    def _is_parent_line(self, event: Event) -> bool:
        """Whether a line is certainly a server's own: its role says so, or only servers write it."""
        if event["role"] in ("M", "S"):
            return True
        if event["role"] == "C":
            return False
        return event["event"] in (
            *ENDS,
            "save_points_met",
            "save_started",
            "fork_failed",
            "replica_sync_started",
            "replica_sync_failed",
            "aof_rewrite_started",
            "server_ready",
        )

    def _by_server(self, event: Event) -> bool:
        if event["role"] in ("M", "S"):
            return True
        if event["role"] == "C":
            return False
        return event["pid"] is None or event["pid"] == self._server_pid or event["pid"] in self._parents

    # --- a parent's lines

    def _trigger(self, event: Event) -> tuple[str, str | None, list[str]]:
        """What started the attempt that an event begins: trigger, target where known, lines."""
        pending = self._triggers.pop(event["pid"], None)
        if pending and _seconds_between(pending[0]["time_unix"], event["time_unix"]) <= TRIGGER_SECONDS:
            return pending[1], pending[2], [pending[0]["text"]]
        return ("command" if self._notices else "unknown"), None, []

    def _begin(self, event: Event) -> None:
        child_pid = event["child_pid"]
        trigger, _target, lines = self._trigger(event)
        earlier = self._open_by_child.get(child_pid)
        early = (
            earlier is not None
            and earlier.attempt["server_pid"] is None
            and _seconds_between(earlier.first_seen, event["time_unix"]) <= EARLY_CHILD_SECONDS
        )
        if earlier is not None and early:
            child = earlier
            child.attempt["lines"][:0] = lines
        else:
            child = self._new(event, child_pid=child_pid)
            child.attempt["lines"].extend(lines)
        child.attempt.update(
            server_pid=event["pid"],
            started_unix=event["time_unix"],
            trigger=trigger,
            target=event.get("target") or "disk",
        )
        child.add_line(event)
        self._current[event["pid"]] = child

    def _new(self, event: Event, **values: t.Any) -> _Child:
        child = _Child(new_attempt(**values), event["time_unix"], self._position)
        self._children.append(child)
        if values.get("child_pid") is not None:
            self._open_by_child[values["child_pid"]] = child
        return child

    def _fork_failed(self, event: Event) -> None:
        trigger, target, lines = self._trigger(event)
        child = self._new(
            event,
            server_pid=event["pid"],
            trigger=trigger,
            target=target or "disk",
            started_unix=event["time_unix"],
            ended_unix=event["time_unix"],
            outcome="failed",
            stage="fork",
            errno=event["errno"],
            errno_text=event["errno_text"],
        )
        child.attempt["lines"].extend(lines)
        child.add_line(event)
        child.closed = True
        self._current[event["pid"]] = child

    def _unclaimed(self, event: Event) -> _Child | None:
        """The newest child that wrote something and whose start no server logged (loglevel warning)."""
        for child in reversed(self._children):
            if (
                not child.closed
                and child.attempt["server_pid"] is None
                and not child.attempt["foreground"]
                and _seconds_between(child.last_seen, event["time_unix"]) <= EARLY_CHILD_SECONDS
            ):
                return child
        return None

    def _end(self, event: Event) -> None:
        target = "replicas" if event["event"].startswith("transfer") else "disk"
        child = self._current.get(event["pid"])
        if child is None or child.closed:
            child = self._unclaimed(event)
        if child is None:
            child = self._new(event, server_pid=event["pid"], target=target)
            # Its beginning is not in the log, so that its child may have spoken before the log begins.
            if self._notices or self._log_begins_late:
                child.attempt["silent"] = None
        attempt = child.attempt
        child.add_line(event)
        attempt["server_pid"] = event["pid"]
        attempt["target"] = target
        attempt["ended_unix"] = event["time_unix"]
        attempt["outcome"] = ENDS[event["event"]]
        child.closed = True
        if attempt["child_pid"] is not None:
            self._open_by_child.pop(attempt["child_pid"], None)
        if attempt["outcome"] == "succeeded":
            attempt["stage"] = "done"
            return
        attempt["signal"] = event.get("signal")
        if attempt["signal"] in SIGUSR1_NUMBERS and (attempt["signal"] == 10 or child.aborted):
            attempt["outcome"] = "aborted"
            return
        attempt["stage"] = attempt["stage"] or "child"
        if not child.spoke and attempt["silent"] is not None:
            attempt["silent"] = True

    def _aborted(self, event: Event) -> None:
        """A child that is stopped on purpose: by its pid, or the one that its server has."""
        child = self._open_by_child.get(event["child_pid"]) if event.get("child_pid") is not None else None
        if child is None:
            child = self._current.get(event["pid"]) if self._by_server(event) else self._open_by_child.get(event["pid"])
        if child is not None and not child.closed:
            child.aborted = True
            child.add_line(event)

    def _restarted(self, event: Event) -> None:
        """A server process that begins ends the attempts of an earlier one with the same pid (1, in containers)."""
        self._current.pop(event["pid"], None)
        self._triggers.pop(event["pid"], None)
        for child in self._children:
            if child.attempt["server_pid"] == event["pid"] and event["pid"] is not None:
                child.closed = True
                child.attempt["before_restart"] = True
                if self._open_by_child.get(child.attempt["child_pid"]) is child:
                    del self._open_by_child[child.attempt["child_pid"]]

    # --- a child's lines

    def _child_line(self, event: Event) -> None:
        pid = event["pid"]
        kind = event["event"]
        if pid in self._aof_children and kind in CHILD_DEATHS:
            return
        child = self._open_by_child.get(pid) if pid is not None else None
        if child is None:
            # Any child may crash; whether it was a save's, the parent's line says, which may come after the report.
            if kind == "copy_on_write" or (kind in CHILD_DEATHS and event["role"] != "C"):
                return
            child = self._new(event, child_pid=pid)
        if kind in CHILD_STAGES:
            child.take_error(event)
        elif kind in CHILD_DEATHS:
            child.take_death(event)
        else:
            child.add_line(event)
            child.saved_or_failed = child.saved_or_failed or kind == "child_saved"

    def _foreground(self, event: Event) -> None:
        """SAVE, SHUTDOWN and FLUSHALL save in the server itself: a success sets the flag, a failure leaves it."""
        ended = event["time_unix"]
        child = self._new(
            event,
            server_pid=event["pid"],
            foreground=True,
            trigger="command",
            ended_unix=ended,
            outcome="succeeded" if event["event"] == "child_saved" else "failed",
            stage="done",
        )
        if event["event"] == "child_saved":
            child.add_line(event)
        else:
            child.attempt["stage"] = None
            child.take_error(event)
        child.closed = True

    def read(self) -> list[_Child]:
        """All attempts, in the order of their first lines."""
        for position, event in enumerate(self._events):
            self._position = position
            kind = event["event"]
            if event["role"] == "X":
                continue
            if kind in ("save_points_met", "replica_sync_started"):
                trigger = "save_points" if kind == "save_points_met" else "replication"
                self._triggers[event["pid"]] = (event, trigger, event.get("target") or "disk")
            elif kind == "save_started":
                self._begin(event)
            elif kind == "fork_failed":
                self._fork_failed(event)
            elif kind in ENDS:
                self._end(event)
            elif kind == "save_aborted":
                self._aborted(event)
            elif kind == "server_started":
                self._restarted(event)
            elif kind == "aof_rewrite_started":
                self._aof_children.add(event["child_pid"])
                self._open_by_child.pop(event["child_pid"], None)
            elif kind == "replica_sync_failed":
                child = self._current.get(event["pid"])
                if child is not None and _seconds_between(child.last_seen, event["time_unix"]) <= TRIGGER_SECONDS:
                    child.add_line(event)
            elif kind in CHILD_STAGES or kind == "child_saved":
                if self._by_server(event):
                    self._foreground(event)
                else:
                    self._child_line(event)
            elif kind in CHILD_DEATHS and not self._by_server(event) or kind == "copy_on_write":
                self._child_line(event)
        return [child for child in self._children if child.attempt["server_pid"] is not None or child.saved_or_failed]


def _newest_server(events: list[Event]) -> int | None:
    """Without a process to compare with: the server that wrote last."""
    for event in reversed(events):
        if event["role"] in ("M", "S") or (event["role"] is None and event["event"] in ENDS):
            return event["pid"] if isinstance(event["pid"], int) else None
    return None


def _start_position(events: list[Event], server_pid: int | None, begins: float | None, is_sure: bool) -> int | None:
    """Where the process that runs now wrote its first line; None where the log doesn't show its start.

    Order is surer than time: a clock that was set, or a time zone that is not known, moves all lines to before the
    start. But in a pid namespace an earlier process had the same pid; there (``is_sure`` false) the time must fit.
    """
    position = None
    for index, event in enumerate(events):
        if event["event"] == "server_started" and event["pid"] == server_pid:
            early = begins is not None and event["time_unix"] is not None and event["time_unix"] < begins
            position = index if is_sure or not early else None
    return position


def _mark_server(
    children: list[_Child], events: list[Event], server_pid: int | None, started: float | None, is_sure: bool
) -> None:
    """Set ``before_restart`` and take out what another server, alive at the same time, wrote to the same file.

    :param is_sure: no earlier process of the server had the same pid.
    """
    if server_pid is None:
        return
    last_of_server: dict[int, float] = {}
    for event in events:
        if event["role"] in ("M", "S", None) and event["pid"] is not None and event["time_unix"] is not None:
            last_of_server[event["pid"]] = event["time_unix"]
    first_of_ours = min(
        (event["time_unix"] for event in events if event["pid"] == server_pid and event["time_unix"] is not None),
        default=None,
    )
    begins = started - START_SLACK_SECONDS if started is not None else first_of_ours
    start = _start_position(events, server_pid, begins, is_sure)
    # An earlier process of this server may write its last words while the new one begins.
    overlaps = begins + 2 * START_SLACK_SECONDS if begins is not None else float("inf")
    kept = []
    strangers = any(
        pid != server_pid and last > overlaps and _is_server(events, pid) for pid, last in last_of_server.items()
    )
    for child in children:
        attempt = child.attempt
        moment = attempt["ended_unix"] or attempt["started_unix"] or child.first_seen
        owner = attempt["server_pid"]
        if start is not None:
            before = child.position < start
        else:
            before = begins is not None and moment is not None and moment < begins
        if owner is None and strangers and not before:
            continue  # a child that nobody claims, and more than one who could
        if owner is not None and owner != server_pid:
            if last_of_server.get(owner, 0.0) > overlaps:
                continue
            before = True
        attempt["before_restart"] = attempt["before_restart"] or before
        kept.append(child)
    children[:] = kept


def _is_server(events: list[Event], pid: int) -> bool:
    return any(
        event["pid"] == pid
        and (event["role"] in ("M", "S") or event["event"] in ENDS or event["event"] == "save_started")
        for event in events
    )


def _began_with(entry: dict[str, t.Any], attempt: Attempt) -> bool:
    """Whether a child that runs now is an attempt's and not a later one with the same number, as far as is known."""
    return _seconds_between(entry.get("started_unix"), attempt["started_unix"]) <= EARLY_CHILD_SECONDS


def _settle(child: _Child, process: dict[str, t.Any] | None, who: Identity) -> None:
    """The outcome of an attempt that no line ended, and the child's pid on the host."""
    attempt = child.attempt
    running = {
        entry.get("pid_in_namespace") or entry.get("pid"): entry
        for entry in (process or {}).get("children") or []
        if isinstance(entry, dict)
    }
    entry = running.get(attempt["child_pid"]) if attempt["child_pid"] is not None else None
    if entry is not None and not child.closed and not attempt["before_restart"] and _began_with(entry, attempt):
        attempt["outcome"] = "running"
        attempt["host_pid"] = entry.get("pid")
    elif who.shares_host_pids:
        attempt["host_pid"] = attempt["child_pid"]


def join_attempts(
    redis_log: dict[str, t.Any] | None,
    kernel_log: dict[str, t.Any] | None,
    process: dict[str, t.Any] | None,
    cgroups: dict[str, t.Any] | None,
    now_unix: float,
) -> list[dict[str, t.Any]]:
    """The save attempts of a server, oldest first: a list of ATTEMPT of docs/evidence.md.

    :param redis_log: REDIS_LOG; None or not available gives no attempts.
    :param kernel_log: ``host.kernel_log``, or None.
    :param process: PROCESS, or None: the server that wrote last is then meant.
    :param cgroups: CGROUPS, or None.
    :param now_unix: when the evidence was gathered; later lines (a clock that was wrong) are left out.
    """
    if not redis_log:
        return []
    events = [
        event
        for event in redis_log.get("events") or []
        if event.get("time_unix") is None or event["time_unix"] <= now_unix + EARLY_CHILD_SECONDS
    ]
    server_pid = (process or {}).get("pid_in_namespace") or (process or {}).get("pid") or _newest_server(events)
    children = Join(server_pid, events, bool(redis_log.get("truncated"))).read()
    who = identity(process, cgroups)
    _mark_server(children, events, server_pid, (process or {}).get("started_unix"), who.shares_host_pids is True)
    for child in children:
        _settle(child, process, who)
        child.attempt["killer"] = find_killer(child.attempt, kernel_log, who)
        child.attempt["kernel_events"] = kernel_events(child.attempt, kernel_log, who)
        killer = child.attempt["killer"]
        if killer and killer["victim"] == "child" and killer["pid"] is not None:
            child.attempt["host_pid"] = killer["pid"]
    return [child.attempt for child in children]


def streak(attempts: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The failed attempts that the flag stands for, oldest first.

    Those of this server process after its last success. A transfer to replicas without a file never touches the flag,
    neither does a foreground SAVE that fails; one that succeeds sets it to ok.
    """
    failed: list[dict[str, t.Any]] = []
    for attempt in attempts:
        if attempt["before_restart"] or attempt["target"] != "disk":
            continue
        if attempt["outcome"] == "succeeded":
            failed = []
        elif attempt["outcome"] == "failed" and not attempt["foreground"]:
            failed.append(attempt)
    return failed
