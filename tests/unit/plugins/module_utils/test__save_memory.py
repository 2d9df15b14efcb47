# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copies that a save makes, from the bytes that are written and the seconds that it takes."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._save_memory import judge_memory

MIB = 1024 * 1024
GIB = 1024 * MIB
NOW = 1_760_000_000.0
HOST = {"memory": {"available_bytes": 64 * GIB, "swap_free_bytes": 0}, "page_size_bytes": 4096}


def server(room_bytes: int, **info: t.Any) -> dict[str, t.Any]:
    """A master of 300 MiB in 2,000 values whose control group has so much room left. Nobody writes."""
    fields = {
        "rdb_last_bgsave_status": "err",
        "rdb_last_bgsave_time_sec": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_last_save_time": NOW - 60,
        "used_memory_dataset": 300 * MIB,
        "key_count": 2000,
        "instantaneous_input_kbps": 0.1,
        "instantaneous_ops_per_sec": 1,
        "total_commands_processed": 5000,
        "total_net_input_bytes": 300 * MIB,
        **info,
    }
    return {
        "redis": {
            "role": "master",
            "uptime_seconds": 100,
            "info": fields,
            "config": {"stop-writes-on-bgsave-error": "no", "save": "3600 1"},
        },
        "process": {"resident_bytes": 320 * MIB},
        "cgroups": {
            "memory": [{"path": "/lab", "limit_bytes": GIB, "usage_bytes": GIB - room_bytes}],
        },
        "data_directory": {"process_view": {"type": "ext4"}, "dump": {"size_bytes": 2 * MIB}},
    }


def short_of(instance: dict[str, t.Any], **more: t.Any) -> bool | None:
    return t.cast("bool | None", judge_memory(instance, HOST, NOW, **more)["short"])


def test_a_stream_of_writes_proves_that_memory_is_too_short() -> None:
    answer = judge_memory(server(45 * MIB, instantaneous_input_kbps=1_800_000), HOST, NOW)
    assert answer["short"] is True
    assert answer["expected_bytes"] == answer["worst_bytes"] == 320 * MIB
    assert answer["room_bytes"] == 45 * MIB
    assert answer["seconds"] == 3, "never the 0 s of the save that failed"
    assert answer["why"].startswith("Too little memory for a save: 320 MiB are resident and 45 MiB are left;")


def test_little_is_sent_and_much_is_written() -> None:
    """SETRANGE into values of 150 kB: seen by the changes, in the mean or at this moment."""
    assert short_of(server(45 * MIB, rdb_changes_since_last_save=60_000)) is True
    at_once = {"instantaneous_ops_per_sec": 12_000, "total_commands_processed": 90_000}
    assert short_of(server(45 * MIB, rdb_changes_since_last_save=1_000, **at_once)) is True
    reads = {"instantaneous_ops_per_sec": 12_000, "total_commands_processed": 9_000_000}
    assert short_of(server(45 * MIB, rdb_changes_since_last_save=10, **reads)) is False


def test_an_idle_server_with_little_room_may_save() -> None:
    assert short_of(server(45 * MIB)) is False
    assert short_of(server(3 * MIB)) is None, "the fork itself takes some"


def test_without_a_rate_nothing_is_known() -> None:
    for name in ("instantaneous_input_kbps", "rdb_changes_since_last_save"):
        assert short_of(server(45 * MIB, **{name: None})) is None
    assert short_of(server(400 * MIB, instantaneous_input_kbps=None)) is False, "the worst case fits"


def test_a_huge_collection_is_no_value() -> None:
    """One key holds everything, and a few of its fields change."""
    one = server(45 * MIB, key_count=1, rdb_changes_since_last_save=60)
    assert short_of(one) is None


def test_a_replica_is_fed_by_its_master_while_its_clients_are_refused() -> None:
    busy = server(45 * MIB, instantaneous_input_kbps=1_800_000)
    busy["redis"]["config"]["stop-writes-on-bgsave-error"] = "yes"
    assert short_of(busy) is False, "what is refused is not written"
    busy["redis"]["role"] = "replica"
    assert short_of(busy) is True


def test_no_save_points_no_refusal() -> None:
    busy = server(45 * MIB, instantaneous_input_kbps=1_800_000)
    busy["redis"]["config"].update({"stop-writes-on-bgsave-error": "yes", "save": '""'})
    assert short_of(busy) is True


def test_what_was_seen_is_a_hint_and_no_bound() -> None:
    assert short_of(server(45 * MIB, rdb_last_cow_size=MIB, instantaneous_input_kbps=1_800_000)) is True
    assert short_of(server(45 * MIB, rdb_last_cow_size=30 * MIB)) is None
    assert short_of(server(45 * MIB, rdb_last_cow_size=60 * MIB)) is True


@pytest.mark.parametrize("seconds", [2, 40])
def test_the_last_success_tells_how_long_a_save_takes(seconds: int) -> None:
    """300 MiB that took 2 s, or 40 s, by INFO where the status is ok and by the log where it is not."""
    done = {"rdb_last_bgsave_status": "ok", "rdb_last_bgsave_time_sec": seconds}
    answer = judge_memory(server(45 * MIB, **done), HOST, NOW)
    assert answer["seconds"] == seconds
    attempt = {"outcome": "succeeded", "started_unix": NOW - 900, "ended_unix": NOW - 900 + seconds, "stage": "done"}
    assert judge_memory(server(45 * MIB), HOST, NOW, [attempt])["seconds"] == seconds
    # 5 MiB a second: in 2 s they fit, in 40 s not.
    busy = server(45 * MIB, instantaneous_input_kbps=5 * 1024, **done)
    assert short_of(busy) is (seconds == 40)


def test_a_slow_child_is_slow_again() -> None:
    killed = {"outcome": "failed", "stage": "child", "started_unix": NOW - 90, "ended_unix": NOW - 30}
    assert judge_memory(server(45 * MIB), HOST, NOW, [killed])["seconds"] == 60
    running = server(45 * MIB, rdb_bgsave_in_progress=1, rdb_current_bgsave_time_sec=70)
    assert judge_memory(running, HOST, NOW)["seconds"] == 70
    delayed = server(45 * MIB)
    delayed["redis"]["config"]["rdb-key-save-delay"] = "50000"
    assert judge_memory(delayed, HOST, NOW)["seconds"] == 103


def test_the_host_counts_where_no_group_limits() -> None:
    busy = server(0, instantaneous_input_kbps=1_800_000)
    busy["cgroups"]["memory"] = [{"path": "/", "limit_bytes": "unlimited", "usage_bytes": GIB}]
    host = {"memory": {"available_bytes": 45 * MIB, "swap_free_bytes": 0}}
    answer = judge_memory(busy, host, NOW)
    assert (answer["short"], answer["host_short"], answer["cgroup_short"]) == (True, True, False)
    assert judge_memory(busy, HOST, NOW)["short"] is False


def test_a_server_whose_process_is_not_seen() -> None:
    """By its own word of what is resident; without it, and without host, unknown."""
    unseen = server(45 * MIB, used_memory_rss=320 * MIB, instantaneous_input_kbps=1_800_000)
    unseen.update(process=None, cgroups=None)
    assert short_of(unseen) is None
    assert judge_memory(unseen, None, NOW)["short"] is None
    assert judge_memory({}, None, NOW)["why"] == "How much memory is left for the copies of a save is not known."


def test_a_dump_on_a_tmpfs_lies_in_memory() -> None:
    on_tmpfs = server(45 * MIB)
    on_tmpfs["data_directory"]["process_view"]["type"] = "tmpfs"
    assert short_of(on_tmpfs) is False
    assert short_of(on_tmpfs, dump_bytes=60 * MIB) is True


def test_a_kill_stands_until_the_worst_case_fits() -> None:
    assert short_of(server(45 * MIB), killed=["oom_cgroup"]) is True
    assert short_of(server(400 * MIB), killed=["oom_cgroup"]) is False
    suspect = server(45 * MIB)
    suspect["cgroups"]["memory"][0]["oom_kill_count"] = 1
    assert short_of(suspect) is None, "it may have been the child"


@pytest.mark.parametrize("value", [-5, 10**400, True, "1" * 400, [], {}, float("nan"), float("inf")])
def test_a_figure_that_cannot_be_true_is_unknown(value: t.Any) -> None:
    assert short_of(server(45 * MIB, instantaneous_input_kbps=value)) is None
    hostile = {"redis": {"info": value, "config": value}, "process": value, "cgroups": {"memory": [value, value]}}
    assert short_of(hostile) is None
