# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._cgroup import (
    collect_cgroups,
    overall_version,
    parse_limit,
    parse_membership,
    swap_limit_v1,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system, recorded_system


def test_version_1_of_a_real_host_beside_an_empty_version_2(tmp_path):
    gaps = Gaps()
    system = recorded_system(tmp_path, "valkey_9.1_saving_in_cgroup_v1")
    cgroups = collect_cgroups(system, 11282, gaps)
    assert cgroups["version"] == "hybrid"
    assert cgroups["path"] == "/redis.slice/cache.service"
    assert [entry["path"] for entry in cgroups["memory"]] == ["/redis.slice/cache.service", "/redis.slice", "/"]
    assert [entry["limit_bytes"] for entry in cgroups["memory"]] == ["unlimited", 199999488, "unlimited"]
    own = cgroups["memory"][0]
    assert own["usage_bytes"] > 0
    assert own["swap_limit_bytes"] == "unlimited"
    assert own["oom_kill_count"] == 0
    assert own["oom_group"] is None
    assert [entry["limit"] for entry in cgroups["pids"]] == [30, 50, "unlimited"]
    assert cgroups["pids"][0]["current"] == 7
    assert cgroups["pids"][-1]["current"] is None
    assert cgroups["truncated_at_namespace"] is False
    assert gaps.entries() == []


def test_version_2_limits_of_every_ancestor(tmp_path):
    cgroups = collect_cgroups(recorded_system(tmp_path, "cgroup_v2_service"), 812, Gaps())
    assert cgroups["version"] == 2
    service, group_slice, root = cgroups["memory"]
    assert service["path"] == "/db.slice/redis-server.service"
    assert service["limit_bytes"] == "unlimited"
    assert service["soft_limit_bytes"] == 943718400
    assert service["oom_group"] is True
    assert service["oom_kill_count"] == 3
    assert service["anonymous_bytes"] == 820000000
    assert group_slice["limit_bytes"] == 1073741824
    assert group_slice["swap_limit_bytes"] == 0
    assert root["limit_bytes"] == "unlimited"
    assert root["usage_bytes"] is None
    assert [entry["limit"] for entry in cgroups["pids"]] == [7, "unlimited", "unlimited"]
    assert cgroups["pids"][0]["max_event_count"] == 21
    assert cgroups["truncated_at_namespace"] is False


def test_version_2_kills_count_upwards_but_limits_count_where_they_were_met(tmp_path):
    service, group_slice, _root = collect_cgroups(recorded_system(tmp_path, "cgroup_v2_service"), 812, Gaps())["memory"]
    assert (group_slice["oom_kill_count"], group_slice["oom_event_count"], group_slice["max_event_count"]) == (
        3,
        7,
        512,
    )
    assert (service["oom_kill_count"], service["oom_event_count"], service["max_event_count"]) == (3, 0, 0)


def test_version_2_inside_a_container_sees_its_own_limit_and_says_that_there_may_be_more(tmp_path):
    cgroups = collect_cgroups(recorded_system(tmp_path, "cgroup_v2_container"), 1, Gaps())
    assert [entry["limit_bytes"] for entry in cgroups["memory"]] == [536870912]
    assert cgroups["memory"][0]["oom_event_count"] == 1  # a kernel without memory.events.local
    assert [entry["limit"] for entry in cgroups["pids"]] == [100]
    assert cgroups["truncated_at_namespace"] is True


def test_a_group_outside_the_namespace_is_a_gap(tmp_path):
    gaps = Gaps()
    cgroups = collect_cgroups(recorded_system(tmp_path, "cgroup_v2_container"), 7, gaps)
    assert cgroups["memory"] == [] and cgroups["pids"] == []
    assert cgroups["truncated_at_namespace"] is True
    assert "outside the collector's cgroup namespace" in gaps.entries()[0]["why"]


def test_version_1_mount_that_shows_one_group_as_its_root(tmp_path):
    cgroups = collect_cgroups(recorded_system(tmp_path, "cgroup_v1_docker"), 40, Gaps())
    assert cgroups["version"] == "hybrid"
    (memory,) = cgroups["memory"]
    assert memory["path"] == "/docker/4f3c"
    assert memory["limit_bytes"] == 268435456
    assert memory["swap_limit_bytes"] == 268435456
    assert memory["oom_kill_count"] == 4
    assert memory["max_event_count"] == 90210
    assert (memory["anonymous_bytes"], memory["file_bytes"]) == (250000000, 10000)
    assert memory["shared_memory_bytes"] == 4096
    assert cgroups["pids"] == [{"path": "/docker/4f3c", "limit": 64, "current": 64, "max_event_count": 3}]
    assert cgroups["truncated_at_namespace"] is True


def test_hierarchy_that_is_not_mounted_is_a_gap(tmp_path):
    gaps = Gaps()
    system = made_system(tmp_path, {"/proc/5/cgroup": "0::/a.service\n", "/proc/self/mountinfo": ""})
    cgroups = collect_cgroups(system, 5, gaps)
    assert cgroups["path"] == "/a.service"
    assert cgroups["memory"] == []
    assert {entry["why"] for entry in gaps.entries()} == {"/a.service: the hierarchy is not mounted"}


def test_process_that_ended(tmp_path):
    assert collect_cgroups(made_system(tmp_path, {}), 5, Gaps()) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0::/\n", 2),
        ("4:memory:/\n1:name=systemd:/init.scope\n", 1),
        ("4:memory:/\n0::/\n", "hybrid"),
        ("1:name=systemd:/\n0::/user.slice\n", 2),
    ],
)
def test_overall_version(text, version):
    assert overall_version(parse_membership(text)) == version


def test_membership_of_a_removed_group_and_of_joined_controllers():
    membership = parse_membership("8:cpu,cpuacct:/a:b (deleted)\n")
    assert membership.v1_paths == {"cpu": "/a:b", "cpuacct": "/a:b"}
    assert membership.v2_path is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max\n", "unlimited"),
        ("9223372036854771712\n", "unlimited"),  # pages of 4 KiB
        ("9223372036854710272\n", "unlimited"),  # pages of 64 KiB
        ("1073741824\n", 1073741824),
        ("0\n", 0),
        ("", None),
    ],
)
def test_parse_limit(text, limit):
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    ("limit", "both", "swap"), [(100, 300, 200), (100, "unlimited", "unlimited"), ("unlimited", None, None)]
)
def test_swap_limit_of_version_1(limit, both, swap):
    assert swap_limit_v1(limit, both) == swap
