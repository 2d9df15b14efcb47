# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Memory, NUMA nodes and system-wide limits of the host."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import (
    field_bytes,
    field_integer,
    parse_fields,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

NODES_LIMIT = 1024
NODE_DIRECTORY = "/sys/devices/system/node"

# Names in the evidence and in /proc/meminfo (proc_meminfo(5)).
MEMORY_FIELDS = {
    "total_bytes": "MemTotal",
    "available_bytes": "MemAvailable",
    "free_bytes": "MemFree",
    "swap_total_bytes": "SwapTotal",
    "swap_free_bytes": "SwapFree",
    "commit_limit_bytes": "CommitLimit",
    "committed_bytes": "Committed_AS",
    "anonymous_huge_pages_bytes": "AnonHugePages",
}


def collect_memory(system: System, gaps: Gaps) -> dict[str, int | None]:
    """``host.memory``: bytes."""
    try:
        return parse_memory(system.read_text("/proc/meminfo"))
    except OSError as error:
        gaps.add_error("host.memory (/proc/meminfo)", error, "Mount /proc.")
        return parse_memory("")


def parse_memory(text: str) -> dict[str, int | None]:
    """/proc/meminfo. Pages set aside for hugetlb are no part of what CommitLimit is made from."""
    fields = parse_fields(text)
    memory = {name: field_bytes(fields, label) for name, label in MEMORY_FIELDS.items()}
    memory["huge_pages_reserved_bytes"] = _huge_pages_bytes(fields)
    return memory


def _huge_pages_bytes(fields: dict[str, str]) -> int | None:
    """All pools of huge pages (``Hugetlb``, 4.16 and newer), else that of the default size."""
    every_size = field_bytes(fields, "Hugetlb")
    if every_size is not None:
        return every_size
    count = field_integer(fields, "HugePages_Total")
    size = field_bytes(fields, "Hugepagesize")
    return None if count is None or size is None else count * size


def collect_numa(system: System, gaps: Gaps) -> dict[str, t.Any]:
    """``host.numa``; a kernel built without NUMA has no nodes to show: null."""
    names = [name for name in system.list_directory(NODE_DIRECTORY) if re.fullmatch(r"node\d+", name)]
    nodes = []
    for name in sorted(names, key=lambda node: int(node[4:]))[:NODES_LIMIT]:
        text = system.try_read_text(f"{NODE_DIRECTORY}/{name}/meminfo")
        if text is None:
            gaps.add(f"host.numa ({name})", "its meminfo can't be read", "Mount /sys.")
        total, free = parse_node_memory(text or "")
        nodes.append({"id": int(name[4:]), "total_bytes": total, "free_bytes": free})
    return {"node_count": len(names) or None, "nodes": nodes}


def parse_node_memory(text: str) -> tuple[int | None, int | None]:
    """Total and free bytes of a node (lines ``Node 0 MemTotal:  1234 kB``)."""
    fields = parse_fields(re.sub(r"(?m)^Node \d+ ", "", text))
    return field_bytes(fields, "MemTotal"), field_bytes(fields, "MemFree")


def collect_system_limits(system: System) -> dict[str, int | None]:
    """``host.limits``: processes, threads and open files of the whole machine, the limit and what is in use."""
    threads = re.search(r"/(\d+)", system.try_read_text("/proc/loadavg") or "")
    # Three numbers: open, free (always 0), the most that is allowed.
    files = (system.try_read_text("/proc/sys/fs/file-nr") or "").split()
    return {
        "pid_max": _read_integer(system, "/proc/sys/kernel/pid_max"),
        "threads_max": _read_integer(system, "/proc/sys/kernel/threads-max"),
        "threads": int(threads.group(1)) if threads else None,
        "files_max": _read_integer(system, "/proc/sys/fs/file-max"),
        "files_open": int(files[0]) if files and files[0].isdigit() else None,
    }


def _read_integer(system: System, path: str) -> int | None:
    text = (system.try_read_text(path) or "").strip()
    return int(text) if text.isdigit() else None
