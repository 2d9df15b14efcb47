# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Times of log lines: the server's own time zone, years that old versions leave out, hours that come twice."""

from __future__ import annotations

import calendar
import datetime
import io
import re
import struct
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._read_as import read_file
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

try:
    import zoneinfo
except ImportError:  # a minimal Python; the collector's own zone is then the best there is
    zoneinfo = None  # type: ignore[assignment]

DAY_SECONDS = 86400.0
# Every zone in use is a whole number of these from UTC, and two zones are 26 hours apart at most.
QUARTER_SECONDS = 900
LARGEST_ERROR_SECONDS = 26 * 3600
# A line's time is taken before it is written; the rest is for slow disks and the clock's ticks.
SAME_MOMENT_SECONDS = 5.0
# A zone file is 3 KiB at most in practice.
ZONE_FILE_LIMIT_BYTES = 256 * 1024

# strftime %b in the C locale: Redis sets LC_COLLATE and nothing else.
MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
if "Jan" not in MONTHS:  # a collector that runs in another locale
    MONTHS = {
        name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)
    }

_LEGACY = re.compile(r"(\d{1,2}) ([A-Z][a-z]{2})(?: (\d{4}))? (\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?\Z")
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?\Z")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9}))?(Z|[+-]\d{2}:?\d{2})?\Z")
_MILLISECONDS = re.compile(r"\d{12,14}\Z")


def zone_from_posix(rules: str) -> datetime.tzinfo | None:
    """The zone of a POSIX ``TZ`` string such as ``EST5EDT,M3.2.0,M11.1.0``.

    zoneinfo reads such rules only from the foot of a zone file (RFC 8536), so that one is made around them.
    """
    if zoneinfo is None or not rules.isascii() or "\n" in rules:
        return None
    header = struct.pack(">4sc15x6L", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    data = header + header + b"\n" + rules.encode("ascii") + b"\n"
    try:
        zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(data))
        zone.utcoffset(datetime.datetime(2024, 1, 1))
    except (ValueError, OSError, IndexError, struct.error):
        return None
    return zone


def zone_from_bytes(data: bytes) -> datetime.tzinfo | None:
    """The zone of a compiled zone file, or None where it is not one."""
    if zoneinfo is None:
        return None
    try:
        return zoneinfo.ZoneInfo.from_file(io.BytesIO(data))
    except (ValueError, OSError, IndexError, struct.error):
        return None


def _zone_from_file(system: System, path: str) -> datetime.tzinfo | None:
    try:
        return zone_from_bytes(read_file(system, path, ZONE_FILE_LIMIT_BYTES))
    except OSError:
        return None


def server_zone(system: System, pid: int | None, timezone_name: str | None) -> datetime.tzinfo | None:
    """The time zone in which a process writes local times.

    Its ``TZ`` decides, looked up in its own root; without one its ``/etc/localtime``, as tzset(3) does.
    None: not found, the collector's own zone is meant.
    """
    roots = [f"/proc/{pid}/root", ""] if pid is not None else [""]
    name = (timezone_name or "").lstrip(":")
    if timezone_name is not None and not name:
        return datetime.timezone.utc
    if name:
        paths = [name] if name.startswith("/") else [f"/usr/share/zoneinfo/{name}"]
        if ".." in name.split("/"):
            paths = []
        for root in roots:
            for path in paths:
                zone = _zone_from_file(system, root + path)
                if zone is not None:
                    return zone
        # A bare unknown name means UTC to tzset(3); rules with an offset mean themselves.
        return zone_from_posix(name) or datetime.timezone.utc
    for root in roots:
        zone = _zone_from_file(system, f"{root}/etc/localtime")
        if zone is not None:
            return zone
    return None


def is_local(text: str) -> bool:
    """Whether a time is written in the clock of its writer's zone, without saying which."""
    match = _ISO.match(text)
    return bool(_LEGACY.match(text) or _SYSLOG.match(text) or (match and match.group(8) is None))


def zone_error_seconds(assumed_unix: float, true_unix: float) -> int:
    """By how much a time is wrong because it was read in the wrong zone: 0 where that is not what sets the two apart.

    A server's TZ can't be read from it: setproctitle(3) uses the place of its environment. But a line reaches its file
    in the moment that it names, so that the two differ by the zones: a whole number of quarters of an hour.
    """
    difference = assumed_unix - true_unix
    error = round(difference / QUARTER_SECONDS) * QUARTER_SECONDS
    if abs(error) > LARGEST_ERROR_SECONDS or abs(difference - error) > SAME_MOMENT_SECONDS:
        return 0
    return error


def zone_by_last_write(
    zone: datetime.tzinfo | None, last_time: str, written_unix: float, now_unix: float
) -> datetime.tzinfo | None:
    """The zone in which a file's last line was written, given when the file was last written to."""
    assumed = LogTimes(zone, now_unix).to_unix(last_time)
    plain = LogTimes(datetime.timezone.utc, now_unix).to_unix(last_time)
    if assumed is None or plain is None or zone_error_seconds(assumed, written_unix) == 0:
        return zone
    offset = zone_error_seconds(plain, written_unix)
    return datetime.timezone(datetime.timedelta(seconds=offset)) if abs(offset) < DAY_SECONDS else zone


def _fraction(digits: str | None) -> float:
    return float(f"0.{digits}") if digits else 0.0


class LogTimes:
    """Turns the times of one log, in the order of its lines, into seconds since the epoch.

    :param zone: the server's zone; None means this process's.
    :param now_unix: the newest time that a line can have; decides the year where the log has none.
    """

    def __init__(self, zone: datetime.tzinfo | None, now_unix: float) -> None:
        self._zone = zone
        self._now_unix = now_unix
        self._previous: float | None = None

    def _local(self, fields: t.Sequence[int], fold: int) -> float | None:
        year, month, day, hour, minute, second = fields
        try:
            moment = datetime.datetime(year, month, day, hour, minute, min(second, 59), fold=fold)
            if self._zone is not None:
                return moment.replace(tzinfo=self._zone).timestamp()
            return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
        except (ValueError, OverflowError, OSError):
            return None

    def _from_local(self, year: int | None, fields: t.Sequence[int], fraction: float) -> float | None:
        if year is None:
            this_year = time.gmtime(self._now_unix).tm_year
            candidates = [
                self._local((candidate, *fields), 0) for candidate in (this_year + 1, this_year, this_year - 1)
            ]
            # 29 February may not exist in the nearest years; no older log than that is read without a year.
            past = [value for value in candidates if value is not None and value <= self._now_unix + DAY_SECONDS]
            value = past[0] if past else None
        else:
            value = self._local((year, *fields), 0)
            # The hour that daylight saving repeats: the later reading where the earlier one would go back.
            if value is not None and self._previous is not None and value < self._previous - 1800:
                later = self._local((year, *fields), 1)
                if later is not None and self._previous - 1800 <= later <= self._previous + 3600:
                    value = later
        return None if value is None else value + fraction

    def _parse(self, text: str) -> float | None:
        match = _LEGACY.match(text)
        if match:
            day, month_name, year, hour, minute, second, digits = match.groups()
            month = MONTHS.get(month_name)
            if month is None:
                return None
            fields = (month, int(day), int(hour), int(minute), int(second))
            return self._from_local(int(year) if year else None, fields, _fraction(digits))
        match = _ISO.match(text)
        if match:
            return self._parse_iso(match)
        if _MILLISECONDS.match(text):
            return int(text) / 1000.0
        match = _SYSLOG.match(text)
        if match:
            month_name, day, hour, minute, second, digits = match.groups()
            month = MONTHS.get(month_name)
            if month is None:
                return None
            fields = (month, int(day), int(hour), int(minute), int(second))
            return self._from_local(None, fields, _fraction(digits))
        return None

    def _parse_iso(self, match: re.Match[str]) -> float | None:
        year, month, day, hour, minute, second = (int(value) for value in match.groups()[:6])
        digits, offset = match.group(7), match.group(8)
        if offset is None:
            return self._from_local(year, (month, day, hour, minute, second), _fraction(digits))
        try:
            value = float(calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)))
            datetime.datetime(year, month, day, hour, minute, min(second, 59))
        except (ValueError, OverflowError):
            return None
        if offset != "Z":
            sign = -1 if offset[0] == "-" else 1
            value -= sign * (int(offset[1:3]) * 3600 + int(offset[-2:]) * 60)
        return value + _fraction(digits)

    def to_unix(self, text: str) -> float | None:
        """Seconds since the epoch of a time in any of the forms that Redis, Valkey, syslog and containers write."""
        value = self._parse(text)
        if value is not None:
            self._previous = value
        return value
