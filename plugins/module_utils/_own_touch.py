# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The time at which somebody else last changed a dump: a second name that we gave it and took away changes it as well.

A save that failed leaves its file in place with a new time of change, as it was held by a second name meanwhile. A note
in memory on the host says so: without it the next run would find that somebody had moved or linked the file.
"""

from __future__ import annotations

import json
import os

from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import (
    directories,
    directory_problem,
    is_trusted_directory,
    read_own_file,
    replace_file,
)

NANOSECONDS = 1_000_000_000


def changed_ns(status: os.stat_result) -> int:
    """When anybody but us has last changed the file, in nanoseconds since the epoch."""
    for directory in directories():
        if not is_trusted_directory(directory):
            continue
        try:
            note = json.loads(read_own_file(os.path.join(directory, _note_name(status))) or "")
            before, after = int(note["before_ns"]), int(note["after_ns"])
        except (KeyError, TypeError, ValueError):
            continue
        if after == status.st_ctime_ns and before < after:
            return before
    return status.st_ctime_ns


def changed_unix(status: os.stat_result) -> float:
    """The same in seconds since the epoch."""
    ours = changed_ns(status)
    return status.st_ctime if ours == status.st_ctime_ns else ours / NANOSECONDS


def note_touch(before_ns: int, status: os.stat_result) -> None:
    """Write down that the last change of the file was ours. Where it can't be kept the file counts as changed."""
    note = json.dumps({"before_ns": before_ns, "after_ns": status.st_ctime_ns})
    for directory in directories():
        path = os.path.join(directory, _note_name(status))
        if directory_problem(directory, directory) is None and replace_file(path, note) is None:
            return


def _note_name(status: os.stat_result) -> str:
    return f"touched-{status.st_dev:x}-{status.st_ino:x}.json"
