# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether a pid is still the process that it was: the number can have been given to another one meanwhile."""

from __future__ import annotations

import os

from ansible_collections.redisops.persistence.plugins.module_utils import _proc_text
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

# The start is counted from the boot, whose time is worked out anew from the clock each time it is read: it moves by
# a second where the clock is adjusted.
TOLERANCE_SECONDS = 2.0


def read_started_unix(system: System, pid: int) -> float | None:
    """When a process started, as ``process.started_unix`` of the evidence; None where there is no such process."""
    status = _proc_text.parse_stat(system.try_read_text(f"/proc/{pid}/stat") or "")
    boot_unix = _proc_text.parse_boot_time(system.try_read_text("/proc/stat") or "")
    if status is None or boot_unix is None:
        return None
    return round(boot_unix + status.start_ticks / os.sysconf("SC_CLK_TCK"), 2)


def why_not_the_same(system: System, pid: int, started_unix: float | None) -> str | None:
    """Why this is not (any more) the process meant; None where it is.

    Without ``started_unix`` any process of that number is the one meant.
    """
    if pid <= 0:
        return f"{pid} is no process id"
    now = read_started_unix(system, pid)
    if now is None:
        return f"There is no process {pid} (any more)"
    # The other way round "not a number" would pass for any process.
    if started_unix is not None and not abs(now - started_unix) <= TOLERANCE_SECONDS:
        return (
            f"Process {pid} is not the one that was looked at: it started at {now}, that one at {started_unix} "
            "(the process id was given away again)"
        )
    return None
