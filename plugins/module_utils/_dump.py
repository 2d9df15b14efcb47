# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whose is the file in the dump's place? A save replaces it, whatever it is.

It is the server's own where this process wrote it or loaded it: then what is in memory came from it or went into it.
Every other file (another server's, a restored backup, the last good dump of a server that was started in another
directory) may be the last copy of something. Pure: what is read beforehand is handed in, and nothing of it is trusted.

What a save leaves (rdb.c, of Redis 6.2 to 8 and Valkey to 9.1): the header has the second in which the child began to
write; the file's time of modification is that of its last write; the rename, which sets the time of change, comes
before ``rdb_last_save_time``. A copy that keeps the time of modification (``cp -p``, ``mv``, a restore) keeps neither
the second in the header within the save's length nor the time of change.
"""

from __future__ import annotations

import re
import typing as t

HEADER_BYTES = 4096
AUX_FIELDS_LIMIT = 64
# Nothing that is counted or measured here is as large.
LARGEST_NUMBER = 2**63

# The second of a header and a log's are cut, not rounded; the child and its server read the clock one by one.
SECOND_SLACK = 1.5
# Times of files are those of the kernel's last tick.
TICK_SLACK = 0.1
# A start is known from the ticks since boot, or from whole seconds of uptime.
START_SLACK_SECONDS = 3.0
# The time of the evidence is that of its beginning; a save that was watched takes its time.
GATHERING_SECONDS = 600.0
# INFO was read before the file: a save that ended in between is no contradiction.
JUST_NOW_SECONDS = 10.0
# Time zones differ by quarters of an hour.
TIME_ZONE_STEP_SECONDS = 900
# From here on a file has more than what is in memory.
MUCH_LARGER_TIMES = 1.5
# A server without keys has a data set of tens of kilobytes, or none: below this, bytes alone prove nothing.
SMALL_FILE_BYTES = 1024 * 1024
# Levels at which a server logs its saves, loads and syncs.
TELLING_LOG_LEVELS = ("notice", "verbose", "debug")

# A save that fails here has replaced the file by a whole new one, and counts as none (7.0.3 and later).
REPLACED_STAGE = "dir_fsync"

LOOKED_AT = "Nothing is judged by times before it was seen that they are known."
WRITTEN_JUST_NOW = "It was written while this was looked at: a save has just ended, of whichever server."
TOUCHED = "It was moved, linked or changed since: another file may have taken the place of this server's own."
SYNCED_SINCE = (
    "A full sync from a master has replaced what is in memory since this file was {}: it is not the file's content."
)
MAY_HAVE_SYNCED = (
    "This process is or has been a replica (or that is not known), and no log that reaches back to when this file was "
    "{} shows that no full sync has replaced what is in memory since."
)

_MAGIC = re.compile(rb"(?:REDIS(\d{4})|VALKEY(\d{3}))")
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,32}\Z")
_DIGITS = re.compile(rb"\d{1,19}\Z")

# rdb.h
_OP_FUNCTION, _OP_AUX, _OP_RESIZE, _OP_SELECT, _OP_END = 0xF5, 0xFA, 0xFB, 0xFE, 0xFF

Mapping = t.Mapping[str, t.Any]


class DumpFacts(t.NamedTuple):
    """What the judgement rests on; each part may be missing (docs/evidence.md has the shapes).

    :ivar dump: DATA_DIRECTORY.dump. :ivar info: REDIS.info. :ivar started_unix: start of the process.
    :ivar now_unix: when this was read. :ivar version: REDIS.version. :ivar role: ``master`` or ``replica``.
    :ivar attempts: ATTEMPTs of the log. :ivar events: REDIS_LOG.events.
    :ivar process_id: the server's pid as its log has it.
    :ivar log_level: ``loglevel`` in force.
    :ivar place_as_started: whether ``dir`` and ``dbfilename`` are still the configuration file's.
    """

    dump: Mapping
    info: Mapping
    started_unix: float | None = None
    now_unix: float | None = None
    version: str | None = None
    role: str | None = None
    attempts: t.Sequence[Mapping] = ()
    events: t.Sequence[Mapping] = ()
    process_id: int | None = None
    log_level: str | None = None
    place_as_started: bool | None = None


class DumpJudgement(t.NamedTuple):
    """The answer.

    :ivar owner: ``own``, ``foreign``, ``unknown``, or ``none``: there is no file that a save could replace.
    :ivar saved_unix: when the file was written (its header's second, else its time of modification).
    :ivar keys_at_least: keys of its first database. :ivar much_larger: it has more than what is in memory; None where
        that can't be told. :ivar why: one sentence.
    """

    owner: str
    bytes: int | None
    saved_unix: float | None
    keys_at_least: int | None
    much_larger: bool | None
    why: str


# -- the header


class _Cursor:
    """Reads an RDB's first bytes. Raises ValueError for what is cut off or is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError("cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def length(self) -> tuple[int, bool]:
        """(length, whether it is the number of an encoding instead): rdbLoadLenByRef."""
        first = self.take(1)[0]
        kind = first >> 6
        if kind == 0:
            return first & 0x3F, False
        if kind == 1:
            return (first & 0x3F) << 8 | self.take(1)[0], False
        if kind == 3:
            return first & 0x3F, True
        if first == 0x80:
            return int.from_bytes(self.take(4), "big"), False
        if first == 0x81:
            return int.from_bytes(self.take(8), "big"), False
        raise ValueError("no length")

    def count(self) -> int:
        value, encoded = self.length()
        if encoded:
            raise ValueError("no count")
        return value

    def string(self) -> bytes:
        value, encoded = self.length()
        if not encoded:
            return self.take(value)
        if value in (0, 1, 2):
            return b"%d" % int.from_bytes(self.take(1 << value), "little", signed=True)
        if value == 3:
            # LZF: its content is not wanted.
            compressed = self.count()
            self.count()
            self.take(compressed)
            return b""
        raise ValueError("no string")


def parse_rdb_header(data: bytes) -> dict[str, t.Any] | None:
    """What the first bytes of an RDB say of it; None for what is no RDB. Never raises, whatever the bytes are.

    :param data: the beginning of the file, at most HEADER_BYTES of it are looked at.
    :return: {rdb_version, server_version, created_unix, used_memory_bytes, keys_at_least, database}, each but the first
        may be None. ``keys_at_least`` is the size of the first database, whose number is ``database``: 0 only where
        the file ends before any.
    """
    data = bytes(data[:HEADER_BYTES])
    magic = _MAGIC.match(data)
    if magic is None:
        return None
    header: dict[str, t.Any] = {
        "rdb_version": int(magic.group(1) or magic.group(2)),
        "server_version": None,
        "created_unix": None,
        "used_memory_bytes": None,
        "keys_at_least": None,
        "database": None,
    }
    cursor = _Cursor(data)
    try:
        cursor.take(magic.end())
        _read_fields(cursor, header)
    except ValueError:
        pass
    return header


def _read_fields(cursor: _Cursor, header: dict[str, t.Any]) -> None:
    for _field in range(AUX_FIELDS_LIMIT):
        code = cursor.take(1)[0]
        if code == _OP_AUX:
            _take_auxiliary(header, cursor.string(), cursor.string())
        elif code == _OP_FUNCTION:
            cursor.string()
        elif code == _OP_SELECT:
            header["database"] = _bounded(cursor.count())
        elif code == _OP_RESIZE:
            header["keys_at_least"] = _bounded(cursor.count())
            return
        else:
            if code == _OP_END:
                header["keys_at_least"] = 0
            return


def _take_auxiliary(header: dict[str, t.Any], name: bytes, value: bytes) -> None:
    if name in (b"redis-ver", b"valkey-ver"):
        text = value.decode("ascii", errors="replace")
        header["server_version"] = text if _VERSION.match(text) else None
    elif name in (b"ctime", b"used-mem"):
        field = "created_unix" if name == b"ctime" else "used_memory_bytes"
        # An AUX field is written as a string; what fits into 32 bits becomes a signed number there.
        header[field] = _bounded(int(value)) if _DIGITS.match(value) else _unsigned(value)


def _unsigned(value: bytes) -> int | None:
    """A number below 2 ** 32 that was written as a negative one; None for what is no such."""
    if not re.match(rb"-\d{1,10}\Z", value):
        return None
    number = int(value) + 2**32
    return number if 0 <= number < 2**32 else None


def _bounded(value: int) -> int | None:
    return value if value < LARGEST_NUMBER else None


# -- the facts out of an evidence document


def facts_of_instance(instance: Mapping, attempts: t.Sequence[Mapping], now_unix: float | None) -> DumpFacts:
    """The facts of one ``instance`` of the evidence (docs/evidence.md), with the attempts of its log."""
    redis, directory = _part(instance, "redis"), _part(instance, "data_directory")
    process, log = _part(instance, "process"), _part(instance, "redis_log")
    events = log.get("events")
    started = _number(redis, "started_unix")
    return DumpFacts(
        dump=_part(directory, "dump"),
        info=_part(redis, "info"),
        started_unix=_number(process, "started_unix") if started is None else started,
        now_unix=now_unix,
        version=_text(redis, "version"),
        role=_text(redis, "role"),
        attempts=attempts,
        events=[event for event in events if isinstance(event, t.Mapping)] if isinstance(events, list) else [],
        process_id=_whole(redis, "process_id"),
        log_level=_text(_part(redis, "config"), "loglevel"),
        place_as_started=is_place_as_started(_part(redis, "config"), redis.get("config_file_settings")),
    )


def is_place_as_started(config: Mapping, written: t.Any) -> bool | None:
    """Are ``dir`` and ``dbfilename`` in force still the configuration file's? None where either is not known."""
    pairs = [(_text(config, name), _text(written, name)) for name in ("dir", "dbfilename")]
    if pairs[1][1] is None and isinstance(written, t.Mapping) and pairs[0][1] is not None:
        pairs[1] = (pairs[1][0], "dump.rdb")
    if any(value is None for pair in pairs for value in pair):
        return None
    return all(str(now).rstrip("/") == str(then).strip('"').rstrip("/") for now, then in pairs)


def _part(data: t.Any, name: str) -> Mapping:
    value = data.get(name) if isinstance(data, t.Mapping) else None
    return value if isinstance(value, t.Mapping) else {}


# -- values of unknown origin


def _number(data: t.Any, name: str) -> float | None:
    value = data.get(name) if isinstance(data, t.Mapping) else None
    if isinstance(value, str) and re.match(r"-?\d{1,19}\Z", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < LARGEST_NUMBER else None


def _whole(data: t.Any, name: str) -> int | None:
    value = _number(data, name)
    return None if value is None else int(value)


def _text(data: t.Any, name: str) -> str | None:
    value = data.get(name) if isinstance(data, t.Mapping) else None
    return value if isinstance(value, str) else None


def _is_on(data: t.Any, name: str) -> bool:
    value = data.get(name) if isinstance(data, t.Mapping) else None
    return value in (1, True, "1", "yes")


# -- the judgement


def judge_dump(facts: DumpFacts) -> DumpJudgement:
    """Whose the file in the dump's place is, and whether it has more than what is in memory. Never raises."""
    return _Judge(facts).judge()


class _Window(t.NamedTuple):
    """When a save of this process ran. ``exact``: its beginning is known, too."""

    begin: float
    end: float
    exact: bool


class _Judge:
    def __init__(self, facts: DumpFacts) -> None:
        self.facts = facts
        self.dump = facts.dump if isinstance(facts.dump, t.Mapping) else {}
        self.info = facts.info if isinstance(facts.info, t.Mapping) else {}
        header = self.dump.get("header")
        self.header: Mapping = header if isinstance(header, t.Mapping) else {}
        self.created = _number(self.header, "created_unix")
        self.keys_at_least = _whole(self.header, "keys_at_least")
        self.modified = _number(self.dump, "modified_unix")
        self.changed = _number(self.dump, "changed_unix")
        self.size = _whole(self.dump, "size_bytes")
        self.started = _number({"at": facts.started_unix}, "at")
        self.now = _number({"at": facts.now_unix}, "at")
        self.last_save = _number(self.info, "rdb_last_save_time")

    def judge(self) -> DumpJudgement:
        absent = self._why_nothing_to_lose()
        if absent is not None:
            return DumpJudgement("none", None, None, None, None, absent)
        owner, why = self._owner()
        return DumpJudgement(
            owner,
            self.size,
            self.created if self.created is not None else self.modified,
            self.keys_at_least,
            self._is_much_larger(),
            why,
        )

    def _why_nothing_to_lose(self) -> str | None:
        if self.dump.get("exists") is False:
            return "There is no file in the dump's place."
        if self.dump.get("type") == "directory":
            return "In the dump's place is a directory, which a save can't replace."
        if self.dump.get("type") == "file" and self.size == 0:
            return "The file in the dump's place is empty: there is nothing in it to lose."
        return None

    def _owner(self) -> tuple[str, str]:
        if self.dump.get("exists") is not True:
            return "unknown", "The file in the dump's place could not be looked at."
        if self.dump.get("type") != "file":
            return "unknown", f"In the dump's place is no ordinary file ({_text(self.dump, 'type') or 'unknown'})."
        problem = self._why_times_say_nothing()
        if problem is not None:
            return "unknown", problem
        windows = self._saves()
        # What was loaded before a save of ours may be a backup by now: that save had other content.
        loaded = self._loaded_by_log(since=max((window.end for window in windows), default=None))
        # A sync that came as a stream right after a save has nearly the same age, and has left that save's file there.
        if loaded is True and not any(self._is_of(window) for window in windows):
            return self._owner_of_loaded()
        if windows:
            return self._owner_after_save(windows)
        if self._had_a_save() is None and loaded is None:
            return "unknown", "Whether this process has saved since its start is not known."
        return self._owner_without_save(loaded)

    def _why_times_say_nothing(self) -> str | None:
        if self.modified is None or self.started is None:
            return "The file's time or the server's start is not known."
        times = [self.started, self.last_save or 0.0]
        if self.now is not None and max(times) > self.now + GATHERING_SECONDS:
            return "The clock was set back: the server's times lie in the future, and prove nothing."
        if self.last_save is not None and 0 < self.last_save < self.started - START_SLACK_SECONDS:
            return "The clock was set: the server's last save lies before its start, and times prove nothing."
        return None

    def _of_second(self) -> str:
        return "" if self.created is None else f" (written from second {int(self.created)} on)"

    # -- saved by this process

    def _own_successes(self) -> list[Mapping]:
        return [
            attempt
            for attempt in self.facts.attempts
            if isinstance(attempt, t.Mapping)
            and (attempt.get("outcome") == "succeeded" or attempt.get("stage") == REPLACED_STAGE)
            and attempt.get("target") == "disk"
        ]

    def _had_a_save(self) -> bool | None:
        """Has this process saved? None where INFO leaves it open."""
        if self.started is None:
            raise AssertionError(LOOKED_AT)
        if self.last_save is None:
            return None
        if self.last_save > self.started + START_SLACK_SECONDS:
            return True
        # -1: no child was ever reaped. The status is that of the last one.
        seconds = _number(self.info, "rdb_last_bgsave_time_sec")
        return seconds is not None and seconds >= 0 and _text(self.info, "rdb_last_bgsave_status") == "ok"

    def _saves(self) -> list[_Window]:
        """Where the last save of this process may lie; the newest by the log, and what INFO says."""
        if self.started is None:
            raise AssertionError(LOOKED_AT)
        found = []
        for attempt in self._own_successes():
            ended, began = _number(attempt, "ended_unix"), _number(attempt, "started_unix")
            if attempt.get("before_restart") or ended is None or ended < self.started - SECOND_SLACK:
                continue
            is_counted = attempt.get("stage") != REPLACED_STAGE
            if is_counted and self.last_save is not None and abs(self.last_save - ended) > 1 + SECOND_SLACK:
                # An earlier save, or the log is not up to date: what counts is the last one.
                continue
            found.append(_Window(self.started if began is None else began, ended, began is not None))
        if self._had_a_save() and self.last_save is not None:
            seconds = _number(self.info, "rdb_last_bgsave_time_sec")
            is_last = _text(self.info, "rdb_last_bgsave_status") == "ok" and seconds is not None and seconds >= 0
            begin = self.last_save - (seconds or 0) - 1 if is_last else self.started
            found.append(_Window(max(begin, self.started), self.last_save + 1, is_last))
        return found

    def _owner_after_save(self, windows: list[_Window]) -> tuple[str, str]:
        if self.modified is None or self.started is None:
            raise AssertionError(LOOKED_AT)
        fitting = [window for window in windows if self._is_of(window)]
        if fitting:
            return self._owner_of_saved(fitting)
        end = max(window.end for window in windows)
        if self.modified > end + TICK_SLACK:
            if self._may_be_saving_now():
                return "unknown", WRITTEN_JUST_NOW
            return "foreign", (
                f"It was written {_duration(self.modified - end)} after this server's last save: by somebody else."
            )
        if self.modified < self.started - START_SLACK_SECONDS or self._is_older_than(windows):
            return "foreign", (
                "It is older than this server's last save: it was put there afterwards, or that save went elsewhere."
            )
        return "unknown", "This process has saved, and nothing shows that this file is that save's."

    def _owner_of_saved(self, windows: list[_Window]) -> tuple[str, str]:
        """Of a file whose times are those of the last save."""
        version = _text(self.header, "server_version")
        if version and self.facts.version and version != self.facts.version:
            return "foreign", f"It was written by version {version}, and this server is {self.facts.version}."
        if self.changed is None and self.created is None:
            return "unknown", "Neither its header nor the time of its last change could be read."
        events = self._events_of_process()
        at = self._save_in_log(events)
        # The rename of the save itself is its last change. Where the log and the header agree on its first second, the
        # owner, the mode or an attribute was changed since.
        is_told_by_header = at is not None and self.created is not None and any(window.exact for window in windows)
        is_touched = self.changed is not None and self.changed > max(window.end for window in windows) + TICK_SLACK
        if is_touched and not is_told_by_header:
            return "unknown", TOUCHED
        if at is None:
            begin = max(window.begin for window in windows)
            after = [event for event in events if event["time_unix"] >= begin]
        else:
            after = events[at + 1 :]
        problem = self._why_memory_is_another(after, at is not None, "written")
        if problem is not None:
            return "unknown", problem
        return "own", "Its times are those of this process's last save."

    def _save_in_log(self, events: list[Mapping]) -> int | None:
        """Where in the log the last save began; None where the log does not have it."""
        for end in reversed(range(len(events))):
            name = events[end].get("event")
            if self.last_save is None or abs(events[end]["time_unix"] - self.last_save) > 1 + SECOND_SLACK:
                continue
            if name == "child_saved":
                # By the server itself, in the foreground: nothing else happened meanwhile.
                return end
            if name == "save_succeeded":
                begins = (
                    at
                    for at in reversed(range(end))
                    if events[at].get("event") == "save_started" and events[at].get("target") == "disk"
                )
                return next(begins, None)
        return None

    # -- what is in memory may be a master's

    def _may_have_been_replica(self) -> bool:
        second = _text(self.info, "master_replid2")
        return self.facts.role != "master" or not second or second.strip("0") != ""

    def _why_memory_is_another(self, after: t.Sequence[Mapping], in_log: bool, done: str) -> str | None:
        """Why what is in memory may be another content than the file's; None where nothing says so.

        :param after: events of this process after the file was written or loaded. :param in_log: the log has that, too.
        :param done: what was done to the file.
        """
        undated = [event for event in self.facts.events if _number(event, "time_unix") is None]
        if any(event.get("event") == "full_sync_loaded" for event in [*after, *undated]):
            return SYNCED_SINCE.format(done)
        if self._may_have_been_replica() and not (in_log and self.facts.log_level in TELLING_LOG_LEVELS):
            return MAY_HAVE_SYNCED.format(done)
        return None

    def _is_of(self, window: _Window) -> bool:
        if self.modified is None:
            raise AssertionError(LOOKED_AT)
        end = window.end + TICK_SLACK
        if self.modified > end or self.modified < window.begin - SECOND_SLACK:
            return False
        if not window.exact and self.modified < window.end - 1 - SECOND_SLACK:
            # Only the end is known: the last write comes right before it.
            return False
        return self.created is None or window.begin - SECOND_SLACK <= self.created <= end

    def _is_older_than(self, windows: list[_Window]) -> bool:
        """Is this an older file, whichever of the windows is right?"""
        begins = [window.begin for window in windows if window.exact]
        if not begins:
            return False
        time = self.modified if self.created is None else min(self.created, self.modified or self.created)
        return time is not None and time < min(begins) - SECOND_SLACK

    def _may_be_saving_now(self) -> bool:
        """May a save of this process have replaced the file after INFO was read?"""
        if _is_on(self.info, "rdb_bgsave_in_progress"):
            return True
        return self.now is not None and self.modified is not None and self.modified >= self.now - JUST_NOW_SECONDS

    # -- loaded by this process

    def _events_of_process(self) -> list[Mapping]:
        if self.started is None:
            raise AssertionError(LOOKED_AT)
        found = []
        for event in self.facts.events:
            time, pid = _number(event, "time_unix"), _number(event, "pid")
            if time is None or time < self.started - START_SLACK_SECONDS or event.get("role") in ("C", "X"):
                continue
            if pid is None or self.facts.process_id in (None, pid):
                found.append(event)
        return found

    def _loaded_by_log(self, since: float | None) -> bool | None:
        """Does this process's log show that it has loaded this file last (True), or another or none (False)?"""
        events = self._events_of_process()
        if since is not None:
            events = [event for event in events if event["time_unix"] > since]
        seconds = []
        for event in events:
            time, age = _number(event, "time_unix"), _number(event, "age_seconds")
            if event.get("event") == "rdb_age" and time is not None and age is not None:
                seconds.append(time - age)
        if self.created is None:
            return None
        apart = [abs(second - self.created) for second in seconds]
        if apart and apart[-1] <= SECOND_SLACK:
            # An AOF's beginning has an age as well.
            return True if self._source_of_last_load(events) != "aof" else None
        if any(difference <= SECOND_SLACK for difference in apart):
            return None
        if any((difference + 2) % TIME_ZONE_STEP_SECONDS <= 4 for difference in apart):
            # The log's time zone may have been misread.
            return None
        if seconds:
            return False
        # Both ends of a start are there, and between them nothing was loaded.
        names = {event.get("event") for event in events}
        return False if {"server_started", "server_ready"} <= names and "db_loaded" not in names else None

    @staticmethod
    def _after_last_load(events: list[Mapping]) -> list[Mapping]:
        loads = [at for at, event in enumerate(events) if event.get("event") == "rdb_age"]
        return events[loads[-1] + 1 :] if loads else []

    def _source_of_last_load(self, events: list[Mapping]) -> str | None:
        """``rdb`` or ``aof`` at a start; None for what a master has sent."""
        for event in self._after_last_load(events):
            if event.get("event") == "db_loaded":
                return _text(event, "source")
            if event.get("event") == "full_sync_loaded":
                break
        return None

    def _owner_of_loaded(self) -> tuple[str, str]:
        """Of the file whose age is the last in the log."""
        events = self._events_of_process()
        after = self._after_last_load(events)
        if self._source_of_last_load(events) is None:
            # The first sync that ends is the one that has brought this file.
            ends = [at for at, event in enumerate(after) if event.get("event") == "full_sync_loaded"]
            after = after[ends[0] + 1 :] if ends else after
        problem = self._why_memory_is_another(after, True, "loaded")
        if problem is not None:
            return "unknown", problem
        return "own", f"This process has loaded it: its log has the age of this file{self._of_second()}."

    def _loaded_keys(self) -> int | None:
        """Keys that the last load found, expired ones too (7.0 and later)."""
        loaded = _whole(self.info, "rdb_last_load_keys_loaded")
        expired = _whole(self.info, "rdb_last_load_keys_expired")
        return None if loaded is None or expired is None else loaded + expired

    def _is_older_than_start(self) -> bool:
        """Was the file there before the start, and has nobody touched it since?"""
        if self.modified is None or self.started is None:
            raise AssertionError(LOOKED_AT)
        times = [self.modified, self.changed, self.modified if self.created is None else self.created]
        return all(time is not None and time < self.started + 1 + TICK_SLACK for time in times)

    def _owner_without_save(self, loaded: bool | None) -> tuple[str, str]:
        if self.modified is None or self.started is None:
            raise AssertionError(LOOKED_AT)
        if _is_on(self.info, "aof_enabled"):
            return self._owner_beside_aof()
        if loaded is False and self.keys_at_least != 0:
            return "foreign", "This process has neither written nor loaded it: its log shows another load, or none."
        problem = self._why_memory_is_another(self._events_of_process(), False, "loaded")
        if problem is not None:
            return "unknown", problem
        keys = self._loaded_keys()
        if keys is not None and self.keys_at_least is not None and keys < self.keys_at_least:
            return "foreign", (
                f"This process has written nothing and loaded {keys} keys; the file has at least {self.keys_at_least}."
            )
        if self.modified > self.started + START_SLACK_SECONDS:
            if self._may_be_saving_now():
                return "unknown", WRITTEN_JUST_NOW
            return "foreign", "It was written after this server's start, and this server has saved nothing since."
        if not self._is_older_than_start():
            return "unknown", (
                "It was changed, renamed or put here after this server's start, and no log shows that it was loaded."
            )
        return self._owner_of_untouched(keys)

    def _owner_of_untouched(self, keys: int | None) -> tuple[str, str]:
        """Of a file that was there before the start: what was loaded then?"""
        if keys is None:
            return "unknown", "No log and no counter shows that this process has loaded it at its start."
        if self.facts.place_as_started is True and keys == self.keys_at_least:
            return "own", (
                f"This process has loaded {keys} keys at its start, as many as this file has; it was in the configured "
                "place then, and is untouched since."
            )
        return "unknown", f"This process has loaded {keys} keys at its start, and nothing shows that it was this file."

    @staticmethod
    def _owner_beside_aof() -> tuple[str, str]:
        """A server with an AOF loads that at its start, and never looks at the dump."""
        return "unknown", "This server starts from its AOF; nothing shows that the AOF has what this file has."

    # -- what is in it

    def _is_much_larger(self) -> bool | None:
        """Has the file more than what is in memory? By its keys, and by its bytes."""
        by_keys, by_bytes = self._has_more_keys(), self._has_more_bytes()
        if by_keys or by_bytes:
            return True
        # Few bytes are no proof: they may be many keys beside a server that has lost them. And few keys are none: the
        # header counts one database.
        return None if by_keys is None or by_bytes is None else False

    def _has_more_keys(self) -> bool | None:
        """Has the file's first database more keys than the same one in memory?"""
        if self.keys_at_least is None:
            return None
        if self.keys_at_least == 0:
            return False
        database, counts = _whole(self.header, "database"), self.info.get("keys_by_database")
        if database is None or not isinstance(counts, t.Mapping):
            # No database has more keys than all together.
            in_all = _whole(self.info, "key_count")
            return True if in_all is not None and self.keys_at_least > in_all * MUCH_LARGER_TIMES else None
        in_memory = _whole(counts, str(database)) if str(database) in counts else 0
        return None if in_memory is None else self.keys_at_least > in_memory * MUCH_LARGER_TIMES

    def _has_more_bytes(self) -> bool | None:
        used, dataset = _number(self.info, "used_memory"), _number(self.info, "used_memory_dataset")
        if dataset is None or dataset < 0 or (used is not None and dataset > used):
            # It underflows on a young server: what can't be true is unknown.
            dataset = used
        if self.size is None or dataset is None:
            return None
        if self.size <= dataset * MUCH_LARGER_TIMES:
            return False
        return True if self.size >= SMALL_FILE_BYTES else None


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.0f} h"
