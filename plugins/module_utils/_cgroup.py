# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Memory and process limits of the control groups above a server (CGROUPS of docs/evidence.md).

File names and meanings: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst of the kernel.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._mounts import Mount, parse_line
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import (
    INITIAL_NAMESPACE_INODES,
    try_read_namespace,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

ANCESTORS_LIMIT = 32
MOUNTINFO_LIMIT_BYTES = 8 * 1024 * 1024
# A version 1 limit that is not set reads as the largest multiple of the page size that a counter holds:
# 9223372036854771712 with pages of 4 KiB (mm/page_counter.c); larger pages give a little less.
UNLIMITED_V1_BYTES = 2**63 - 2**21
REMEDY = "Run on the host itself, as root (become: true), with /sys/fs/cgroup mounted."

Entry = dict[str, t.Any]


class Membership(t.NamedTuple):
    """/proc/PID/cgroup: the path of each version 1 controller, and the version 2 path where there is one."""

    v1_paths: dict[str, str]
    v2_path: str | None


class Group(t.NamedTuple):
    """A control group: its path as /proc/PID/cgroup writes it, its directory, whether it is the topmost one seen."""

    path: str
    directory: str
    is_top: bool


class Hierarchy(t.NamedTuple):
    """The group of a process and its ancestors, in the hierarchy that has one controller."""

    version: int
    path: str
    groups: list[Group]
    truncated: bool


def collect_cgroups(system: System, pid: int, gaps: Gaps) -> dict[str, t.Any] | None:
    """CGROUPS of docs/evidence.md; None for a process that ended, and on a kernel without control groups."""
    text = system.try_read_text(f"/proc/{pid}/cgroup")
    if not text:
        return None
    membership = parse_membership(text)
    mounts = read_cgroup_mounts(system)
    namespaced = in_cgroup_namespace(system)
    memory = find_hierarchy(system, membership, mounts, "memory", namespaced, gaps)
    pids = find_hierarchy(system, membership, mounts, "pids", namespaced, gaps)
    if memory is None and pids is None:
        return None
    return {
        "version": overall_version(membership),
        "path": memory.path if memory else pids.path if pids else None,
        "memory": [memory_entry(system, memory.version, group) for group in memory.groups] if memory else [],
        "pids": [pids_entry(system, group) for group in pids.groups] if pids else [],
        "truncated_at_namespace": any(hierarchy.truncated for hierarchy in (memory, pids) if hierarchy),
    }


def parse_membership(text: str) -> Membership:
    """Lines ``ID:CONTROLLERS:PATH``. Named hierarchies without a controller (``name=systemd``) are left out."""
    v1_paths = {}
    v2_path = None
    for line in text.splitlines():
        identifier, _colon, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if path.endswith(" (deleted)"):
            path = path[: -len(" (deleted)")]
        if identifier == "0" and not controllers:
            v2_path = path
        for controller in controllers.split(","):
            if controller and not controller.startswith("name="):
                v1_paths[controller] = path
    return Membership(v1_paths, v2_path)


def overall_version(membership: Membership) -> int | str:
    """1, 2, or ``hybrid``: controllers of version 1 beside a version 2 hierarchy."""
    if not membership.v1_paths:
        return 2
    return 1 if membership.v2_path is None else "hybrid"


def read_cgroup_mounts(system: System) -> list[Mount]:
    """The mounts of control groups that the collector can reach; empty where there are none."""
    try:
        content = system.read_bytes("/proc/self/mountinfo", MOUNTINFO_LIMIT_BYTES)
    except OSError:
        return []
    lines = [line for line in content.split(b"\n") if b" - cgroup" in line]
    return [mount for mount in map(parse_line, lines) if mount is not None and mount.type in ("cgroup", "cgroup2")]


def in_cgroup_namespace(system: System) -> bool:
    """Whether the collector's paths start at a group of its own instead of the machine's root group."""
    inode = try_read_namespace(system, "self", "cgroup")
    return inode is not None and inode != INITIAL_NAMESPACE_INODES["cgroup"]


def find_hierarchy(
    system: System, membership: Membership, mounts: list[Mount], controller: str, namespaced: bool, gaps: Gaps
) -> Hierarchy | None:
    """Where a controller's groups of the process lie; None, with a gap, where they can't be reached."""
    if controller in membership.v1_paths:
        version, path = 1, membership.v1_paths[controller]
        candidates = [mount for mount in mounts if mount.type == "cgroup" and controller in mount.super_options]
    elif membership.v2_path is not None:
        version, path = 2, membership.v2_path
        candidates = [mount for mount in mounts if mount.type == "cgroup2"]
    else:
        return None
    what = f"cgroups ({controller} limits of the server's control group)"
    if path.startswith("/.."):
        gaps.add(what, f"the group {path} lies outside the collector's cgroup namespace", REMEDY)
        return Hierarchy(version, path, [], True)
    # With several mounts, the one that shows most of the hierarchy.
    for mount in sorted(candidates, key=lambda candidate: len(candidate.file_system_root)):
        groups = groups_below(mount, path)
        if groups and system.exists(groups[0].directory):
            return Hierarchy(version, path, groups, namespaced or mount.file_system_root != "/")
    why = "its directory is not there" if candidates else "the hierarchy is not mounted"
    gaps.add(what, f"{clean_text(path)}: {why}", REMEDY)
    return Hierarchy(version, path, [], False)


def groups_below(mount: Mount, path: str) -> list[Group]:
    """The group ``path`` and its ancestors as far as the mount shows them; empty where it lies outside of it."""
    root = mount.file_system_root
    if path != root and not path.startswith(root.rstrip("/") + "/"):
        return []
    groups = []
    while len(groups) < ANCESTORS_LIMIT:
        inside = posixpath.relpath(path, root)
        groups.append(Group(path, posixpath.normpath(posixpath.join(mount.mount_point, inside)), path == root))
        if path == root:
            break
        path = posixpath.dirname(path)
    return groups


def memory_entry(system: System, version: int, group: Group) -> Entry:
    """One entry of ``memory``, the schema's names for either version's files."""
    entry = _memory_v1(system, group.directory) if version == 1 else _memory_v2(system, group)
    return {"path": clean_text(group.path), **entry}


def _memory_v1(system: System, directory: str) -> Entry:
    limit = _read_limit(system, f"{directory}/memory.limit_in_bytes")
    stat = _read_counters(system, f"{directory}/memory.stat")
    out_of_memory = _read_counters(system, f"{directory}/memory.oom_control")
    return {
        "limit_bytes": limit,
        "soft_limit_bytes": _read_limit(system, f"{directory}/memory.soft_limit_in_bytes"),
        "usage_bytes": _read_integer(system, f"{directory}/memory.usage_in_bytes"),
        "swap_limit_bytes": swap_limit_v1(limit, _read_limit(system, f"{directory}/memory.memsw.limit_in_bytes")),
        "oom_kill_count": out_of_memory.get("oom_kill"),  # 4.13 and newer
        "oom_event_count": None,
        "max_event_count": _read_integer(system, f"{directory}/memory.failcnt"),
        "anonymous_bytes": stat.get("total_rss"),
        "file_bytes": stat.get("total_cache"),
        "shared_memory_bytes": stat.get("total_shmem"),
        "oom_group": None,
    }


def swap_limit_v1(limit: int | str | None, memory_and_swap_limit: int | str | None) -> int | str | None:
    """Version 1 limits memory and swap together; what is left for swap alone."""
    if isinstance(limit, int) and isinstance(memory_and_swap_limit, int):
        return max(0, memory_and_swap_limit - limit)
    return memory_and_swap_limit


def _memory_v2(system: System, group: Group) -> Entry:
    directory = group.directory
    # `events` counts for the group and everything below it: every kill is seen from the ancestors too. Which
    # level's limit was met is what `events.local` tells (5.2 and newer).
    events = _read_counters(system, f"{directory}/memory.events")
    local = _read_counters(system, f"{directory}/memory.events.local") or events
    stat = _read_counters(system, f"{directory}/memory.stat")
    oom_group = _read_integer(system, f"{directory}/memory.oom.group")
    is_root = _is_v2_root(system, group)
    return {
        "limit_bytes": "unlimited" if is_root else _read_limit(system, f"{directory}/memory.max"),
        "soft_limit_bytes": "unlimited" if is_root else _read_limit(system, f"{directory}/memory.high"),
        "usage_bytes": _read_integer(system, f"{directory}/memory.current"),
        "swap_limit_bytes": "unlimited" if is_root else _read_limit(system, f"{directory}/memory.swap.max"),
        "oom_kill_count": events.get("oom_kill"),
        "oom_event_count": local.get("oom"),
        "max_event_count": local.get("max"),
        "anonymous_bytes": stat.get("anon"),
        "file_bytes": stat.get("file"),
        "shared_memory_bytes": stat.get("shmem"),
        "oom_group": None if oom_group is None else oom_group == 1,
    }


def pids_entry(system: System, group: Group) -> Entry:
    """One entry of ``pids``; both versions have the same files. The root group has no limit and no files."""
    limit = _read_limit(system, f"{group.directory}/pids.max")
    if limit is None and group.path == "/" and group.is_top and not system.exists(f"{group.directory}/cgroup.events"):
        limit = "unlimited"
    return {
        "path": clean_text(group.path),
        "limit": limit,
        "current": _read_integer(system, f"{group.directory}/pids.current"),
        "max_event_count": _read_counters(system, f"{group.directory}/pids.events").get("max"),
    }


def _is_v2_root(system: System, group: Group) -> bool:
    """The machine's root group has no limits, and no cgroup.events; the root of a namespace has both."""
    return group.path == "/" and group.is_top and not system.exists(f"{group.directory}/cgroup.events")


def parse_limit(text: str) -> int | str | None:
    """A limit: bytes or a count, or ``unlimited`` (version 2 writes ``max``, version 1 a number beyond all memory)."""
    text = text.strip()
    if text == "max":
        return "unlimited"
    if not text.isdigit():
        return None
    return "unlimited" if int(text) >= UNLIMITED_V1_BYTES else int(text)


def parse_counters(text: str) -> dict[str, int]:
    """Lines ``NAME NUMBER`` (memory.stat, memory.events, memory.oom_control, pids.events)."""
    counters = {}
    for line in text.splitlines():
        name, _space, number = line.partition(" ")
        if number.strip().isdigit():
            counters[name] = int(number)
    return counters


def _read_limit(system: System, path: str) -> int | str | None:
    return parse_limit(system.try_read_text(path) or "")


def _read_counters(system: System, path: str) -> dict[str, int]:
    return parse_counters(system.try_read_text(path) or "")


def _read_integer(system: System, path: str) -> int | None:
    text = (system.try_read_text(path) or "").strip()
    return int(text) if text.isdigit() else None
