# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Reading the end of a log that may be of any size: backwards, in pieces, and no further than is of use."""

from __future__ import annotations

import collections
import gzip
import os
import re
import stat
import typing as t
import zlib

from ansible_collections.redisops.persistence.plugins.module_utils._read_as import list_directory, open_regular
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_events import (
    NEEDLES,
    SAVE_EVENTS,
    SAVE_NEEDLES,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_lines import Event, RedisLogParser
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, to_utf8

PIECE_BYTES = 64 * 1024
MAXIMUM_EVENTS = 500
# Without a single save event in `limit_bytes` (a verbose log), reading goes on to this many times as much.
EXTENSION = 4
# A line longer than this is no line of a log.
LONGEST_LINE_BYTES = 1024 * 1024
# Compressed logs can't be read from their end: bounded in what is unpacked.
COMPRESSED_LIMIT_BYTES = 8 * 1024 * 1024
UNPACKED_LIMIT_BYTES = 64 * 1024 * 1024
# Where the first and the last time of a log are looked for.
EDGE_BYTES = 8 * 1024


class NotALog(OSError):
    """The file is there, and can't be unpacked."""


class TailReading(t.NamedTuple):
    """What the end of a log holds. Times are seconds since the epoch; ``complete``: read to its beginning."""

    events: list[Event]
    size_bytes: int
    read_bytes: int
    complete: bool
    oldest_unix: float | None
    newest_unix: float | None
    form: str | None


def open_own(path: str) -> int:
    """A path of our own machine, as we see it."""
    return open_regular(System(), path)


Opener = t.Callable[[str], int]
"""A descriptor of the regular file at a path. Raises OSError."""


def lines_of_interest(data: bytes) -> bytes:
    """The lines that may hold an event, and those that belong to such a line: a few out of thousands.

    Looking for fixed strings in the whole costs a hundredth of taking every line apart.
    """
    ends_by_start: dict[int, int] = {}
    for needle, following in NEEDLES.items():
        position = data.find(needle)
        while position != -1:
            start = data.rfind(b"\n", 0, position) + 1
            for _unused in range(following + 1):
                end = data.find(b"\n", position)
                end = len(data) if end == -1 else end
                ends_by_start[start] = end
                start = position = end + 1
                if start >= len(data):
                    break
            position = data.find(needle, end)
    return b"\n".join(data[start : ends_by_start[start]] for start in sorted(ends_by_start))


class PieceReader:
    """Turns pieces of a log, handed over newest first, into the events of all of them, oldest first.

    :param new_parser: a parser for one piece, which reads forwards.
    :param keep_line: which lines to look at (None: all), for logs that several programs share.
    """

    def __init__(
        self, new_parser: t.Callable[[], RedisLogParser], keep_line: t.Callable[[str], bool] | None = None
    ) -> None:
        self._new_parser = new_parser
        self._keep_line = keep_line
        self.events: list[Event] = []
        self.oldest_unix: float | None = None
        self.newest_unix: float | None = None
        self.form: str | None = None
        self.has_save_event = False

    def _lines(self, data: bytes) -> list[str]:
        lines = [line.lstrip("\0") for line in to_utf8(data).split("\n")]
        return [line for line in lines if line and (self._keep_line is None or self._keep_line(line))]

    def _edge_time(self, lines: t.Iterable[str]) -> float | None:
        parser = self._new_parser()
        for line in lines:
            value = parser.line_time(line)
            if value is not None:
                self.form = self.form or parser.form
                return value
        return None

    def add(self, data: bytes, saves_only: bool = False) -> None:
        """One more piece, older than all before it, of whole lines; passed over if it has no save and must have."""
        if self.newest_unix is None:
            self.newest_unix = self._edge_time(reversed(self._lines(data[-EDGE_BYTES:])))
        oldest = self._edge_time(self._lines(data[:EDGE_BYTES]))
        if oldest is not None:
            self.oldest_unix = oldest
        if saves_only and not any(needle in data for needle in SAVE_NEEDLES):
            return
        parser = self._new_parser()
        events: list[Event] = []
        for line in self._lines(lines_of_interest(data)):
            events.extend(parser.feed(line))
        self.form = self.form or parser.form
        self.events[:0] = events
        self.has_save_event = self.has_save_event or any(event["event"] in SAVE_EVENTS for event in events)

    def enough(self, read_bytes: int, limit_bytes: int) -> bool:
        """Whether older pieces would add nothing of use, or too much time."""
        if len(self.events) >= MAXIMUM_EVENTS or read_bytes >= EXTENSION * limit_bytes:
            return True
        return self.has_save_event and read_bytes >= limit_bytes


def read_tail(
    path: str,
    new_parser: t.Callable[[], RedisLogParser],
    limit_bytes: int,
    keep_line: t.Callable[[str], bool] | None = None,
    opener: Opener = open_own,
) -> TailReading:
    """Events of the end of a file, whatever its size. ``path`` is what ``opener`` takes. Raises OSError."""
    reader = PieceReader(new_parser, keep_line)
    descriptor = opener(path)
    try:
        size = position = os.fstat(descriptor).st_size
        carried = b""
        while position > 0 and not reader.enough(size - position, limit_bytes):
            start = max(0, position - PIECE_BYTES)
            data = os.pread(descriptor, position - start, start) + carried
            position, carried = start, b""
            if start > 0:
                end_of_first = data.find(b"\n")
                if end_of_first == -1:
                    carried = data if len(data) < LONGEST_LINE_BYTES else b""
                    continue
                carried, data = data[: end_of_first + 1], data[end_of_first + 1 :]
            reader.add(data, saves_only=size - position > limit_bytes)
    finally:
        os.close(descriptor)
    return TailReading(
        reader.events, size, size - position, position == 0, reader.oldest_unix, reader.newest_unix, reader.form
    )


def read_compressed(
    path: str,
    new_parser: t.Callable[[], RedisLogParser],
    limit_bytes: int,
    keep_line: t.Callable[[str], bool] | None = None,
    opener: Opener = open_own,
) -> TailReading:
    """Events of the end of a gzip file, if it is small enough to be unpacked. Raises OSError."""
    descriptor = opener(path)
    with os.fdopen(descriptor, "rb") as handle:
        size = os.fstat(descriptor).st_size
        if size > COMPRESSED_LIMIT_BYTES:
            raise NotALog(0, "the compressed file is too large to be unpacked")
        blocks: collections.deque[bytes] = collections.deque(maxlen=limit_bytes // PIECE_BYTES + 1)
        unpacked = 0
        try:
            with gzip.GzipFile(fileobj=handle) as archive:
                while unpacked < UNPACKED_LIMIT_BYTES:
                    block = archive.read(PIECE_BYTES)
                    if not block:
                        break
                    unpacked += len(block)
                    blocks.append(block)
        except (EOFError, zlib.error) as error:
            raise NotALog(0, f"the compressed file is damaged: {error}") from error
    reader = PieceReader(new_parser, keep_line)
    data = b"".join(blocks)
    complete = len(data) == unpacked
    reader.add(data if complete else data[data.find(b"\n") + 1 :])
    return TailReading(reader.events, size, len(data), complete, reader.oldest_unix, reader.newest_unix, reader.form)


def last_written(system: System, path: str) -> tuple[list[str], float] | None:
    """The last lines of a file, and when it was last written to; None where it can't be read. Bounded."""
    try:
        descriptor = open_regular(system, path)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        data = os.pread(descriptor, EDGE_BYTES, max(0, status.st_size - EDGE_BYTES))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return to_utf8(data).split("\n"), status.st_mtime


def rotated_neighbour(system: System, path: str) -> str | None:
    """The newest rotated file of a log, by logrotate's namings; None where there is none."""
    directory, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    pattern = re.compile(
        rf"(?:{re.escape(name)}(?:\.[01]|[-.]\d{{8}}(?:[-.]?\d{{1,10}})?)|{re.escape(stem)}(?:\.1|-\d{{8}}(?:-?\d{{1,10}})?)"
        rf"{re.escape(extension)})(?:\.gz)?\Z"
    )
    found: list[tuple[float, str]] = []
    for entry, information in list_directory(system, directory):
        # No link: logrotate makes none, and it could lead anywhere.
        is_one = entry != name and pattern.match(entry) and stat.S_ISREG(information.st_mode)
        if is_one and information.st_size > 0:
            found.append((information.st_mtime, entry))
    return f"{directory}/{max(found)[1]}" if found else None


def read_log(
    system: System,
    path: str,
    new_parser: t.Callable[[], RedisLogParser],
    limit_bytes: int,
    keep_line: t.Callable[[str], bool] | None = None,
    needs_success: bool = True,
) -> TailReading:
    """Events of a log and, where it does not reach back to a save that succeeded, of its rotated neighbour.

    :param path: as the collectors name it (below ``system.root``). Raises OSError where there is nothing to read.
    """

    def opener(place: str) -> int:
        return open_regular(system, place)

    try:
        newest: TailReading | None = read_tail(path, new_parser, limit_bytes, keep_line, opener)
        failure: OSError | None = None
    except FileNotFoundError as error:
        newest, failure = None, error
    if newest is not None:
        reaches = any(event["event"] == "save_succeeded" for event in newest.events)
        if not needs_success or reaches or not newest.complete or len(newest.events) >= MAXIMUM_EVENTS:
            return newest
    older_path = rotated_neighbour(system, path)
    older: TailReading | None = None
    if older_path is not None:
        read = read_compressed if older_path.endswith(".gz") else read_tail
        try:
            older = read(older_path, new_parser, limit_bytes, keep_line, opener)
        except OSError:
            older = None
    if newest is None and older is None:
        raise failure if failure is not None else FileNotFoundError(2, "No such file or directory")
    if newest is None or older is None:
        return t.cast(TailReading, newest or older)
    return TailReading(
        older.events + newest.events,
        newest.size_bytes,
        older.read_bytes + newest.read_bytes,
        older.complete,
        newest.oldest_unix if older.oldest_unix is None else older.oldest_unix,
        older.newest_unix if newest.newest_unix is None else newest.newest_unix,
        newest.form or older.form,
    )
