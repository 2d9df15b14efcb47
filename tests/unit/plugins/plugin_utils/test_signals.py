# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic: each signal at its edges, and unknown where an input is."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import build_case, diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import load_rules
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals import compute_signals
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import (
    parse_save_points,
    parse_size,
    version_numbers,
)
from evidence_factory import (
    GIB,
    MIB,
    NOW,
    STARTED,
    Document,
    change,
    child_line,
    evidence,
    failed_child,
    failing,
    filesystem,
    log_event,
    of_instance,
    signalled_child,
)

RULES = load_rules()


def case_of(document: Document) -> Case:
    return build_case(document["instances"][0], document["instances"][1:], document["host"], NOW)


def signals_of(document: Document) -> dict[str, t.Any]:
    return compute_signals(case_of(document))


def after(changes: Document, document: Document | None = None) -> Document:
    document = document or evidence()
    for path, value in changes.items():
        document = change(document, path, value) if path.startswith("host/") else of_instance(document, path, value)
    return document


# Save points, versions, sizes


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("3600 1 300 100", [{"seconds": 3600, "changes": 1}, {"seconds": 300, "changes": 100}]),
        ("60 0", [{"seconds": 60, "changes": 0}]),
        ("", []),
        ('""', []),
        ("3600", None),
        ("a b", None),
        (None, None),
    ],
)
def test_save_points(text: str | None, points: t.Any) -> None:
    assert parse_save_points(text) == points


def test_versions() -> None:
    assert version_numbers("7.0.15") == (7, 0, 15)
    assert version_numbers("8.0-rc1") == (8, 0, 0)
    assert version_numbers("255.255.255") == (255, 255, 255)
    assert version_numbers("unstable") is None
    assert version_numbers(None) is None


def test_sizes() -> None:
    assert [parse_size(text) for text in ("1gb", "1g", "100", "5mb", "x", "")] == [GIB, 10**9, 100, 5 * MIB, None, None]


@pytest.mark.parametrize(
    ("changes", "seconds", "met"),
    [(1, 3600, False), (1, 3601, True), (100, 301, True), (99, 301, False), (10_000, 61, True), (0, 99_999, False)],
)
def test_a_save_point_needs_more_than_its_seconds(changes: int, seconds: int, met: bool) -> None:
    document = after(
        {"redis/info/rdb_changes_since_last_save": changes, "redis/info/rdb_last_save_time": NOW - seconds}
    )
    assert signals_of(document)["save_points_met"] is met


def test_the_expected_interval_is_that_of_the_changes_that_wait() -> None:
    document = after({"redis/info/rdb_changes_since_last_save": 150, "redis/info/rdb_last_save_time": NOW - 900})
    signals = signals_of(document)
    assert signals["expected_save_interval_seconds"] == 300
    assert signals["save_overdue_times"] == 3.0


# Did fork() fail?


@pytest.mark.parametrize(
    ("info", "failed"),
    [
        ({"rdb_last_bgsave_time_sec": -1}, True),
        # A SAVE counts as an attempt and forks nothing: 11 attempts and 10 forks can be that.
        ({"rdb_saves": 11, "total_forks": 10}, None),
        ({"rdb_saves": 10, "total_forks": 12}, None),
        ({"rdb_saves_consecutive_failures": 0}, True),
        ({"rdb_saves_consecutive_failures": 3}, None),
        ({"rdb_last_bgsave_status": "ok", "rdb_last_bgsave_time_sec": -1}, None),
    ],
)
def test_fork_failures_without_a_log(info: Document, failed: bool | None) -> None:
    document = after(
        {f"redis/info/{name}": value for name, value in info.items()},
        failing() if "rdb_last_bgsave_status" not in info else evidence(),
    )
    assert signals_of(document)["fork_failed_by_counters"] is failed


@pytest.mark.parametrize(("microseconds", "failed"), [(14, True), (900, False), (0, None)])
def test_fork_failures_before_7_0_show_in_the_time_of_the_fork(microseconds: int, failed: bool | None) -> None:
    document = after(
        {
            "redis/version": "6.2.16",
            "redis/compatible_version": "6.2.16",
            "redis/info/rdb_saves": None,
            "redis/info/latest_fork_usec": microseconds,
        },
        failing(),
    )
    assert signals_of(document)["fork_failed_by_counters"] is failed


def test_the_time_of_another_fork_says_nothing_of_the_save() -> None:
    old = {"redis/version": "6.2.16", "redis/compatible_version": "6.2.16", "redis/info/rdb_saves": None}
    assert signals_of(after({**old, "redis/info/aof_enabled": 1}, failing()))["fork_failed_by_counters"] is None
    assert signals_of(after({**old, "redis/info/connected_slaves": 1}, failing()))["fork_failed_by_counters"] is None
    refused = {**old, "redis/info/aof_enabled": 1, "redis/info/latest_fork_usec": 14}
    assert signals_of(after(refused, failing()))["fork_failed_by_counters"] is True


# Memory


def test_headroom_of_the_commit_limit() -> None:
    document = after({"host/overcommit/mode": 2})
    # 4 GiB - 2 GiB - 8 MiB for administrators - the smaller of 2 GiB / 32 and 128 MiB.
    assert signals_of(document)["commit_headroom_bytes"] == 2 * GIB - 8 * MIB - 64 * MIB
    privileged = of_instance(document, "process/capabilities_effective", ["CAP_SYS_ADMIN"])
    assert signals_of(privileged)["commit_headroom_bytes"] == 2 * GIB - 64 * MIB
    assert signals_of(evidence())["commit_headroom_bytes"] is None


def test_what_is_charged_is_what_is_accounted() -> None:
    base = after({"host/overcommit/mode": 2, "host/memory/committed_bytes": int(3.5 * GIB)})
    # A jemalloc server that started under mode 0: a large heap, hardly any of it accounted.
    unaccounted = of_instance(base, "process/accounted_bytes", 10 * MIB)
    assert signals_of(unaccounted)["commit_short"] is False
    assert signals_of(base)["commit_short"] is True
    unknown = of_instance(base, "process/accounted_bytes", None)
    assert signals_of(unknown)["commit_short"] is None
    small = of_instance(unknown, "process/private_writable_bytes", MIB)
    assert signals_of(small)["commit_short"] is False
    assert signals_of(evidence())["commit_short"] is False


@pytest.mark.parametrize(
    ("version", "largest", "refuses"),
    [
        ([6, 1], 7 * GIB, False),
        ([6, 1], 9 * GIB, True),
        ([4, 15], 6 * GIB, True),
        ([4, 15], 4 * GIB, False),
        ([5, 2], 7 * GIB, False),
        ([5, 1], 7 * GIB, True),
        (None, 7 * GIB, None),
        ([6, 1], None, None),
    ],
)
def test_the_heuristic_by_kernel(version: t.Any, largest: t.Any, refuses: bool | None) -> None:
    document = after(
        {"host/overcommit/mode": 0, "host/kernel_version": version, "process/largest_private_mapping_bytes": largest}
    )
    assert signals_of(document)["heuristic_refuses"] is refuses


def group(limit: t.Any, usage: int, path: str = "/a", **more: t.Any) -> Document:
    return {"path": path, "limit_bytes": limit, "usage_bytes": usage, "file_bytes": 0, **more}


def test_the_tightest_group_is_the_one_with_the_least_room() -> None:
    groups = [group("unlimited", 5, "/a/b"), group(2 * GIB, GIB, "/a"), group(3 * GIB, int(2.5 * GIB), "/")]
    signals = signals_of(of_instance(evidence(), "cgroups/memory", groups))
    assert signals["memory_limiting_cgroup"]["path"] == "/"
    assert signals["cgroup_memory_headroom_bytes"] == GIB // 2


def test_page_cache_is_room() -> None:
    document = of_instance(evidence(), "cgroups/memory", [group(GIB, GIB, file_bytes=600 * MIB)])
    assert signals_of(document)["cgroup_memory_headroom_bytes"] == 600 * MIB
    assert signals_of(document)["cgroup_at_memory_limit"] is False
    assert signals_of(of_instance(evidence(), "cgroups/memory", [group(GIB, GIB)]))["cgroup_at_memory_limit"] is True
    assert signals_of(of_instance(evidence(), "cgroups", None))["cgroup_at_memory_limit"] is None


def test_a_busy_hour_copies_more_than_the_quiet_one_before() -> None:
    tight = {
        "cgroups/memory": [group(GIB, GIB - 100 * MIB)],
        "redis/info/rdb_last_cow_size": MIB,
        "redis/info/rdb_last_bgsave_time_sec": 10,
    }
    assert signals_of(after(tight))["cgroup_memory_short"] is False
    # 100 changes a second, each a value of 10 KiB, for ten seconds and a fifth more of data: 14 MiB fit.
    some = signals_of(after({**tight, "redis/info/rdb_changes_since_last_save": 6_000}))
    assert some["cgroup_memory_short"] is False
    # As many values a second as there are keys in a minute: 17 MiB a second, and the dataset may be twice as large.
    busy = signals_of(after({**tight, "redis/info/rdb_changes_since_last_save": 100_000}))
    assert busy["bytes_written_per_second"] == GIB // 60
    assert busy["save_expected_seconds"] == 20
    assert busy["copy_on_write_expected_bytes"] > 340 * MIB
    assert busy["cgroup_memory_short"] is True
    # Between the two nobody knows.
    middle = signals_of(after({**tight, "redis/info/rdb_changes_since_last_save": 30_000}))
    assert middle["cgroup_memory_short"] is None


def test_what_lies_on_a_tmpfs_is_no_room() -> None:
    full = group(GIB, GIB, file_bytes=600 * MIB, shared_memory_bytes=500 * MIB)
    assert signals_of(of_instance(evidence(), "cgroups/memory", [full]))["cgroup_memory_headroom_bytes"] == 100 * MIB


def test_a_dump_on_a_tmpfs_takes_memory() -> None:
    changes = {
        "cgroups/memory": [group(2 * GIB, 2 * GIB - 200 * MIB)],
        "redis/info/rdb_changes_since_last_save": 5,
        "redis/info/rdb_last_cow_size": MIB,
    }
    assert signals_of(after(changes))["cgroup_memory_short"] is False
    # The dump of 300 MiB and 200 MiB of room.
    tmpfs = {**changes, "data_directory/process_view": filesystem(type="tmpfs")}
    assert signals_of(after(tmpfs))["dump_in_memory_bytes"] == 300 * MIB * 100_000 // 99_995
    assert signals_of(after(tmpfs))["cgroup_memory_short"] is True
    assert signals_of(after({**tmpfs, "cgroups/memory": [group(3 * GIB, GIB)]}))["cgroup_memory_short"] is False


def started_and_saved(*events: Document) -> bool | None:
    """Is the time of the last save, a second after the start, that of the start?"""
    changes = {"redis/info/rdb_last_save_time": STARTED + 1, "redis_log/events": list(events)}
    found = signals_of(after(changes))["last_save_is_start"]
    assert found is None or isinstance(found, bool)
    return found


def test_a_save_right_after_the_start_is_not_the_start() -> None:
    assert started_and_saved() is True
    saved = (log_event("save_started", 86_399, child_pid=7), log_event("save_succeeded", 86_399))
    assert started_and_saved(*saved) is False
    sent = (log_event("save_started", 86_399, child_pid=7, target="replicas"), log_event("transfer_succeeded", 86_399))
    assert started_and_saved(*sent) is True


def test_copies_that_were_seen_decide_between_the_bounds() -> None:
    tight = of_instance(evidence(), "cgroups/memory", [group(int(1.5 * GIB), GIB)])
    assert signals_of(tight)["cgroup_memory_short"] is False
    much = of_instance(tight, "redis/info/rdb_last_cow_size", 600 * MIB)
    assert signals_of(much)["cgroup_memory_short"] is True
    between = of_instance(tight, "redis/info/rdb_last_cow_size", 400 * MIB)
    assert signals_of(between)["cgroup_memory_short"] is None
    never = of_instance(tight, "redis/info/rdb_last_cow_size", 0)
    assert signals_of(never)["cgroup_memory_short"] is False, "what was seen is a hint, not needed"
    unknown = of_instance(never, "redis/info/instantaneous_input_kbps", None)
    unknown = of_instance(unknown, "redis/info/total_net_input_bytes", None)
    assert signals_of(unknown)["cgroup_memory_short"] is None
    roomy = of_instance(never, "cgroups/memory", [group(4 * GIB, GIB)])
    assert signals_of(roomy)["cgroup_memory_short"] is False


@pytest.mark.parametrize(
    ("uid", "capabilities", "threads", "limit", "exhausted"),
    [
        (110, [], 4096, 4096, True),
        (110, [], 4095, 4096, False),
        (0, [], 9999, 1, False),
        (110, ["CAP_SYS_RESOURCE"], 9999, 1, False),
        (110, [], 9999, "unlimited", False),
        (110, [], None, 4096, None),
        (110, None, 9999, 1, None),
    ],
)
def test_process_limit(uid: int, capabilities: t.Any, threads: t.Any, limit: t.Any, exhausted: bool | None) -> None:
    document = after(
        {
            "process/uid": {"real": uid, "effective": uid},
            "process/capabilities_effective": capabilities,
            "process/uid_threads": threads,
            "process/limits/nproc/soft": limit,
        }
    )
    assert signals_of(document)["nproc_exhausted"] is exhausted


def test_threads_of_the_whole_host_count_too() -> None:
    assert signals_of(after({"host/limits/threads": 60_000}))["pids_exhausted"] is True
    assert signals_of(evidence())["pids_exhausted"] is False


# Space


def test_the_next_dump_grows_with_the_keys() -> None:
    document = after({"redis/info/rdb_changes_since_last_save": 50_000})
    assert signals_of(document)["next_rdb_estimate_bytes"] == 600 * MIB
    unchanged = after({"redis/info/rdb_changes_since_last_save": 0})
    assert signals_of(unchanged)["next_rdb_estimate_bytes"] == 300 * MIB
    rewritten = after({"redis/info/rdb_changes_since_last_save": 500_000})
    assert signals_of(rewritten)["next_rdb_estimate_bytes"] == GIB


@pytest.mark.parametrize(
    ("usable", "short"),
    [(0, True), (4095, True), (299 * MIB, True), (301 * MIB, None), (331 * MIB, False), (None, None)],
)
def test_space_for_the_dump(usable: int | None, short: bool | None) -> None:
    document = after(
        {"redis/info/rdb_changes_since_last_save": 0, "data_directory/process_view": filesystem(usable_bytes=usable)}
    )
    assert signals_of(document)["disk_short"] is short


def space(changes: int, usable: int, dataset: int = GIB, **more: t.Any) -> bool | None:
    """Is the disk too small for a dump after the last one of 300 MiB with 100,000 keys?"""
    values = {
        "redis/info/rdb_changes_since_last_save": changes,
        "redis/info/used_memory_dataset": dataset,
        "data_directory/process_view": filesystem(usable_bytes=usable),
        **more,
    }
    found = signals_of(after(values))["disk_short"]
    assert found is None or isinstance(found, bool)
    return found


def test_a_counter_that_was_incremented_often_makes_no_larger_dump() -> None:
    assert space(5_000_000, 500 * MIB) is None  # nothing but a counter, or everything written anew
    assert space(5_000_000, 2 * GIB) is False
    assert space(5_000_000, 10 * MIB) is True


def test_what_was_deleted_needs_no_space() -> None:
    assert space(5_000_000, 200 * MIB, dataset=50 * MIB) is False
    assert space(5, 200 * MIB, dataset=50 * MIB) is False
    assert space(5, 200 * MIB) is True


def test_a_few_large_values_are_not_in_the_last_dump() -> None:
    assert space(5, 500 * MIB) is False
    assert space(5, 500 * MIB, dataset=20 * GIB) is None
    assert space(5, 30 * GIB, dataset=20 * GIB) is False


def test_without_a_dump_the_dataset_is_the_bound() -> None:
    no_dump = {"data_directory/dump": {"name": "dump.rdb", "exists": False, "type": None}}
    assert (
        signals_of(after({**no_dump, "data_directory/process_view": filesystem(usable_bytes=GIB)}))["disk_short"]
        is False
    )
    half = {**no_dump, "data_directory/process_view": filesystem(usable_bytes=GIB // 2)}
    assert signals_of(after(half))["disk_short"] is None
    line = child_line("write_failed", errno="ENOSPC", errno_text="x", operation="rdbSaveRio")
    assert signals_of(after(half, failing(failed_child(line))))["disk_short"] is True
    old = [log_event("save_started", 4000, child_pid=2000), line, log_event("save_failed", 3999)]
    for event in old:
        event["time_unix"] = NOW - 4000
    assert signals_of(after(half, failing(old)))["disk_short"] is None


def test_a_file_system_that_makes_inodes_as_needed_never_runs_out() -> None:
    view = filesystem(inodes_total=None, inodes_free=None, inodes_usable=None)
    assert signals_of(after({"data_directory/process_view": view}))["inodes_exhausted"] is False


def test_a_file_size_limit_that_was_just_reached_still_holds() -> None:
    no_dump = {"data_directory/dump": {"name": "dump.rdb", "exists": False, "type": None}}
    limited = {**no_dump, "process/limits/fsize/soft": 500 * MIB}
    assert signals_of(after(limited))["file_size_limited"] is None
    assert signals_of(after(limited, failing(signalled_child(25))))["file_size_limited"] is True
    assert (
        signals_of(after({**no_dump, "process/limits/fsize/soft": GIB}, failing(signalled_child(25))))[
            "file_size_limited"
        ]
        is False
    )


@pytest.mark.parametrize(
    ("process_view", "host_view", "own_namespace", "sandbox"),
    [
        (filesystem(), filesystem(), True, False),
        (filesystem(read_only=True), filesystem(), True, True),
        (filesystem(read_only=True), filesystem(read_only=True), True, False),
        (filesystem(read_only=True), filesystem(read_only=True), False, False),
        (filesystem(super_read_only=True), filesystem(super_read_only=True), True, False),
        (filesystem(read_only=True), None, True, True),
        (filesystem(super_read_only=True), None, True, False),
        (None, None, None, None),
    ],
)
def test_read_only_for_whom(process_view: t.Any, host_view: t.Any, own_namespace: t.Any, sandbox: t.Any) -> None:
    document = after(
        {
            "data_directory/process_view": process_view,
            "data_directory/host_view": host_view,
            "process/namespaces/mount/is_host": None if own_namespace is None else not own_namespace,
        }
    )
    assert signals_of(document)["read_only_in_sandbox"] is sandbox


def test_a_foreign_dump_matters_in_a_sticky_directory_only() -> None:
    foreign = {"data_directory/dump/uid": 0, "data_directory/owner/uid": 0}
    assert signals_of(after(foreign))["dump_protected"] is False
    sticky = {**foreign, "data_directory/sticky": True}
    assert signals_of(after(sticky))["dump_protected"] is True
    assert signals_of(after({**sticky, "process/capabilities_effective": ["CAP_FOWNER"]}))["dump_protected"] is False
    assert signals_of(after({**sticky, "data_directory/owner/uid": 110}))["dump_protected"] is False


# Forecast


@pytest.mark.parametrize(
    ("changes", "answer", "cause"),
    [
        ({}, "will_succeed", None),
        ({"data_directory/access/writable": False}, "will_fail", "dir_permission_denied"),
        ({"data_directory/dump/type": "directory"}, "will_fail", "destination_is_directory"),
        ({"process/uid_threads": 5000}, "will_fail", "fork_process_limit"),
        ({"data_directory/attributes/immutable": None}, "will_succeed", None),
        ({"data_directory/process_view": None}, "unknown", None),
        ({"cgroups": None}, "unknown", None),
        # A closed parent stops a restart; the running server stands in its directory and saves.
        ({"data_directory/access/searchable": False, "data_directory/access/blocked_by": "/srv"}, "will_succeed", None),
        ({"redis/config/dir": "/etc/cron.d", "data_directory/access/writable": False}, "will_fail", "hijacked_dir"),
        ({"redis/config/dir": "/etc/cron.d"}, "will_succeed", None),
    ],
)
def test_the_forecast_comes_before_the_failure(changes: Document, answer: str, cause: str | None) -> None:
    diagnosis = diagnose(after(changes), RULES)[0]
    assert (diagnosis["forecast"]["answer"], diagnosis["forecast"]["cause"]) == (answer, cause)
    assert bool(diagnosis["forecast"]["missing"]) == (answer == "unknown")
    if cause is not None:
        assert set(RULES.outcomes[cause].fixes) <= {fix["id"] for fix in diagnosis["fixes"]}


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), float("nan")])
def test_a_number_beyond_all_measure_is_unknown(value: float) -> None:
    document = after({"redis/info/latest_fork_usec": value, "host/overcommit/admin_reserve_kilobytes": value})
    assert signals_of(document)["fork_usec_per_gigabyte"] is None
