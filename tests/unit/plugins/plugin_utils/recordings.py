# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings from before the evidence said who else uses a data directory, and who has decided what a server is.

The lab and the systemd hosts that were recorded had one server in each directory, started by root with a program and a
configuration file of root's, or by a unit. A recording without these blocks is read as one that says so; what a
document without them means is tested for itself (``test_plan.py``).
"""

from __future__ import annotations

import typing as t

Recording = dict[str, t.Any]


def say_trusted_and_alone(evidence: Recording) -> Recording:
    """Add the blocks where the host was looked at and they are missing; the same document."""
    is_root = (evidence.get("host") or {}).get("collector", {}).get("root") is not False
    for instance in evidence["instances"]:
        process, directory = instance.get("process"), instance.get("data_directory")
        if process and is_root and "trust" not in process:
            by = "unit" if instance.get("systemd") else "files"
            process["trust"] = {"trusted": True, "by": by, "why": "as it was recorded"}
        if directory and is_root and "users" not in directory:
            directory["users"] = {"complete": True, "processes": []}
            directory["foreign_files"] = {"complete": True, "count": 0, "examples": []}
    return evidence
