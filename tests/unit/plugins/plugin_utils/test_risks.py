# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each risk: the smallest change that raises it, and a healthy server without any."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import load_rules
from evidence_factory import (
    GIB,
    MIB,
    NOW,
    STARTED,
    Document,
    change,
    evidence,
    failing,
    filesystem,
    log_event,
    of_instance,
)

RULES = load_rules()
ORPHAN = {
    "name": "temp-9.rdb",
    "kind": "rdb_child",
    "pid": 9,
    "size_bytes": MIB,
    "modified_unix": NOW - 9000,
    "holder": "none",
}


def risks_of(document: Document) -> dict[str, str]:
    return {risk["id"]: risk["severity"] for risk in diagnose(document, RULES)[0]["risks"]}


def after(changes: Document, document: Document | None = None) -> Document:
    document = document or evidence()
    for path, value in changes.items():
        document = change(document, path, value) if path.startswith("host/") else of_instance(document, path, value)
    return document


def dump(created_unix: float, keys: int = 100_000) -> Document:
    """A file in the dump's place, by the save that began then (the server's own began a minute ago)."""
    return {
        "name": "dump.rdb",
        "exists": True,
        "type": "file",
        "size_bytes": 300 * MIB,
        "modified_unix": created_unix,
        "changed_unix": created_unix,
        "header": {"created_unix": created_unix, "keys_at_least": keys},
    }


REPLICA = {"redis/role": "replica"}
# An earlier process of the server could not save; this one has not tried yet.
RESTARTED = after(
    {
        "redis/info/rdb_last_save_time": STARTED,
        "redis_log/events": [
            log_event("save_started", 90_000, pid=900, child_pid=950),
            log_event("open_failed", 90_000, role="C", pid=950, errno="EACCES", errno_text="Permission denied"),
            log_event("save_failed", 90_000, pid=900),
        ],
    }
)
RAISED: list[tuple[str, str, Document]] = [
    ("hijack_suspected", "critical", after({"redis/config/dir": "/root/.ssh"})),
    ("overcommit_not_1", "low", after({"host/overcommit/mode": 0})),
    ("overcommit_not_1", "medium", after({"host/overcommit/mode": 0, "host/kernel_version": [4, 15]})),
    ("overcommit_not_1", "high", after({"host/overcommit/mode": 2})),
    (
        "thp_active_for_process",
        "high",
        after({"host/thp/policy": "always", "process/thp_enabled": True, "process/anonymous_huge_pages_bytes": MIB}),
    ),
    (
        "thp_active_for_process",
        "medium",
        after({"host/thp/policy": "always", "process/thp_enabled": True, "process/anonymous_huge_pages_bytes": None}),
    ),
    ("thp_host_always", "low", after({"host/thp/policy": "always"})),
    ("dump_not_ours", "high", after({"data_directory/dump": dump(NOW - 5000)})),
    ("dump_not_ours", "high", after({"data_directory/dump": dump(NOW - 60, keys=10**9)})),
    ("dump_not_ours", "medium", after({"data_directory/dump": {"exists": True, "type": "symlink", "header": None}})),
    ("slow_fork", "medium", after({"redis/info/latest_fork_usec": 600_000})),
    ("slow_fork", "low", after({"redis/info/latest_fork_usec": 450_000, "process/resident_bytes": 2 * GIB})),
    ("memory_over_half", "medium", after({"process/resident_bytes": 5 * GIB})),
    ("memory_over_half", "high", after({"process/resident_bytes": 7 * GIB})),
    ("disk_headroom", "high", after({"data_directory/process_view": filesystem(usable_bytes=500 * MIB)})),
    ("disk_headroom", "medium", after({"data_directory/process_view": filesystem(usable_bytes=800 * MIB)})),
    ("inode_headroom", "medium", after({"data_directory/process_view": filesystem(inodes_usable=500)})),
    ("inode_headroom", "high", after({"data_directory/process_view": filesystem(inodes_usable=3)})),
    ("stop_writes_disabled", "medium", after({"redis/config/stop-writes-on-bgsave-error": "no"})),
    ("stop_writes_disabled", "high", after({"redis/config/stop-writes-on-bgsave-error": "no"}, failing())),
    ("no_persistence", "medium", after({"redis/config/save": ""})),
    ("aof_write_error", "critical", after({"redis/info/aof_enabled": 1, "redis/info/aof_last_write_status": "err"})),
    ("aof_rewrite_error", "high", after({"redis/info/aof_enabled": 1, "redis/info/aof_last_bgrewrite_status": "err"})),
    ("save_overdue", "medium", after({"redis/info/rdb_last_save_time": NOW - 4 * 3600})),
    ("save_overdue", "high", after({"redis/info/rdb_last_save_time": NOW - 40 * 3600})),
    (
        "save_points_too_frequent",
        "high",
        after({"redis/info/rdb_changes_since_last_save": 60_000, "redis/info/rdb_last_bgsave_time_sec": 90}),
    ),
    ("orphan_temp_files", "medium", after({"data_directory/temp_files": [ORPHAN]})),
    ("dir_on_root_or_log_volume", "medium", after({"data_directory/process_view": filesystem(holds_logs=True)})),
    ("dir_on_root_or_log_volume", "low", after({"data_directory/process_view": filesystem(is_root_volume=True)})),
    (
        "runtime_config_drift",
        "medium",
        after({"redis/config_file_settings": {"dir": "/srv/redis/data", "dbfilename": "dump.rdb", "maxmemory": "2gb"}}),
    ),
    ("config_not_rewritable", "low", after({"redis/config_file": ""})),
    ("config_not_rewritable", "medium", after({"redis_log/events": [log_event("config_rewrite_failed", 50)]})),
    ("replica_write_panic", "medium", after(REPLICA)),
    ("replica_write_panic", "critical", after(REPLICA, failing())),
    (
        "replica_write_panic",
        "critical",
        after({**REPLICA, "redis/info/aof_enabled": 1, "redis/info/aof_last_write_status": "err"}),
    ),
    ("failed_before_restart", "high", RESTARTED),
    ("covered_directory", "high", after({"data_directory/same_directory": False}, failing())),
    ("sentinel_failover_risk", "medium", failing()),
    ("sentinel_failover_risk", "high", after({"redis/info/connected_slaves": 2}, failing())),
    ("oom_kills_parent", "medium", after({"redis/config/oom-score-adj": "no", "process/resident_bytes": 5 * GIB})),
    ("numa_imbalance", "medium", after({"host/numa/node_count": 2, "process/numa/policy": "bind"})),
    ("maxmemory_unset", "low", after({"redis/config/maxmemory": "0"})),
    ("maxmemory_near_limit", "medium", after({"redis/config/maxmemory": str(7 * GIB)})),
    ("maxmemory_near_limit", "high", after({"redis/config/maxmemory": str(8 * GIB)})),
    (
        "exposed_without_auth",
        "critical",
        after({"redis/password_set": False, "redis/config/bind": "* -::*", "redis/config/protected-mode": "no"}),
    ),
    ("no_log_kept", "medium", after({"redis_log/kept": False})),
]


@pytest.mark.parametrize(("risk", "severity", "document"), RAISED)
def test_a_risk_is_raised(risk: str, severity: str, document: Document) -> None:
    assert risks_of(document).get(risk) == severity
    found = next(entry for entry in diagnose(document, RULES)[0]["risks"] if entry["id"] == risk)
    assert set(found) == {"id", "severity", "title", "evidence", "fixes"}
    assert found["evidence"]
    assert found["fixes"], "a risk that nothing helps against"
    assert all(line["expected"] is not None for line in found["evidence"])


def test_every_risk_is_raised_by_something() -> None:
    assert {risk for risk, _severity, _document in RAISED} | {"shared_dump_path"} == set(RULES.risks)


def test_a_save_since_the_restart_settles_what_was_before() -> None:
    saved = of_instance(RESTARTED, "redis/info/rdb_last_save_time", NOW - 60)
    assert "failed_before_restart" not in risks_of(saved)
    healed = [*RESTARTED["instances"][0]["redis_log"]["events"], log_event("save_succeeded", 89_000, pid=900)]
    healed[-1:-1] = [log_event("save_started", 89_001, pid=900, child_pid=951)]
    assert "failed_before_restart" not in risks_of(of_instance(RESTARTED, "redis_log/events", healed))


def test_a_healthy_server_has_none() -> None:
    assert risks_of(evidence()) == {}
    assert "dump_not_ours" not in risks_of(after({"data_directory/dump": dump(NOW - 60)}))


@pytest.mark.parametrize("document", [document for risk, _severity, document in RAISED if risk == "dump_not_ours"])
def test_no_save_is_the_next_command_where_the_dump_is_not_ours(document: Document) -> None:
    failing = of_instance(document, "redis/info/rdb_last_bgsave_status", "err")
    found = diagnose(failing, RULES)[0]
    proof = next(fix for fix in found["fixes"] if fix["id"] == "verify")
    assert proof["decision"] == "opt_in"
    assert "BGSAVE" not in str(found["fixes"])
    assert "BGSAVE" not in str(found["recovery"])


def test_a_server_that_is_told_to_keep_no_dump_gets_none() -> None:
    told = after({"redis/config/save": "", "redis/info/rdb_last_bgsave_status": "err"})
    found = diagnose(of_instance(told, "data_directory/dump", {"exists": False, "header": None}), RULES)[0]
    proof = next(fix for fix in found["fixes"] if fix["id"] == "verify")
    assert (proof["decision"], proof["commands"]) == ("refuse", [])
    assert "without meaning" in proof["reason"]
    assert found["recovery"]["will_retry"] is False
    assert "without meaning" in found["recovery"]["reason"]


def test_two_servers_in_one_directory_with_one_name() -> None:
    document = evidence()
    second = copy.deepcopy(document["instances"][0])
    second["address"] = "127.0.0.1:6380"
    document["instances"].append(second)
    for diagnosis in diagnose(document, RULES):
        assert "shared_dump_path" in {risk["id"] for risk in diagnosis["risks"]}
    second["data_directory"]["dump"]["name"] = "other.rdb"
    assert "shared_dump_path" not in risks_of(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"host/thp/policy": "always", "process/thp_enabled": False},
        {"redis/password_set": False},
        {"redis/password_set": False, "redis/config/protected-mode": "no"},
        {"redis/info/latest_fork_usec": 40_000, "process/resident_bytes": 10 * MIB},
        {"redis/config_file_settings": {"dir": "./", "maxmemory": "1gb", "save": "3600 1 300 100 60 10000"}},
        {"redis/info/aof_enabled": 0, "redis/info/aof_last_write_status": "err"},
        # Debian's unit passes these two on the command line, whatever the file says.
        {
            "redis/config/daemonize": "no",
            "redis/config/supervised": "systemd",
            "redis/config_file_settings": {"daemonize": "yes", "supervised": "no"},
        },
    ],
)
def test_what_is_harmless_is_not_named(changes: Document) -> None:
    assert set(risks_of(after(changes))) <= {"thp_host_always"}


def test_the_gravest_comes_first() -> None:
    document = after(
        {"host/overcommit/mode": 0, "redis/password_set": False, "redis/config/bind": "", "redis_log/kept": False}
    )
    document = of_instance(document, "redis/config/protected-mode", "no")
    assert list(risks_of(document).values()) == ["critical", "medium", "low"]


def test_the_unknown_is_no_risk() -> None:
    document = after({"process": None, "cgroups": None, "data_directory": None, "redis_log": None})
    document["host"] = None
    document["instances"][0]["redis"]["config"] = {}
    assert risks_of(document) == {}
