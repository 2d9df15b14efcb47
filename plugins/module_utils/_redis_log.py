# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Finding a server's log, wherever it goes, and reading the events at its end.

Where it goes (server.c, serverLogRaw): ``logfile`` names a file, opened anew for every line, so that a relative name
follows the server's current directory; an empty ``logfile`` means standard output, which the process's descriptor 1
shows (a file, ``/dev/null`` after ``daemonize yes``, the journal's or a container runtime's pipe); ``syslog-enabled``
sends every line to syslog as well. All paths are those of the process: its root and its mount namespace.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._journal import JournalReading, read_journal
from ansible_collections.redisops.persistence.plugins.module_utils._read_as import reads_as_others
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_lines import (
    LINE_LIMIT,
    Event,
    RedisLogParser,
    syslog_ident,
    unwrap,
    unwrap_journal,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_read import (
    MAXIMUM_EVENTS,
    TailReading,
    last_written,
    read_log,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_times import (
    LogTimes,
    is_local,
    server_zone,
    zone_by_last_write,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

LIMIT_BYTES = 2 * 1024 * 1024
# /proc has a process's start in ticks from the boot, and the time of the boot in seconds.
START_SLACK_SECONDS = 5.0
JOURNAL_ENTRIES = 2000
WHAT = "the server's log"
SYSLOG_FILES = ("/var/log/syslog", "/var/log/messages", "/var/log/daemon.log", "/var/log/user.log")
LINK_LIMIT = 40
_STANDARD_STREAMS = re.compile(r"(?:/dev/(?:stdout|stderr|fd/[12])|/proc/(?:self|\d{1,10})/fd/[12])\Z")
_TERMINAL = re.compile(r"/dev/(?:pts/\d{1,10}|tty\w{0,20}|console)\Z")
_CONTAINER_ID = re.compile(r"(?:docker|libpod|cri-containerd|crio)[-/]([0-9a-f]{64})")


class Found(t.NamedTuple):
    """A log that could be read, or the reason why not. ``kept`` False: nothing keeps it."""

    source: str
    path: str | None
    reading: TailReading | None
    reason: str | None
    kept: bool


class Search:
    """One server's log: what is known of the server, and the ways to its log."""

    def __init__(
        self,
        system: System,
        pid: int | None,
        process: dict[str, t.Any] | None,
        hints: dict[str, t.Any],
        limit_bytes: int,
    ) -> None:
        self.system = system
        self.pid = pid
        self.process = process or {}
        self.hints = hints
        self.limit_bytes = limit_bytes
        self._zone = server_zone(system, pid, self.process.get("timezone"))

    def new_parser(self) -> RedisLogParser:
        pids = [self.process.get("pid_in_namespace"), self.process.get("pid"), self.pid]
        known = [pid for pid in pids if isinstance(pid, int)]
        return RedisLogParser(LogTimes(self._zone, self.system.clock()), known)

    def _in_root(self, path: str) -> str:
        """A path of the process as a path of this machine, links followed as the process would follow them."""
        if self.pid is None:
            return path
        root = f"/proc/{self.pid}/root"
        if reads_as_others(self.system):
            # Even where the process is gone by now: without it, nobody but root would be the reader.
            return self._follow_links(root, path)
        try:
            self.system.read_link(root)
            recorded_link = self.system.root != "/"
        except OSError:
            recorded_link = False
        if recorded_link or not self.system.exists(root + "/"):
            return path  # not ours to look into; on an ordinary host the same path
        return self._follow_links(root, path)

    def _follow_links(self, root: str, path: str) -> str:
        done: list[str] = []
        left = [part for part in path.split("/") if part]
        links = 0
        while left:
            part = left.pop(0)
            if part == ".":
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = "/" + "/".join([*done, part])
            try:
                target = self.system.read_link(root + here)
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > LINK_LIMIT or _STANDARD_STREAMS.match(target):
                return target
            if target.startswith("/"):
                done = []
            left = [piece for piece in target.split("/") if piece] + left
        return f"{root}/" + "/".join(done)

    def _find_zone(self, path: str) -> None:
        """The zone of the server, where its TZ is not known and the log shows another than its machine's."""
        end = None if self.process.get("timezone") else last_written(self.system, path)
        if end is None:
            return
        lines, written_unix = end
        for text in reversed(lines):
            line = unwrap(text[:LINE_LIMIT])
            if line is not None:
                if line.own_prefix and isinstance(line.time, str) and is_local(line.time):
                    self._zone = zone_by_last_write(self._zone, line.time, written_unix, self.system.clock())
                return

    def _read(self, path: str, keep_line: t.Callable[[str], bool] | None = None) -> TailReading:
        if keep_line is None:
            self._find_zone(path)
        return read_log(self.system, path, self.new_parser, self.limit_bytes, keep_line)

    def from_file(self, logfile: str) -> Found:
        """The file that ``logfile`` names."""
        shown = logfile
        if logfile.startswith("/"):
            path = self._in_root(logfile)
        else:
            directory = self.hints.get("directory")
            path = f"{directory}/{logfile}" if directory else None
            shown = path or logfile
            if self.pid is not None:
                try:
                    current = clean_text(self.system.read_link(f"/proc/{self.pid}/cwd"))
                    shown = f"{current.rstrip('/')}/{logfile}"
                    path = f"/proc/{self.pid}/cwd/{logfile}"
                except OSError:
                    # Never the path alone: root would read it.
                    path = f"/proc/{self.pid}/cwd/{logfile}" if reads_as_others(self.system) else path
            if path is None:
                return Found("none", logfile, None, "the directory that logfile is relative to is not known", True)
        if logfile == "/dev/null":
            return Found("none", logfile, None, "logfile is /dev/null", False)
        if _STANDARD_STREAMS.match(path) or _STANDARD_STREAMS.match(logfile):
            return self.from_stream("2" if path[-1] == "2" or path.endswith("stderr") else "1")
        try:
            return Found("file", shown, self._read(path), None, True)
        except OSError as error:
            return Found("none", shown, None, f"{shown}: {error.strerror or error}", True)

    def from_stream(self, number: str = "1") -> Found:
        """Standard output, wherever it leads."""
        container_log = self.hints.get("container_log_path")
        if container_log:
            found = self._from_container_file(str(container_log))
            if found.reading is not None or self.pid is None:
                return found
        if self.pid is None:
            return Found("none", None, None, "the log goes to standard output and the process is not known", True)
        descriptor = f"/proc/{self.pid}/fd/{number}"
        try:
            target = clean_text(self.system.read_link(descriptor))
        except OSError as error:
            found = self.from_journal()  # a unit's output is the journal's unless it says otherwise
            reason = f"{descriptor}: {error.strerror or error}"
            return found if found.reading is not None else Found("none", None, None, reason, True)
        if target == "/dev/null":
            return Found("none", target, None, "standard output is /dev/null", False)
        if _TERMINAL.match(target):
            return Found("none", target, None, "standard output is a terminal, which keeps nothing", False)
        if target.startswith(("pipe:", "socket:")):
            found = self.from_journal()
            if found.reading is not None:
                return found
            return found._replace(reason=f"standard output is a {target.split(':')[0]}; {found.reason}")
        shown = target[: -len(" (deleted)")] if target.endswith(" (deleted)") else target
        reason = ""
        # The path first: its rotated neighbours are found beside it. The descriptor still reaches a deleted file.
        for path in ([] if shown != target else [self._in_root(shown)]) + [descriptor]:
            try:
                return Found("file", shown, self._read(path), None, True)
            except OSError as error:
                reason = f"{shown}: {error.strerror or error}"
        return Found("none", shown, None, reason, True)

    def _from_container_file(self, path: str) -> Found:
        try:
            return Found("container", path, self._read(path), None, True)
        except OSError as error:
            return Found("none", path, None, f"{path}: {error.strerror or error}", True)

    def _journal_matches(self) -> list[list[str]]:
        """Ways to ask the journal for this server, the most exact first."""
        ways: list[list[str]] = []
        unit = self.hints.get("unit")
        groups = self.system.try_read_text(f"/proc/{self.pid}/cgroup") if self.pid is not None else None
        container = _CONTAINER_ID.search(groups or "")
        if container:
            ways.append([f"CONTAINER_ID_FULL={container.group(1)}"])
        for line in (groups or "").splitlines():
            parts = line.split(":", 2)
            if len(parts) == 3 and parts[1] in ("", "name=systemd"):
                services = [part for part in parts[2].split("/") if part.endswith(".service")]
                if services and services[0].startswith("user@"):
                    if len(services) > 1:
                        ways.append([f"_SYSTEMD_USER_UNIT={services[-1]}"])
                elif services and not unit:
                    unit = services[-1]
        if unit:
            ways.append([f"--unit={unit}"])
        if not ways and self.pid is not None:
            ways.append([f"_PID={self.pid}"])
        return ways

    def from_journal(self, matches: list[list[str]] | None = None) -> Found:
        """The journal's entries of this server."""
        reason: str | None = "neither the unit nor the process is known"
        for way in self._journal_matches() if matches is None else matches:
            by_number = way == [f"_PID={self.pid}"]
            # The journal keeps lines of earlier boots and processes, and the number was another's then.
            started = self.process.get("started_unix") if by_number else None
            since_unix = None if started is None else started - START_SLACK_SECONDS
            answer = read_journal(self.system, way, JOURNAL_ENTRIES, since_unix)
            if answer.entries and by_number:
                way, answer = self._whole_stream(way, answer)
            if answer.entries:
                return Found("journal", " ".join(way), self._parse_journal(answer.entries), None, True)
            reason = answer.reason
        return Found("none", None, None, f"the journal: {reason}", True)

    def _whole_stream(self, way: list[str], answer: JournalReading) -> tuple[list[str], JournalReading]:
        """Everything that came by the process's standard output: a child's lines carry the child's own ``_PID``."""
        stream = answer.entries[-1].get("_STREAM_ID")
        if not isinstance(stream, str) or not stream.isalnum():
            return way, answer
        wider = [f"_STREAM_ID={stream}"]
        found = read_journal(self.system, wider, JOURNAL_ENTRIES)
        return (wider, found) if found.entries else (way, answer)

    def _parse_journal(self, entries: list[dict[str, t.Any]]) -> TailReading:
        parser = self.new_parser()
        events: list[Event] = []
        for entry in entries:
            events.extend(parser.feed_journal(entry))
        clock = LogTimes(self._zone, self.system.clock())
        times = []
        for entry in (entries[0], entries[-1]):
            line = unwrap_journal(entry)
            written = None if line is None else line.time
            times.append(clock.to_unix(written) if isinstance(written, str) else written)
        size = sum(len(str(entry.get("MESSAGE", ""))) for entry in entries)
        complete = len(entries) < JOURNAL_ENTRIES
        return TailReading(events, size, size, complete, times[0], times[1], parser.form)

    def from_syslog(self, ident: str) -> Found:
        """Syslog's files, else the journal by the server's identity."""

        def keep_line(line: str) -> bool:
            return ident in line and syslog_ident(line) == ident

        reason = "no file of syslog"
        for path in SYSLOG_FILES:
            try:
                reading = self._read(path, keep_line)
            except FileNotFoundError:
                continue
            except OSError as error:
                reason = f"{path}: {error.strerror or error}"
                continue
            if reading.events:
                return Found("syslog", path, reading, None, True)
            reason = f"{path} has no line of {ident}"
        found = self.from_journal([[f"SYSLOG_IDENTIFIER={ident}"]])
        return found if found.reading is not None else found._replace(reason=f"{reason}; {found.reason}")

    def find(self) -> Found:
        """The first of the ways that leads to a log."""
        logfile = self.hints.get("logfile")
        tried: list[Found] = []
        if logfile:
            tried.append(self.from_file(str(logfile)))
        else:
            found = self.from_stream()
            # An unknown logfile may keep what standard output does not.
            tried.append(found if logfile == "" else found._replace(kept=True))
        if tried[0].reading is None and _is_yes(self.hints.get("syslog_enabled")):
            default = "valkey" if "valkey" in str(self.process.get("command")) else "redis"
            tried.append(self.from_syslog(str(self.hints.get("syslog_ident") or default)))
        for found in tried:
            if found.reading is not None:
                return found
        reasons = "; ".join(found.reason for found in tried if found.reason)
        return tried[0]._replace(reason=reasons, kept=any(found.kept for found in tried))


def _is_yes(value: t.Any) -> bool:
    return value is True or str(value).lower() in ("yes", "true", "1")


def _remedy(found: Found, reader: str | None) -> str:
    if not found.kept:
        return (
            "Give the server a log that is kept: set logfile, or run it under systemd, and let a save fail once more."
        )
    if reader is not None and "ermission" in (found.reason or "") and found.path:
        return f"The log is read as the server's own user: let uid {reader} read {found.path}."
    if "ermission" in (found.reason or "") or "permitted" in (found.reason or ""):
        return "Run as root, or as a member of the groups that may read the log (adm, systemd-journal, redis)."
    return "Name the server's log: make logfile readable, or run it under systemd so that the journal has it."


def empty_log(reason: str, kept: bool = True) -> dict[str, t.Any]:
    """REDIS_LOG of docs/evidence.md where there is nothing to read."""
    return {
        "available": False,
        "source": "none",
        "path": None,
        "format": None,
        "reason": reason,
        "size_bytes": None,
        "read_bytes": 0,
        "truncated": False,
        "oldest_unix": None,
        "newest_unix": None,
        "kept": kept,
        "events": [],
    }


def collect_redis_log(
    system: System,
    pid: int | None,
    process: dict[str, t.Any] | None,
    hints: dict[str, t.Any],
    gaps: Gaps,
    limit_bytes: int = LIMIT_BYTES,
) -> dict[str, t.Any]:
    """REDIS_LOG of docs/evidence.md.

    :param pid: the server's, on this machine; None where it is not known or not here.
    :param process: PROCESS; its time zone and its pid in its own namespace are used.
    :param hints: what is known of {logfile, loglevel, syslog_enabled, syslog_ident, daemonize, unit,
        container_log_path, directory}; any may be missing. Without ``logfile`` standard output is looked at.
    :param limit_bytes: how much of the end of the log is read (four times as much where it has no save at all).
    """
    if "logfile" not in hints or hints["logfile"] is None:
        gaps.add(
            f"{WHAT} (where it goes)",
            "logfile is not known; only standard output was looked at",
            "Allow CONFIG GET (ACL: +config|get), or make the configuration file readable.",
        )
    found = Search(system, pid, process, hints, limit_bytes).find()
    level = str(hints.get("loglevel") or "")
    kept = found.kept and level != "nothing"
    if found.reading is None:
        reason = found.reason or "not found"
        uid = dict((process or {}).get("uid") or {}).get("effective")
        gaps.add(WHAT, reason, _remedy(found, str(uid) if reads_as_others(system) and uid is not None else None))
        return {**empty_log(reason, kept), "path": found.path}
    if level in ("warning", "nothing"):
        gaps.add(
            f"{WHAT} (starts and successes of saves)" if level == "warning" else WHAT,
            f"loglevel is {level}",
            "CONFIG SET loglevel notice",
        )
    reading = found.reading
    return {
        "available": True,
        "source": found.source,
        "path": found.path,
        "format": reading.form,
        "reason": None,
        "size_bytes": reading.size_bytes,
        "read_bytes": reading.read_bytes,
        "truncated": not reading.complete or len(reading.events) > MAXIMUM_EVENTS,
        "oldest_unix": reading.oldest_unix,
        "newest_unix": reading.newest_unix,
        "kept": kept,
        "events": reading.events[-MAXIMUM_EVENTS:],
    }
