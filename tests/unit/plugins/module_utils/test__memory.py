# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.redisops.persistence.plugins.module_utils._memory import (
    collect_memory,
    collect_numa,
    collect_system_limits,
    parse_memory,
    parse_node_memory,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

MEMINFO = """MemTotal:       24683656 kB
MemFree:        23919624 kB
MemAvailable:   24241380 kB
SwapTotal:       2097148 kB
SwapFree:        2000000 kB
CommitLimit:    12341828 kB
Committed_AS:     254792 kB
AnonHugePages:      2048 kB
HugePages_Total:       3
HugePages_Free:        3
Hugepagesize:       2048 kB
Hugetlb:         1054720 kB
"""


def test_memory_in_bytes():
    memory = parse_memory(MEMINFO)
    assert memory == {
        "total_bytes": 24683656 * 1024,
        "available_bytes": 24241380 * 1024,
        "free_bytes": 23919624 * 1024,
        "swap_total_bytes": 2097148 * 1024,
        "swap_free_bytes": 2000000 * 1024,
        "commit_limit_bytes": 12341828 * 1024,
        "committed_bytes": 254792 * 1024,
        "anonymous_huge_pages_bytes": 2048 * 1024,
        "huge_pages_reserved_bytes": 1054720 * 1024,
    }


def test_huge_pages_of_an_old_kernel_are_count_times_size():
    old = MEMINFO[: MEMINFO.index("Hugetlb")]
    assert parse_memory(old)["huge_pages_reserved_bytes"] == 3 * 2048 * 1024
    assert parse_memory("")["huge_pages_reserved_bytes"] is None


def test_unreadable_memory_is_unknown_with_a_gap(tmp_path):
    gaps = Gaps()
    assert set(collect_memory(made_system(tmp_path, {}), gaps).values()) == {None}
    assert len(gaps.entries()) == 1


def test_numa_nodes_in_order(tmp_path):
    text = "Node {0} MemTotal:       {1} kB\nNode {0} MemFree:        1000 kB\nNode {0} MemUsed:  5 kB\n"
    nodes = {f"/sys/devices/system/node/node{n}/meminfo": text.format(n, 1000 + n) for n in (0, 2, 10)}
    numa = collect_numa(made_system(tmp_path, {**nodes, "/sys/devices/system/node/online": "0,2,10\n"}), Gaps())
    assert numa["node_count"] == 3
    assert [node["id"] for node in numa["nodes"]] == [0, 2, 10]
    assert numa["nodes"][2] == {"id": 10, "total_bytes": 1010 * 1024, "free_bytes": 1000 * 1024}


def test_kernel_without_numa(tmp_path):
    assert collect_numa(made_system(tmp_path, {}), Gaps()) == {"node_count": None, "nodes": []}
    assert parse_node_memory("") == (None, None)


def test_system_limits(tmp_path):
    system = made_system(
        tmp_path,
        {
            "/proc/loadavg": "0.42 0.30 0.21 3/417 12345\n",
            "/proc/sys/kernel/pid_max": "32768\n",
            "/proc/sys/kernel/threads-max": "192729\n",
            "/proc/sys/fs/file-nr": "487\t0\t9223372036854775807\n",
            "/proc/sys/fs/file-max": "9223372036854775807\n",
        },
    )
    assert collect_system_limits(system) == {
        "pid_max": 32768,
        "threads_max": 192729,
        "threads": 417,
        "files_max": 9223372036854775807,
        "files_open": 487,
    }
