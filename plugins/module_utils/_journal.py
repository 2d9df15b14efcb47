# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The systemd journal, read with journalctl in its JSON form, bounded in entries and time."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System

TIMEOUT_SECONDS = 5.0
# The environment in which journalctl writes nothing but its entries.
ENVIRONMENT = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "cat"}
REASON_LIMIT = 200


class JournalReading(t.NamedTuple):
    """Entries, oldest first, as journalctl's JSON has them; ``reason``: why there are none, where that is known."""

    entries: list[dict[str, t.Any]]
    reason: str | None


def parse_entries(output: str) -> list[dict[str, t.Any]]:
    """The entries of ``journalctl --output=json``: one object a line. A line that is cut or broken is left out."""
    entries = []
    for line in output.split("\n"):
        if not line.startswith("{"):
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def entry_time(entry: dict[str, t.Any]) -> float | None:
    """Seconds since the epoch at which an entry was written."""
    for name in ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"):
        value = entry.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            return int(value) / 1e6
    return None


def read_journal(
    system: System,
    matches: list[str],
    entries: int,
    since_unix: float | None = None,
    until_unix: float | None = None,
) -> JournalReading:
    """The newest entries that meet ``matches`` (arguments of journalctl), at most ``entries`` of them."""
    arguments = ["journalctl", "--no-pager", "--quiet", "--output=json", f"--lines={entries}"]
    if system.root != "/":
        arguments.append(f"--root={system.root}")
    if since_unix is not None:
        arguments.append(f"--since=@{int(since_unix)}")
    if until_unix is not None:
        arguments.append(f"--until=@{int(until_unix)}")
    result = system.run(arguments + matches, environment=ENVIRONMENT, timeout_seconds=TIMEOUT_SECONDS)
    if result.rc == 127:
        return JournalReading([], "journalctl is not installed")
    if result.rc == 124:
        return JournalReading([], f"journalctl gave no answer in {TIMEOUT_SECONDS:g} seconds")
    found = parse_entries(result.stdout)
    if found:
        return JournalReading(found, None)
    error = result.stderr.strip().split("\n")[0][:REASON_LIMIT]
    if error:
        return JournalReading([], error)
    if result.rc != 0:
        return JournalReading([], f"journalctl ended with {result.rc}")
    return JournalReading([], "the journal has no such entries")
