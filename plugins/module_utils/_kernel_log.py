# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The kernel log: from ``/dev/kmsg``, else the journal, else the files of syslog. Bounded in bytes and time."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._journal import entry_time, read_journal
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_log_lines import (
    NEEDLES,
    Event,
    KernelLogParser,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_read import open_own
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_times import LogTimes, server_zone
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, to_utf8

KMSG = "/dev/kmsg"
KERNEL_FILES = ("/var/log/kern.log", "/var/log/messages", "/var/log/syslog")
AUDIT_FILE = "/var/log/audit/audit.log"
FILE_LIMIT_BYTES = 4 * 1024 * 1024
AUDIT_LIMIT_BYTES = 1024 * 1024
KMSG_LIMIT_RECORDS = 100_000
KMSG_LIMIT_SECONDS = 2.0
# A record of /dev/kmsg is at most 8 KiB (PRINTK_MESSAGE_MAX); a shorter read fails with EINVAL.
KMSG_READ_BYTES = 16 * 1024
JOURNAL_ENTRIES = 3000
MAXIMUM_EVENTS = 200
# So that a flood of one kind (a dying disk) leaves room for the others.
MAXIMUM_EVENTS_OF_A_KIND = 80
REMEDY = "Run as root, or as a member of the groups that may read the kernel log (adm, systemd-journal)."

_KMSG_HEAD = re.compile(r"(?P<priority>\d{1,10}),(?P<sequence>\d{1,20}),(?P<microseconds>\d{1,20}),[^;]{0,200};")
_SYSLOG_KERNEL = re.compile(
    r"(?P<time>[A-Z][a-z]{2} {1,2}\d{1,2} \d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}T[\d:.]{8,20}(?:Z|[+-]\d{2}:\d{2}))"
    r" \S{1,255} kernel: (?:\[ {0,12}\d{1,10}\.\d{1,9}\] ?)?(?P<message>.*)\Z"
)
_AUDIT_RECORD = re.compile(r"type=(?:AVC|SECCOMP|1326|1400|APPARMOR_DENIED) ")


class Reading(t.NamedTuple):
    """Events of one source, oldest first. ``wrapped``: older messages have been lost or were not read."""

    source: str
    path: str | None
    events: list[Event]
    oldest_unix: float | None
    newest_unix: float | None
    wrapped: bool


def boot_time(system: System) -> float | None:
    """When the clock of the kernel's messages began, in seconds since the epoch.

    printk's clock stands still while the machine sleeps, as CLOCK_MONOTONIC does; a recorded machine has its uptime.
    """
    if system.root == "/":
        return system.clock() - time.clock_gettime(time.CLOCK_MONOTONIC)
    uptime = system.try_read_text("/proc/uptime", 100)
    try:
        return system.clock() - float((uptime or "").split()[0])
    except (IndexError, ValueError):
        return None


def parse_kmsg(records: t.Iterable[str], boot_unix: float | None, parser: KernelLogParser) -> Reading:
    """Records of /dev/kmsg (``priority,sequence,microseconds,flags;message``, then lines that begin with a space).

    Only the kernel's own (facility 0): what a program writes there gets another facility, whatever it asked for.
    """
    oldest = newest = None
    first_sequence: int | None = None
    for record in records:
        head = _KMSG_HEAD.match(record)
        if head is None:
            continue
        if first_sequence is None:
            first_sequence = int(head["sequence"])
        moment = None if boot_unix is None else boot_unix + int(head["microseconds"]) / 1e6
        oldest = moment if oldest is None else oldest
        newest = moment if moment is not None else newest
        if int(head["priority"]) >> 3 != 0:
            continue
        message = record[head.end() :].split("\n", 1)[0]
        if "]" in message[:20]:  # the caller's id, with printk.caller
            message = re.sub(r"\A\[ {0,8}[TC]\d{1,10}\] ", "", message)
        # The kernel escapes a backslash here (printk.c msg_print_ext_body), and systemd's groups have some in their
        # names. What else it escapes is no printable ASCII, and stays escaped.
        parser.feed(moment, message.replace("\\x5c", "\\"))
    return Reading("kmsg", KMSG, parser.events, oldest, newest, bool(first_sequence))


def _kmsg_records(system: System) -> list[str]:
    """The records in the kernel's buffer. Raises OSError."""
    descriptor = os.open(system.path(KMSG), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    records: list[str] = []
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # a recorded machine
            data = os.read(descriptor, FILE_LIMIT_BYTES)
            return re.split(r"\n(?! )", to_utf8(data))
        ends = time.monotonic() + KMSG_LIMIT_SECONDS
        while len(records) < KMSG_LIMIT_RECORDS and time.monotonic() < ends:
            try:
                data = os.read(descriptor, KMSG_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read: the next read is the oldest left
                    continue
                raise
            if not data:
                break
            records.append(to_utf8(data))
    finally:
        os.close(descriptor)
    return records


def slept_seconds(system: System) -> float:
    """How long the machine slept since its boot: so much earlier than printk's clock says a record may be."""
    if system.root != "/" or not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC))


def from_kmsg(system: System) -> Reading:
    """The kernel's buffer. Raises OSError."""
    reading = parse_kmsg(_kmsg_records(system), boot_time(system), KernelLogParser())
    slept = slept_seconds(system)
    if slept >= 1.0:
        for event in reading.events:
            event["time_early_seconds"] = round(slept, 1)
    return reading


def from_journal(system: System, since_unix: float | None, until_unix: float | None = None) -> Reading | str:
    """The journal's kernel and audit messages, or the reason why there are none."""
    answer = read_journal(system, ["_TRANSPORT=kernel", "_TRANSPORT=audit"], JOURNAL_ENTRIES, since_unix, until_unix)
    if not answer.entries:
        return answer.reason or "the journal has no such entries"
    parser = KernelLogParser()
    times = [entry_time(entry) for entry in answer.entries]
    for moment, entry in zip(times, answer.entries):
        message = entry.get("MESSAGE")
        if isinstance(message, str) and _is_kernels_own(entry):
            if entry.get("_TRANSPORT") == "audit":
                message = message.replace("AVC avc:", "avc:", 1)
                if message.startswith("SECCOMP "):
                    message = f"type=SECCOMP msg=audit(0): {message[8:]}"
            parser.feed(moment, message)
    known = [moment for moment in times if moment is not None]
    wrapped = len(answer.entries) >= JOURNAL_ENTRIES
    return Reading("journal", None, parser.events, known[0] if known else None, known[-1] if known else None, wrapped)


def _is_kernels_own(entry: dict[str, t.Any]) -> bool:
    """Not what a program wrote to /dev/kmsg: journald files that with the kernel's, under another facility."""
    return entry.get("_TRANSPORT") != "kernel" or entry.get("SYSLOG_FACILITY") in (None, "0")


def _tail_lines(system: System, path: str, limit_bytes: int) -> tuple[list[str], bool]:
    """The last lines of a file and whether its beginning was left out. Raises OSError."""
    descriptor = open_own(system.path(path))
    try:
        size = os.fstat(descriptor).st_size
        start = max(0, size - limit_bytes)
        data = os.pread(descriptor, limit_bytes, start)
    finally:
        os.close(descriptor)
    lines = to_utf8(data).split("\n")
    return (lines[1:] if start else lines), start > 0


def from_file(system: System, path: str) -> Reading:
    """A file of syslog with the kernel's messages. Raises OSError.

    Its events are marked: any program may have the syslog daemon write a line that looks like the kernel's.
    """
    lines, wrapped = _tail_lines(system, path, FILE_LIMIT_BYTES)
    parser = KernelLogParser()
    times = LogTimes(server_zone(system, None, None), system.clock())
    oldest = newest = None
    last_line = None
    for line in lines:
        if " kernel: " not in line:
            continue
        last_line = line
        if oldest is not None and not any(needle in line for needle in NEEDLES):
            continue
        match = _SYSLOG_KERNEL.match(line)
        if match is None:
            continue
        moment = times.to_unix(match["time"])
        oldest = moment if oldest is None else oldest
        newest = moment
        parser.feed(moment, match["message"])
    last = _SYSLOG_KERNEL.match(last_line) if last_line else None
    if last:
        newest = times.to_unix(last["time"])
    for event in parser.events:
        event["from_file"] = True
    return Reading("file", path, parser.events, oldest, newest, wrapped)


def audit_events(system: System) -> list[Event]:
    """Denials that auditd keeps to itself: where it runs, the kernel's log has none of them."""
    try:
        lines, _cut = _tail_lines(system, AUDIT_FILE, AUDIT_LIMIT_BYTES)
    except OSError:
        return []
    parser = KernelLogParser()
    for line in lines:
        if _AUDIT_RECORD.match(line):
            parser.feed(None, line)
    return parser.events


def bounded(events: list[Event]) -> tuple[list[Event], bool]:
    """The newest events, so many of each kind and in all, oldest first; whether any were left out."""
    counts: dict[str, int] = {}
    kept: list[Event] = []
    for event in reversed(events):
        counts[event["event"]] = counts.get(event["event"], 0) + 1
        if counts[event["event"]] <= MAXIMUM_EVENTS_OF_A_KIND and len(kept) < MAXIMUM_EVENTS:
            kept.append(event)
    return kept[::-1], len(kept) < len(events)


def _merge(first: list[Event], second: list[Event]) -> list[Event]:
    """Events of two sources by time; those without a time keep their place at the front."""
    seen = {(event["event"], event.get("pid"), event["text"][-80:]) for event in first}
    extra = [event for event in second if (event["event"], event.get("pid"), event["text"][-80:]) not in seen]
    return sorted(first + extra, key=lambda event: event["time_unix"] or 0.0)


def _find(system: System, since_unix: float | None) -> tuple[Reading | None, list[str]]:
    """The best source, and why better ones would not do."""
    reasons: list[str] = []
    try:
        reading = from_kmsg(system)
        if reading.newest_unix is not None or reading.events:
            return reading, reasons
        reasons.append(f"{KMSG}: empty")
    except OSError as error:
        reasons.append(f"{KMSG}: {error.strerror or error}")
    answer = from_journal(system, since_unix)
    if isinstance(answer, Reading):
        return answer, reasons
    reasons.append(answer)
    for path in KERNEL_FILES:
        try:
            reading = from_file(system, path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                reasons.append(f"{path}: {error.strerror or error}")
            continue
        if reading.newest_unix is not None:
            return reading, reasons
    return None, reasons


def _older(system: System, until_unix: float, since_unix: float) -> Reading | None:
    """What a log on disk has from before the oldest message in the kernel's buffer."""
    answer = from_journal(system, since_unix, until_unix)
    if isinstance(answer, Reading):
        return answer
    for path in KERNEL_FILES:
        try:
            reading = from_file(system, path)
        except OSError:
            continue
        if reading.oldest_unix is not None:
            return reading
    return None


def collect_kernel_log(system: System, gaps: Gaps, since_unix: float | None = None) -> dict[str, t.Any]:
    """``host.kernel_log`` of docs/evidence.md.

    :param since_unix: older messages are of no interest (the start of the oldest server); None: all that there are.
    """
    reading, reasons = _find(system, since_unix)
    if reading is None:
        reason = "; ".join(reasons)
        gaps.add("the kernel log", reason, REMEDY)
        return {
            "available": False,
            "source": "none",
            "path": None,
            "reason": reason,
            "oldest_unix": None,
            "newest_unix": None,
            "truncated": False,
            "events": [],
        }
    events, oldest, wrapped = reading.events, reading.oldest_unix, reading.wrapped
    if reading.source == "kmsg" and wrapped and since_unix is not None and oldest is not None and since_unix < oldest:
        older = _older(system, oldest, since_unix)
        if older is not None:
            events = _merge([event for event in older.events if (event["time_unix"] or 0.0) < oldest], events)
            if older.oldest_unix is not None and older.oldest_unix < oldest:
                oldest, wrapped = older.oldest_unix, older.wrapped
    events = _merge(events, audit_events(system))
    if since_unix is not None:
        events = [event for event in events if event["time_unix"] is None or event["time_unix"] >= since_unix]
    events, cut = bounded(events)
    return {
        "available": True,
        "source": reading.source,
        "path": reading.path,
        "reason": None,
        "oldest_unix": oldest,
        "newest_unix": reading.newest_unix,
        "truncated": cut or wrapped,
        "events": events,
    }
