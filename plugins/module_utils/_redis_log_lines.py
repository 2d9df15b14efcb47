# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Lines of a Redis or Valkey log, in every wrapping in which they reach a disk, to events.

Forms of a line (sources: serverLogRaw and serverLogRawFromHandler of server.c, Redis 2.8 .. 8.x, Valkey 7.2 .. 9.x):

- ``1234:M 22 Nov 2026 16:01:02.286 * message``; without the year up to 4.x; ``[1234] 22 Nov 16:01:02.286 * message``
  in 2.8;
- ``1234:signal-handler (1795381262) message``, which may be cut in two by a line of another process;
- Valkey: the same with an ISO 8601 or a milliseconds time, logfmt, JSON;
- around those: Docker's json-file, CRI, syslog, the journal's JSON, in the latter two also without Redis' own prefix
  (``syslog-enabled`` sends the bare message, the process id is in syslog's tag).

A line without a prefix that names a process is never an event.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_events import (
    classify,
    may_continue,
    stack_module,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_times import (
    LogTimes,
    is_local,
    zone_error_seconds,
)

TEXT_LIMIT = 400
LINE_LIMIT = 4096
# A crash report's stack is some tens of lines; a module on the stack is near its top.
STACK_LINE_LIMIT = 200
# A name with more newlines than this is not pieced together.
CONTINUATION_LIMIT = 4

Event = dict[str, t.Any]

_TIME = (
    r"(?P<time>\d{1,2} [A-Z][a-z]{2}(?: \d{4})? \d{2}:\d{2}:\d{2}\.\d{3}"
    r"|\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}(?:Z|[+-]\d{2}:\d{2})"
    r"|\d{12,14})"
)
_LEGACY = re.compile(rf"(?P<pid>\d{{1,10}}):(?P<role>[MSCX]) {_TIME} (?P<level>[.\-*#]) (?P<message>.*)\Z", re.DOTALL)
_BRACKETS = re.compile(rf"\[(?P<pid>\d{{1,10}})\] {_TIME} (?P<level>[.\-*#]) (?P<message>.*)\Z", re.DOTALL)
_HANDLER = re.compile(r"(?P<pid>\d{1,10}):signal-handler \((?P<time>\d{9,11})\) (?P<message>.*)\Z", re.DOTALL)
_LOGFMT = re.compile(
    r"pid=(?P<pid>\d{1,10}) role=(?P<role>\S{1,20}) timestamp=\"(?P<time>[^\"]{1,40})\" level=(?P<level>\w{1,10})"
    r" message=\"(?P<message>.*)\"\Z",
    re.DOTALL,
)
_CONTAINER = re.compile(
    r"(?P<time>\d{4}-\d{2}-\d{2}T[\d:.]{8,20}(?:Z|[+-]\d{2}:\d{2})) std(?:out|err) [FP] (?P<message>.*)\Z"
)
_SYSLOG = re.compile(
    r"(?:<\d{1,3}>)?(?:1 )?(?P<time>[A-Z][a-z]{2} {1,2}\d{1,2} \d{2}:\d{2}:\d{2}(?:\.\d{1,6})?"
    r"|\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2}))"
    r" (?P<host>\S{1,255}) (?P<ident>[^\s:\[\]]{1,64})(?:\[(?P<pid>\d{1,10})\])?: (?P<message>.*)\Z",
    re.DOTALL,
)
# What a signal handler wrote (three write(2) calls a line) before another process's line came between.
_CUT_HANDLER = re.compile(r"\d{1,10}:signal-handler \((?:\d{10}(?:\) (?:[A-Z][^:\n]{0,80}?)?)?)?(?=\d{1,10}:[MSCX] \d)")
# A line that a full disk cut short has the next line of the log glued to it.
_GLUED = re.compile(rf"(?P<digits>\d{{1,10}}):[MSC] {_TIME} [.\-*#] ")
_HAS_PREFIX = re.compile(r"\d:[MSC] \d")
# Names of roles in Valkey's logfmt and JSON.
_ROLES = {
    "primary": "M",
    "master": "M",
    "replica": "S",
    "slave": "S",
    "sentinel": "X",
    "RDB/AOF": "C",
    "child": "C",
}


class Line(t.NamedTuple):
    """One line taken out of its wrappings. ``time`` is as written; ``own_prefix``: Redis' own, so that its pid is the
    one of the server's pid namespace; ``raw``: the line as the server wrote it; ``taken``: the time that the wrapping
    has, when somebody took the line in."""

    pid: int | None
    role: str | None
    time: str | float | None
    message: str
    form: str
    own_prefix: bool
    raw: str
    taken: str | float | None = None


def clip(text: str) -> str:
    """A line as evidence: one line, bounded."""
    return text.replace("\n", "\\n").replace("\r", "\\r")[:TEXT_LIMIT]


def split_prefix(line: str) -> Line | None:
    """A line with Redis' own prefix, in any of its forms; None for any other text."""
    first = line[:1]
    if first.isdigit():
        match = _LEGACY.match(line)
        if match:
            return Line(int(match["pid"]), match["role"], match["time"], match["message"], "legacy", True, line)
        cut = _CUT_HANDLER.match(line)
        if cut:
            return split_prefix(line[cut.end() :])
        match = _HANDLER.match(line)
        if match:
            return Line(int(match["pid"]), None, float(match["time"]), match["message"], "legacy", True, line)
        return None
    if first == "p":
        match = _LOGFMT.match(line)
        if match:
            role = _ROLES.get(match["role"])
            return Line(int(match["pid"]), role, match["time"], match["message"], "logfmt", True, line)
    elif first == "[":
        match = _BRACKETS.match(line)
        if match:
            return Line(int(match["pid"]), None, match["time"], match["message"], "legacy", True, line)
    elif first == "{":
        return _split_json(line)
    return None


def _load_object(line: str) -> dict[str, t.Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _split_json(line: str) -> Line | None:
    value = _load_object(line)
    if value is None or "message" not in value:
        return None
    pid, message, written = value.get("pid"), value["message"], value.get("timestamp")
    if not isinstance(pid, int) or isinstance(pid, bool) or not isinstance(message, str):
        return None
    role = value.get("role")
    return Line(
        pid,
        _ROLES.get(role) if isinstance(role, str) else None,
        str(written) if isinstance(written, (str, int)) else None,
        message,
        "json",
        True,
        line,
    )


def _inside(inner: str, outer_time: str | float | None, outer_pid: int | None, form: str) -> Line | None:
    """What is in a wrapping: Redis' own line where it has a prefix, else the bare message with the wrapping's data."""
    inner = inner.rstrip("\r\n")
    line = split_prefix(inner)
    if line is not None:
        return line._replace(taken=outer_time)
    return Line(outer_pid, None, outer_time, inner, form, False, inner)


def unwrap(line: str) -> Line | None:
    """A line of a file, whatever wrote it: the server, Docker, a CRI runtime or syslog. None: no prefix at all."""
    own = split_prefix(line)
    if own is not None:
        return own
    if line.startswith('{"'):
        value = _load_object(line)
        if value is None or not isinstance(value.get("log"), str):
            return None
        written = value.get("time")
        return _inside(value["log"], written if isinstance(written, str) else None, None, "docker")
    match = _CONTAINER.match(line)
    if match:
        return _inside(match["message"], match["time"], None, "cri")
    match = _SYSLOG.match(line)
    if match:
        pid = int(match["pid"]) if match["pid"] else None
        return _inside(match["message"], match["time"], pid, "syslog")
    return None


def syslog_ident(line: str) -> str | None:
    """The program that a line of syslog names, without its process id."""
    match = _SYSLOG.match(line)
    return match["ident"] if match else None


def unwrap_journal(entry: dict[str, t.Any]) -> Line | None:
    """An entry of ``journalctl -o json``. The journal's own pid is the host's; syslog's is the server's own."""
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # bytes that are no UTF-8 come as a list of numbers
        try:
            message = bytes(message).decode("utf-8", errors="backslashreplace")
        except (TypeError, ValueError):
            return None
    if not isinstance(message, str):
        return None
    written: float | None = None
    for name in ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"):
        value = entry.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            written = int(value) / 1e6
            break
    pid: int | None = None
    for name in ("SYSLOG_PID", "_PID"):
        value = entry.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
            pid = int(value)
            break
    return _inside(message[:LINE_LIMIT], written, pid, "journal")


class RedisLogParser:
    """Turns the lines of one log, oldest first, into events.

    It keeps what a line needs from the lines before it: the process whose crash report this is, a message that a
    newline in a name broke, the processes seen so far, the hour that daylight saving repeats.
    """

    def __init__(self, times: LogTimes, known_pids: t.Iterable[int] = ()) -> None:
        self._times = times
        self.form: str | None = None
        self._pids: set[int] = set(known_pids)
        self._unfinished: tuple[Line, int] | None = None
        self._crash: Event | None = None
        self._stack: Event | None = None
        self._stack_lines = 0

    def _time(self, line: Line) -> float | None:
        """The server's own time of a line; the moment at which it was taken in tells the zone that it is in."""
        written = line.time
        if written is None or isinstance(written, float):
            return written
        value = self._times.to_unix(written)
        if value is None or line.taken is None or not is_local(written):
            return value
        if isinstance(line.taken, str):
            # It names its zone, so that it needs no state of the lines before it.
            taken = None if is_local(line.taken) else LogTimes(None, value).to_unix(line.taken)
        else:
            taken = line.taken
        return value if taken is None else value - zone_error_seconds(value, taken)

    def _event(self, line: Line) -> Event | None:
        found = classify(line.message)
        if found is None:
            return None
        event, fields = found
        return {
            "time_unix": self._time(line),
            "pid": line.pid,
            "role": line.role,
            "event": event,
            "text": clip(line.raw),
            **fields,
        }

    def _begin_stack(self) -> Event | None:
        """The stack of the crash last seen; it has no prefix, so that it counts right after a crash's line only."""
        if self._crash is None:
            return None
        crash, self._crash = self._crash, None
        self._stack_lines = STACK_LINE_LIMIT
        self._stack = {**crash, "event": "crash_stack", "text": "STACK TRACE", "module": None}
        self._stack.pop("signal", None)
        return self._stack

    def _stack_line(self, text: str) -> None:
        if self._stack is None:
            return
        self._stack_lines -= 1
        module = stack_module(text)
        if module is not None:
            self._stack["module"] = module
            self._stack["text"] = clip(text)
        if module is not None or self._stack_lines <= 0 or "STACK TRACE DONE" in text:
            self._stack = None

    def _bare(self, text: str) -> list[Event]:
        """A line without a prefix: of a crash's stack, or the rest of a message that a newline broke."""
        if "--- STACK TRACE ---" in text and "DONE" not in text:
            event = self._begin_stack()
            return [event] if event else []
        if self._unfinished is not None:
            line, left = self._unfinished
            whole = line._replace(message=f"{line.message}\n{text}"[:LINE_LIMIT], raw=f"{line.raw}\n{text}")
            event = self._event(whole)
            self._unfinished = None if event or left <= 1 else (whole, left - 1)
            return [event] if event else []
        self._stack_line(text)
        return []

    def _unglue(self, line: Line) -> tuple[Line, Line | None]:
        """A line and the one glued to its end, where a full disk cut it short before its newline.

        Only the line of a process seen before counts, and only where nothing separates it from the text before it: that
        leaves quoted text and text after a space what it is.
        """
        for match in _GLUED.finditer(line.message):
            start, digits = match.start(), match["digits"]
            if start == 0 or line.message[start - 1].isspace() or line.message[start - 1] in "\"'":
                continue
            for begin in range(len(digits)):
                if digits[begin] != "0" and int(digits[begin:]) in self._pids:
                    rest = split_prefix(line.message[start + begin :])
                    cut = line.message[start + begin :]
                    return line._replace(message=line.message[: start + begin], raw=line.raw[: -len(cut)]), rest
        return line, None

    def feed_line(self, line: Line | None) -> list[Event]:
        """The events (none, one, or several where lines are glued) of a line that has been unwrapped."""
        if line is None:
            return []
        if not line.own_prefix and line.form in ("docker", "cri"):
            return self._bare(line.message)  # the runtime's prefix names no process
        if line.own_prefix:
            self.form = line.form
            self._stack = None
            if line.pid is not None:
                self._pids.add(line.pid)
            if _HAS_PREFIX.search(line.message):
                line, rest = self._unglue(line)
                if rest is not None:
                    return self.feed_line(line) + self.feed_line(rest)
        self._unfinished = None
        event = self._event(line)
        if event is None:
            if not line.own_prefix:
                return self._bare(line.message)
            if line.message.startswith("--- STACK TRACE"):  # up to 3.2 this line has a prefix
                return self._bare("--- STACK TRACE ---")
            if may_continue(line.message):
                self._unfinished = (line, CONTINUATION_LIMIT)
            return []
        if event["event"] in ("crashed", "assertion", "panic"):
            self._crash = event
        if event.get("child_pid") is not None:
            self._pids.add(event["child_pid"])
        return [event]

    def feed(self, text: str) -> list[Event]:
        """The events of one line of a file."""
        text = text[:LINE_LIMIT].rstrip("\r\n")
        line = unwrap(text)
        if line is None:
            return self._bare(text)
        return self.feed_line(line)

    def feed_journal(self, entry: dict[str, t.Any]) -> list[Event]:
        """The events of one entry of the journal."""
        return self.feed_line(unwrap_journal(entry))

    def line_time(self, text: str) -> float | None:
        """The time of any line that has one, event or not."""
        line = unwrap(text[:LINE_LIMIT].rstrip("\r\n"))
        if line is None:
            return None
        if line.own_prefix:
            self.form = line.form
        return self._time(line)
