# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about memory and processes: what a fork is charged, which limit is nearest, what copy-on-write may take.

The kernel's side is in mm/util.c (__vm_enough_memory), kernel/fork.c (copy_process, dup_mmap) and the memory and pids
controllers.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _save_memory
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_storage import estimate_dump
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    UNLIMITED,
    Mapping,
    all_of,
    any_of,
    dig,
    entries,
    finite,
    flag,
    integer,
    limit,
    mapping,
    negate,
    number,
    ratio,
    text,
)

# A group whose usage is this near its limit is at it: the charge that failed has been given back since.
AT_LIMIT_SHARE = 0.98
# Nodes of a machine are out of balance when one is nearly full while another has room.
NODE_FULL_SHARE = 0.05
NODE_ROOMY_SHARE = 0.2


def kernel_at_least_5_2(host: Mapping) -> bool | None:
    """Since 5.2 (commit 8c7829b04c52) mode 0 refuses only a single mapping beyond RAM + swap."""
    version = dig(host, "kernel_version")
    if not isinstance(version, (list, tuple)) or len(version) < 2:
        return None
    try:
        return (int(version[0]), int(version[1])) >= (5, 2)
    except (TypeError, ValueError):
        return None


def commit_headroom_bytes(case: Case) -> int | None:
    """Mode 2: how much may still be charged. CommitLimit - Committed_AS - the reserves (mm/util.c).

    The reserve for administrators doesn't count for a process with CAP_SYS_ADMIN; that for users is the smaller of
    1/32 of the process's own size and the setting.
    """
    memory, overcommit = mapping(case.host, "memory"), mapping(case.host, "overcommit")
    ceiling, committed = number(memory, "commit_limit_bytes"), number(memory, "committed_bytes")
    if ceiling is None or committed is None:
        return None
    capabilities = dig(case.process, "capabilities_effective")
    admin_kilobytes = number(overcommit, "admin_reserve_kilobytes") or 0
    if isinstance(capabilities, (list, tuple)) and "CAP_SYS_ADMIN" in capabilities:
        admin_kilobytes = 0
    user_bytes = (number(overcommit, "user_reserve_kilobytes") or 0) * 1024
    own_bytes = number(case.process, "virtual_bytes")
    reserve = admin_kilobytes * 1024 + (user_bytes if own_bytes is None else min(own_bytes / 32, user_bytes))
    return int(ceiling - committed - reserve)


def _commit(case: Case) -> dict[str, t.Any]:
    mode = integer(case.host, "overcommit", "mode")
    headroom = commit_headroom_bytes(case)
    accounted = number(case.process, "accounted_bytes")
    at_most = number(case.process, "private_writable_bytes")
    short: bool | None = None
    if mode is not None and mode != 2:
        short = False
    elif mode == 2 and headroom is not None:
        if accounted is not None:
            short = accounted > headroom
        elif at_most is not None and at_most <= headroom:
            # Even if every private mapping were charged it would fit. The other way round proves nothing: a jemalloc
            # server that started under mode 0 or 1 maps its heap without reserve.
            short = False
    memory = mapping(case.host, "memory")
    largest = number(case.process, "largest_private_mapping_bytes")
    total, swap = number(memory, "total_bytes"), number(memory, "swap_total_bytes")
    beyond: bool | None = None
    if largest is not None and total is not None:
        beyond = largest > total + (swap or 0)
    recent = kernel_at_least_5_2(case.host)
    refuses: bool | None
    if mode is not None and mode != 0:
        refuses = False
    elif beyond:
        refuses = all_of(mode == 0 if mode is not None else None, True)
    elif recent:
        refuses = all_of(None if mode is None else mode == 0, beyond)
    else:
        # Before 5.2: one mapping against what is free or can be freed at once.
        available, free_swap = number(memory, "available_bytes"), number(memory, "swap_free_bytes")
        over = None if largest is None or available is None else largest > available + (free_swap or 0)
        refuses = all_of(None if mode is None else mode == 0, over, negate(recent))
    return {
        "overcommit_mode": mode,
        "kernel_at_least_5_2": recent,
        "fork_accounted_bytes": finite(accounted),
        "commit_needed_bytes": finite(accounted) if mode == 2 else None,
        "commit_needed_at_most_bytes": finite(at_most) if mode == 2 else None,
        "commit_headroom_bytes": headroom if mode == 2 else None,
        "commit_short": short,
        "largest_mapping_bytes": finite(largest),
        "largest_mapping_over_memory": beyond,
        "heuristic_refuses": refuses,
    }


def _memory(case: Case) -> dict[str, t.Any]:
    killers = {str(mapping(attempt, "killer").get("kind")) for attempt in case.streak}
    answer = _save_memory.judge_memory(
        case.instance, case.host, case.now, case.attempts, estimate_dump(case).low, killers
    )
    group, limited = answer["group"], _save_memory.tightest_group(case.instance)[1]
    resident, total = answer["worst_bytes"], number(case.host, "memory", "total_bytes")
    known = [room for room in (answer["host_room_bytes"], answer["group_room_bytes"]) if room is not None]
    ceilings = [value for value in (total, group["limit_bytes"] if group else None) if value is not None]
    smallest = min(ceilings) if ceilings else None
    counts = [integer(entry, "oom_kill_count") for entry in entries(case.cgroups, "memory")[:1]]
    return {
        "resident_bytes": resident,
        "memory_limiting_cgroup": group,
        "cgroup_limits_memory": limited,
        "cgroup_memory_headroom_bytes": answer["group_room_bytes"],
        "cgroup_at_memory_limit": None if limited is None else _at_limit(group),
        "cgroup_oom_kill_count": counts[0] if counts else None,
        "host_memory_headroom_bytes": answer["host_room_bytes"],
        "memory_headroom_bytes": min(known) if known else None,
        "copy_on_write_seen_bytes": answer["seen_bytes"],
        "copy_on_write_expected_bytes": answer["expected_bytes"],
        "copy_on_write_cautious_bytes": answer["cautious_bytes"],
        "copy_on_write_worst_bytes": resident,
        "bytes_written_per_second": answer["bytes_per_second"],
        "save_expected_seconds": None if answer["seconds"] is None else round(answer["seconds"], 1),
        "dump_in_memory_bytes": answer["dump_in_memory_bytes"],
        "cgroup_memory_short": answer["cgroup_short"],
        "host_memory_short": answer["host_short"],
        "save_memory_short": answer["short"],
        "save_memory_why": None if answer["room_bytes"] is None else answer["why"],
        "memory_limit_bytes": finite(smallest),
        "resident_share": ratio(resident, smallest),
        "maxmemory_share": ratio(number(case.config, "maxmemory") or number(case.info, "maxmemory"), smallest),
    }


def _at_limit(group: Mapping | None) -> bool | None:
    if group is None:
        return False
    usage, headroom = number(group, "usage_bytes"), number(group, "headroom_bytes")
    if usage is None or headroom is None:
        return None
    # Room that only the page cache holds is room.
    return bool(headroom <= (1 - AT_LIMIT_SHARE) * group["limit_bytes"])


def nproc_applies(process: Mapping) -> bool | None:
    """kernel/fork.c: the limit doesn't hold for real uid 0, nor with CAP_SYS_RESOURCE or CAP_SYS_ADMIN."""
    uid = integer(process, "uid", "real")
    capabilities = dig(process, "capabilities_effective")
    if not isinstance(capabilities, (list, tuple)):
        return False if uid == 0 else None
    if uid is None:
        return None
    return uid != 0 and "CAP_SYS_RESOURCE" not in capabilities and "CAP_SYS_ADMIN" not in capabilities


def _process_limits(case: Case) -> dict[str, t.Any]:
    nproc = limit(case.process, "limits", "nproc", "soft")
    threads = number(case.process, "uid_threads")
    applies = nproc_applies(case.process)
    exhausted = all_of(
        applies,
        False if nproc == float("inf") else None if nproc is None or threads is None else threads >= nproc,
    )
    limits = mapping(case.host, "limits")
    group, group_limited, group_full = _limiting_pids_cgroup(case)
    host_threads = number(limits, "threads")
    ceilings = [value for value in (number(limits, "pid_max"), number(limits, "threads_max")) if value is not None]
    host_full = None if host_threads is None or not ceilings else host_threads >= min(ceilings)
    open_files, nofile = number(case.process, "open_files"), limit(case.process, "limits", "nofile", "soft")
    files_open, files_max = number(limits, "files_open"), number(limits, "files_max")
    cpu = limit(case.process, "limits", "cpu", "soft")
    return {
        "nproc_applies": applies,
        "nproc_limit": finite(nproc),
        "nproc_headroom": finite(None if not applies or nproc is None or threads is None else nproc - threads),
        "nproc_exhausted": exhausted,
        "pids_limiting_cgroup": group,
        "pids_cgroup_limited": group_limited,
        "pids_headroom": group["headroom"] if group else None,
        "pids_exhausted": any_of(group_full, host_full),
        "host_threads_headroom": finite(None if host_threads is None or not ceilings else min(ceilings) - host_threads),
        "files_exhausted": any_of(
            None if open_files is None or nofile is None else open_files >= nofile,
            None if files_open is None or files_max is None else files_open >= files_max,
        ),
        "cpu_limit_seconds": finite(cpu),
        "cpu_limited": None if cpu is None else cpu != float("inf"),
    }


def _limiting_pids_cgroup(
    case: Case,
) -> tuple[dict[str, t.Any] | None, bool | None, bool | None]:
    """The ancestor with the fewest pids left; whether any group limits them; whether one is full."""
    groups = entries(case.cgroups, "pids")
    if not groups:
        return None, None, None
    tightest: dict[str, t.Any] | None = None
    for entry in groups:
        ceiling, current = number(entry, "limit"), number(entry, "current")
        if entry.get("limit") == UNLIMITED or ceiling is None or current is None:
            continue
        headroom = int(ceiling - current)
        if tightest is None or headroom < tightest["headroom"]:
            tightest = {
                "path": entry.get("path"),
                "limit": int(ceiling),
                "current": int(current),
                "headroom": headroom,
                "max_event_count": integer(entry, "max_event_count"),
            }
    if tightest is not None:
        return tightest, True, bool(tightest["headroom"] <= 0)
    unknown = any(entry.get("limit") is None for entry in groups)
    return None, None if unknown else False, None if unknown else False


def _nodes(case: Case) -> dict[str, t.Any]:
    count = integer(case.host, "numa", "node_count")
    shares = [
        share
        for node in entries(case.host, "numa", "nodes")
        if (share := ratio(number(node, "free_bytes"), number(node, "total_bytes"))) is not None
    ]
    uneven = bool(shares) and min(shares) < NODE_FULL_SHARE and max(shares) > NODE_ROOMY_SHARE
    policy = text(case.process, "numa", "policy")
    return {
        "numa_least_free_share": min(shares) if shares else None,
        "numa_most_free_share": max(shares) if shares else None,
        "numa_imbalanced": None if count is None else count > 1 and (uneven or policy == "bind"),
    }


def _huge_pages(case: Case) -> dict[str, t.Any]:
    policy = text(case.host, "thp", "policy")
    enabled = flag(case.process, "thp_enabled")
    used = number(case.process, "anonymous_huge_pages_bytes")
    return {
        "thp_active": all_of(
            None if policy is None else policy == "always", enabled, None if used is None else used > 0
        ),
        "thp_possible": all_of(None if policy is None else policy == "always", enabled),
    }


def memory_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    return {**_commit(case), **_memory(case), **_process_limits(case), **_nodes(case), **_huge_pages(case)}
