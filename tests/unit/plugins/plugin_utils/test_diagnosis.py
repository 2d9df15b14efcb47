# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verdict from evidence made by hand: the smallest change of a healthy server that must lead to it."""

from __future__ import annotations

import json
import typing as t

import evidence_factory as make
import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import diagnosis as diagnosis_module
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import EvidenceError, diagnose
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import Rules, load_rules
from evidence_factory import (
    CHILD_PID,
    GIB,
    MIB,
    NOW,
    SERVER_PID,
    Document,
    change,
    child_line,
    evidence,
    failed_child,
    failing,
    filesystem,
    log_event,
    of_instance,
    oom_kill,
    signalled_child,
    unprivileged,
)

RULES: Rules = load_rules()


def judge(document: Document) -> Document:
    documents = diagnose(document, RULES)
    assert len(documents) == len(document["instances"])
    return documents[0]


def causes(diagnosis: Document) -> list[str]:
    return [cause["id"] for cause in diagnosis["causes"]]


def opened(errno: str, **fields: t.Any) -> Document:
    return failing(
        failed_child(child_line("open_failed", errno=errno, errno_text=errno, directory=make.DIRECTORY, **fields))
    )


def written(errno: str, operation: str = "rdbSaveRio") -> Document:
    return failing(failed_child(child_line("write_failed", errno=errno, errno_text=errno, operation=operation)))


def renamed(errno: str) -> Document:
    return failing(
        failed_child(
            child_line("rename_failed", errno=errno, errno_text=errno, destination="dump.rdb", file="temp-2000.rdb")
        )
    )


def forked(errno: str) -> Document:
    return failing([log_event("fork_failed", 30, errno=errno, errno_text=errno)])


def with_(document: Document, changes: dict[str, t.Any]) -> Document:
    """Each path is of the instance, or of the host when it starts with ``host/``."""
    for path, value in changes.items():
        document = change(document, path, value) if path.startswith("host/") else of_instance(document, path, value)
    return document


BLOCKED = {
    "data_directory/access": {
        "writable": False,
        "searchable": True,
        "blocked_by": make.DIRECTORY,
        "reason": "mode 0555 of the owner",
    },
}
READ_ONLY = filesystem(read_only=True, super_read_only=True)
GROUP_FULL = [
    {
        "path": "/redis",
        "limit_bytes": GIB,
        "usage_bytes": GIB,
        "oom_kill_count": 0,
        "max_event_count": 3,
        "file_bytes": 0,
        "anonymous_bytes": GIB,
    }
]
ORPHAN = {
    "name": "temp-1500.rdb",
    "kind": "rdb_child",
    "pid": 1500,
    "size_bytes": 10 * GIB,
    "modified_unix": NOW - 7000,
    "uid": 110,
    "holder": "none",
    "open": False,
}

# id: (evidence, verdict, least confidence, still present, forecast)
CONFIRMED, PROBABLE, POSSIBLE = "confirmed", "probable", "possible"
FAULTS: dict[str, tuple[Document, str, str, bool | None, str]] = {
    "commit limit": (
        with_(forked("ENOMEM"), {"host/overcommit/mode": 2, "host/memory/committed_bytes": int(3.9 * GIB)}),
        "fork_commit_limit",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "commit limit, mode changed since": (
        with_(
            forked("ENOMEM"),
            {
                "host/kernel_log/events": [
                    {
                        "event": "commit_refused",
                        "pid": SERVER_PID,
                        "bytes": GIB,
                        "time_unix": NOW - 30,
                        "command": "redis-server",
                        "text": "__vm_enough_memory: pid: 1000",
                    }
                ]
            },
        ),
        "fork_commit_limit",
        CONFIRMED,
        False,
        "will_succeed",
    ),
    "heuristic, one mapping beyond memory": (
        with_(forked("ENOMEM"), {"host/overcommit/mode": 0, "process/largest_private_mapping_bytes": 9 * GIB}),
        "fork_overcommit_heuristic",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "heuristic, old kernel": (
        with_(
            forked("ENOMEM"),
            {
                "host/overcommit/mode": 0,
                "host/kernel_version": [4, 15],
                "process/largest_private_mapping_bytes": 6 * GIB,
            },
        ),
        "fork_overcommit_heuristic",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "fork in a full group": (
        with_(forked("ENOMEM"), {"cgroups/memory": GROUP_FULL}),
        "fork_cgroup_memory",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "fork without memory": (forked("ENOMEM"), "fork_out_of_memory", CONFIRMED, None, "unknown"),
    "process limit": (
        with_(forked("EAGAIN"), {"process/uid_threads": 4096}),
        "fork_process_limit",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "pids limit of an ancestor": (
        with_(
            forked("EAGAIN"),
            {
                "cgroups/pids": [
                    {"path": "/a/b", "limit": "unlimited", "current": 6, "max_event_count": 0},
                    {"path": "/a", "limit": 100, "current": 100, "max_event_count": 4},
                ]
            },
        ),
        "fork_pids_limit",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "fork forbidden": (forked("EPERM"), "fork_forbidden", CONFIRMED, None, "unknown"),
    "hijacked directory": (
        with_(
            failing(
                failed_child(
                    child_line(
                        "open_failed",
                        errno="EACCES",
                        errno_text="Permission denied",
                        file="root",
                        directory="/var/spool/cron",
                    )
                )
            ),
            {"redis/config/dir": "/var/spool/cron", "redis/config/dbfilename": "root", **BLOCKED},
        ),
        "hijacked_dir",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "permission": (with_(opened("EACCES"), BLOCKED), "dir_permission_denied", CONFIRMED, True, "will_fail"),
    "permission, repaired since": (opened("EACCES"), "dir_permission_denied", CONFIRMED, False, "will_succeed"),
    "security module": (
        with_(
            opened("EACCES"),
            {
                "host/lsm/selinux": "enforcing",
                "host/kernel_log/events": [
                    {
                        "event": "access_denied",
                        "system": "selinux",
                        "pid": CHILD_PID,
                        "command": "redis-server",
                        "path": "temp-2000.rdb",
                        "time_unix": NOW - 30,
                        "text": "avc: denied",
                    }
                ],
            },
        ),
        "access_control_denied",
        CONFIRMED,
        None,
        "unknown",
    ),
    "security module without a record": (
        with_(opened("EACCES"), {"host/lsm/selinux": "enforcing"}),
        "access_control_denied",
        PROBABLE,
        None,
        "unknown",
    ),
    "directory missing": (
        with_(opened("ENOENT"), {"data_directory/deleted": True, "data_directory/dump/exists": False}),
        "dir_missing",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "read-only": (
        with_(opened("EROFS"), {"data_directory/process_view": READ_ONLY, "data_directory/host_view": READ_ONLY}),
        "filesystem_read_only",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "sandbox": (
        with_(
            opened("EROFS"),
            {"data_directory/process_view": filesystem(read_only=True), "process/namespaces/mount/is_host": False},
        ),
        "sandbox_read_only",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "container with a read-only root": (
        with_(
            opened("EROFS"),
            {
                "data_directory/process_view": filesystem(read_only=True, inode=4),
                "data_directory/host_view": None,
                "process/namespaces/mount/is_host": False,
            },
        ),
        "sandbox_read_only",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "inodes": (
        with_(opened("ENOSPC"), {"data_directory/process_view": filesystem(inodes_free=0, inodes_usable=0)}),
        "inodes_exhausted",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "immutable directory": (
        with_(opened("EPERM"), {"data_directory/attributes": {"immutable": True, "append_only": False}}),
        "dir_immutable",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "append-only directory": (
        with_(renamed("EPERM"), {"data_directory/attributes": {"immutable": False, "append_only": True}}),
        "dir_immutable",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "open files": (
        with_(opened("EMFILE"), {"process/open_files": 10_000}),
        "too_many_open_files",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "disk full": (
        with_(written("ENOSPC"), {"data_directory/process_view": filesystem(usable_bytes=100 * MIB)}),
        "disk_full",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "disk full then, free now": (written("ENOSPC"), "disk_full", CONFIRMED, False, "will_succeed"),
    "quota": (written("EDQUOT", "fsync"), "quota_exceeded", CONFIRMED, None, "unknown"),
    "file size, by signal": (
        with_(failing(signalled_child(25)), {"process/limits/fsize/soft": MIB}),
        "file_size_limit",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "file size, by errno": (
        with_(written("EFBIG"), {"process/limits/fsize/soft": MIB}),
        "file_size_limit",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "input or output": (written("EIO", "fsync"), "io_error", CONFIRMED, None, "unknown"),
    "stale network storage": (opened("ESTALE"), "io_error", CONFIRMED, None, "unknown"),
    "sync": (written("ENOSYS"), "sync_unsupported", CONFIRMED, None, "unknown"),
    "directory sync": (
        failing(failed_child(child_line("dir_fsync_failed", errno="EIO", errno_text="Input/output error"))),
        "dir_fsync_failed",
        CONFIRMED,
        None,
        "unknown",
    ),
    "destination is a directory": (
        with_(renamed("EISDIR"), {"data_directory/dump/type": "directory"}),
        "destination_is_directory",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "destination is a mount": (
        with_(renamed("EBUSY"), {"data_directory/dump/is_mount_point": True}),
        "destination_is_mount",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "destination immutable": (
        with_(renamed("EPERM"), {"data_directory/dump/attributes": {"immutable": True, "append_only": False}}),
        "destination_protected",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "destination of another owner in a sticky directory": (
        with_(
            renamed("EPERM"),
            {"data_directory/sticky": True, "data_directory/owner/uid": 0, "data_directory/dump/uid": 0},
        ),
        "destination_protected",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "rename": (renamed("EXDEV"), "rename_failed", CONFIRMED, None, "unknown"),
    "child killed in its group": (
        with_(
            failing(signalled_child(9)),
            {
                "host/kernel_log/events": [oom_kill(CHILD_PID, "cgroup")],
                "cgroups/memory": [
                    {**GROUP_FULL[0], "limit_bytes": int(1.2 * GIB), "path": "/system.slice/redis.service"}
                ],
            },
        ),
        "child_oom_killed_cgroup",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "child killed on the host": (
        with_(
            failing(signalled_child(9)),
            {"host/kernel_log/events": [oom_kill(CHILD_PID, "host")], "host/memory/available_bytes": 100 * MIB},
        ),
        "child_oom_killed_host",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "child killed by somebody": (failing(signalled_child(9)), "child_killed", CONFIRMED, None, "unknown"),
    "child crashed": (failing(signalled_child(11)), "child_crashed", CONFIRMED, None, "unknown"),
    "child and seccomp": (failing(signalled_child(31)), "child_seccomp_killed", CONFIRMED, None, "unknown"),
    "child and processor time": (
        with_(failing(signalled_child(24)), {"process/limits/cpu/soft": 10}),
        "child_cpu_limit",
        CONFIRMED,
        True,
        "will_fail",
    ),
    "child silent": (failing(failed_child()), "child_failed_silently", CONFIRMED, None, "unknown"),
    "no evidence": (failing(), "no_evidence", POSSIBLE, None, "unknown"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_verdict(name: str) -> None:
    document, verdict, confidence, still_present, outlook = FAULTS[name]
    diagnosis = judge(document)
    assert diagnosis["state"] == "failing"
    assert diagnosis["cause"]["id"] == verdict
    assert causes(diagnosis) == [verdict], "a cause is named that does not stand"
    assert diagnosis["cause"]["confidence"] == confidence
    assert diagnosis["cause"]["still_present"] is still_present
    assert diagnosis["forecast"]["answer"] == outlook
    assert diagnosis["forecast"]["cause"] == (verdict if outlook == "will_fail" else None)
    assert diagnosis["cause"]["evidence"], "a verdict without evidence"
    assert "{" not in diagnosis["cause"]["summary"]
    assert diagnosis["path"][0]["node"] == "start"


def test_the_faults_cover_every_cause() -> None:
    wanted = {outcome.id for outcome in RULES.outcomes.values() if outcome.kind == "cause"}
    assert {fault[1] for fault in FAULTS.values()} == wanted


SAVING = {"redis/info/rdb_bgsave_in_progress": 1, "redis/info/rdb_current_bgsave_time_sec": 5}
STATES: dict[str, tuple[Document, str]] = {
    "healthy": (evidence(), "healthy"),
    "too little changed": (of_instance(evidence(), "redis/info/rdb_changes_since_last_save", 0), "idle"),
    "no save points": (of_instance(evidence(), "redis/config/save", ""), "saves_disabled"),
    "saving": (with_(evidence(), SAVING), "save_in_progress"),
    "stopped child": (
        with_(evidence(), {**SAVING, "process/children": [{"pid": 2000, "kind": "rdb_save", "state": "T"}]}),
        "save_stuck",
    ),
    "child waits for the storage": (
        with_(
            evidence(),
            {
                **SAVING,
                "redis/info/rdb_current_bgsave_time_sec": 90,
                "process/children": [{"pid": 2000, "kind": "rdb_save", "state": "D"}],
            },
        ),
        "save_stuck",
    ),
    "ten times as long": (
        with_(
            evidence(),
            {
                **SAVING,
                "redis/info/rdb_current_bgsave_time_sec": 700,
                "process/children": [{"pid": 2000, "kind": "rdb_save", "state": "S"}],
            },
        ),
        "save_stuck",
    ),
    "long, like the save before": (
        with_(
            evidence(),
            {
                **SAVING,
                "redis/info/rdb_current_bgsave_time_sec": 700,
                "redis/info/rdb_last_bgsave_time_sec": 900,
                "process/children": [{"pid": 2000, "kind": "rdb_save", "state": "S"}],
            },
        ),
        "save_in_progress",
    ),
    "slow transfer to a replica": (
        with_(
            evidence(),
            {
                **SAVING,
                "redis/info/rdb_current_bgsave_time_sec": 700,
                "process/children": [{"pid": 2000, "kind": "rdb_to_replicas", "state": "S"}],
            },
        ),
        "healthy",
    ),
    "slow transfer in the way": (
        with_(
            evidence(),
            {
                **SAVING,
                "redis/info/rdb_last_save_time": NOW - 4000,
                "process/children": [{"pid": 2000, "kind": "rdb_to_replicas", "state": "S"}],
            },
        ),
        "save_delayed_by_aof_rewrite",
    ),
    "rewrite in the way": (
        with_(evidence(), {"redis/info/rdb_last_save_time": NOW - 4000, "redis/info/aof_rewrite_in_progress": 1}),
        "save_delayed_by_aof_rewrite",
    ),
    "killed while it saved": (
        with_(
            evidence(),
            {
                "redis/started_unix": NOW - 60,
                "process/started_unix": NOW - 60,
                "redis/info/rdb_last_save_time": NOW - 60,
                "host/kernel_log/events": [oom_kill(900, "cgroup", seconds_ago=70)],
                "data_directory/temp_files": [{**ORPHAN, "modified_unix": NOW - 70, "size_bytes": MIB}],
            },
        ),
        "restarted_by_oom",
    ),
    "over-mounted": (
        with_(
            evidence(),
            {"data_directory/same_directory": False, "data_directory/lookup_view": filesystem(device="253:9")},
        ),
        "hidden_directory",
    ),
    "closed port": (with_(evidence(), {"connection/state": "unreachable", "redis": None}), "unreachable"),
    "hung": (with_(evidence(), {"connection/state": "timeout", "redis": None}), "unreachable"),
    "not Redis": (with_(evidence(), {"connection/state": "not_redis", "redis": None}), "unreachable"),
    "password": (with_(evidence(), {"connection/state": "auth_required", "redis": None}), "auth_required"),
    "loading": (with_(evidence(), {"connection/state": "loading", "redis": None}), "loading"),
    "loading, and INFO answers": (of_instance(evidence(), "redis/info/loading", 1), "loading"),
    "no right to ask": (with_(evidence(), {"connection/state": "not_permitted", "redis": None}), "not_permitted"),
    "protected mode": (with_(evidence(), {"connection/state": "denied", "redis": None}), "not_permitted"),
    "INFO without persistence": (of_instance(evidence(), "redis/info", {"used_memory": 1}), "not_permitted"),
    "Dragonfly": (of_instance(evidence(), "redis/server", "dragonfly"), "unsupported"),
    "Sentinel": (of_instance(evidence(), "redis/mode", "sentinel"), "unsupported"),
    "KeyDB with snapshot threads": (
        with_(evidence(), {"redis/server": "keydb", "redis/config/use-fork": "no"}),
        "unsupported",
    ),
    "KeyDB that forks": (with_(evidence(), {"redis/server": "keydb", "redis/config/use-fork": "yes"}), "healthy"),
    "Windows": (of_instance(evidence(), "redis/info/os", "Windows"), "unsupported"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_recognised(name: str) -> None:
    document, state = STATES[name]
    diagnosis = judge(document)
    assert diagnosis["state"] == state
    assert diagnosis["cause"] is None
    assert diagnosis["causes"] == []


def test_the_states_cover_every_state() -> None:
    wanted = {outcome.id for outcome in RULES.outcomes.values() if outcome.kind == "state"}
    assert {state for _document, state in STATES.values()} == wanted


# Something that looks guilty and is not the cause.
YESTERDAY = 86_400
CONTROLS: dict[str, tuple[Document, list[str]]] = {
    "overcommit 0 beside a full disk": (
        with_(
            written("ENOSPC"), {"host/overcommit/mode": 0, "data_directory/process_view": filesystem(usable_bytes=MIB)}
        ),
        ["disk_full"],
    ),
    "a kill of another process": (
        with_(
            failing(signalled_child(9)),
            {
                "host/kernel_log/events": [
                    {**oom_kill(7777, "host"), "command": "java", "task_cgroup": "/system.slice/java.service"}
                ]
            },
        ),
        ["child_killed"],
    ),
    "a kill of another server": (
        with_(
            failing(signalled_child(9)),
            {"host/kernel_log/events": [oom_kill(7777, "cgroup", task_cgroup="/other", oom_cgroup="/other")]},
        ),
        ["child_killed"],
    ),
    "a kill of yesterday": (
        with_(
            failing(signalled_child(9)),
            {"host/kernel_log/events": [oom_kill(CHILD_PID, "host", seconds_ago=YESTERDAY)]},
        ),
        ["child_killed"],
    ),
    "lines from before the last success": (
        failing(
            [
                *failed_child(child_line("open_failed", 5000, errno="EACCES", errno_text="x"), seconds_ago=5000),
                log_event("save_started", 4500, child_pid=1999),
                log_event("save_succeeded", 4499),
                *failed_child(child_line("write_failed", errno="ENOSPC", errno_text="x", operation="fsync")),
            ]
        ),
        ["disk_full"],
    ),
    "a root-owned dump in a writable directory": (
        with_(written("ENOSPC"), {"data_directory/dump/uid": 0, "data_directory/dump/mode": "0600"}),
        ["disk_full"],
    ),
    "a full disk in the way of a fork": (
        with_(
            forked("EAGAIN"), {"process/uid_threads": 5000, "data_directory/process_view": filesystem(usable_bytes=0)}
        ),
        ["fork_process_limit", "disk_full"],
    ),
    "root ignores the process limit": (
        with_(
            written("EIO"),
            {
                "process/uid": {"real": 0, "effective": 0},
                "process/limits/nproc/soft": 1,
                "process/capabilities_effective": ["CAP_SYS_ADMIN"],
            },
        ),
        ["io_error"],
    ),
    "a finite processor time beside a full disk": (
        with_(written("ENOSPC"), {"process/limits/cpu/soft": 3600}),
        ["disk_full"],
    ),
    "an unusual directory of an operator": (
        with_(opened("EACCES"), {"redis/config/dir": "/data", "redis/config/dbfilename": "prod.rdb", **BLOCKED}),
        ["dir_permission_denied"],
    ),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_looks_guilty_is_not_named(name: str) -> None:
    document, expected = CONTROLS[name]
    assert causes(judge(document)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"host/kernel_log/events": [oom_kill(CHILD_PID, "host", seconds_ago=YESTERDAY)]},
        {"host/overcommit/mode": 0},
        {"host/thp/policy": "always"},
        {"redis/info/aof_rewrite_in_progress": 1},
        {"data_directory/dump/uid": 0},
        {"data_directory/temp_files": [{**ORPHAN, "size_bytes": 1000}]},
    ],
)
def test_beside_health_nothing_is_named(changes: Document) -> None:
    diagnosis = judge(with_(evidence(), changes))
    assert diagnosis["state"] == "healthy"
    assert diagnosis["cause"] is None
    assert diagnosis["forecast"]["answer"] == "will_succeed"


def test_two_faults_at_once_are_both_named_in_the_order_of_a_save() -> None:
    document = with_(opened("EACCES"), {**BLOCKED, "data_directory/process_view": filesystem(usable_bytes=0)})
    diagnosis = judge(document)
    assert causes(diagnosis) == ["dir_permission_denied", "disk_full"]
    assert [cause["confidence"] for cause in diagnosis["causes"]] == ["confirmed", "probable"]


def test_kills_that_left_the_files_that_fill_the_disk_are_the_root() -> None:
    document = with_(
        failing(
            [
                *signalled_child(9, seconds_ago=7000, child=1500),
                *failed_child(child_line("write_failed", errno="ENOSPC", errno_text="x", operation="rdbSaveRio")),
            ]
        ),
        {
            "host/kernel_log/events": [oom_kill(1500, "cgroup", seconds_ago=6999)],
            "data_directory/temp_files": [ORPHAN],
            "data_directory/process_view": filesystem(usable_bytes=MIB, free_bytes=MIB, total_bytes=12 * GIB),
        },
    )
    diagnosis = judge(document)
    assert causes(diagnosis) == ["child_oom_killed_cgroup", "disk_full"]
    assert diagnosis["cause"]["confidence"] == "confirmed"
    assert "orphan_temp_files" in [fix["id"] for fix in diagnosis["fixes"]]


@pytest.mark.parametrize(("last_save_seconds_ago", "expected"), [(20, "disk_full"), (4000, "dir_permission_denied")])
def test_a_log_without_successes_is_read_by_the_time_of_the_last_save(
    last_save_seconds_ago: float, expected: str
) -> None:
    document = with_(
        opened("EACCES"),
        {
            "redis/config/loglevel": "warning",
            "redis/info/rdb_last_save_time": NOW - last_save_seconds_ago,
            "data_directory/process_view": filesystem(usable_bytes=0),
        },
    )
    assert judge(document)["cause"]["id"] == expected


def test_a_failed_save_before_the_one_that_runs_now_is_still_explained() -> None:
    diagnosis = judge(with_(opened("EACCES"), {**BLOCKED, **SAVING}))
    assert diagnosis["state"] == "save_in_progress"
    assert causes(diagnosis) == ["dir_permission_denied"]


# Without a log


def test_without_a_log_the_one_thing_that_stands_is_probable() -> None:
    diagnosis = judge(with_(failing(), BLOCKED))
    assert causes(diagnosis) == ["dir_permission_denied"]
    assert diagnosis["cause"]["confidence"] == "probable"


def test_without_a_log_two_things_that_stand_are_possible() -> None:
    diagnosis = judge(with_(failing(), {**BLOCKED, "data_directory/process_view": filesystem(usable_bytes=0)}))
    assert causes(diagnosis) == ["dir_permission_denied", "disk_full"]
    assert {cause["confidence"] for cause in diagnosis["causes"]} == {"possible"}


def test_without_a_log_a_hijack_comes_before_ownership() -> None:
    diagnosis = judge(with_(failing(), {"redis/config/dir": "/etc/cron.d", **BLOCKED}))
    assert causes(diagnosis) == ["hijacked_dir"]


def test_counters_of_a_failed_fork_leave_the_directory_out() -> None:
    document = with_(failing(), {**BLOCKED, "redis/info/rdb_last_bgsave_time_sec": -1, "process/uid_threads": 5000})
    diagnosis = judge(document)
    assert diagnosis["cause"]["id"] == "fork_process_limit"
    assert diagnosis["path"][-1]["answer"] == "yes"


def test_an_observed_attempt_decides_where_there_is_no_log() -> None:
    observed = {
        "child_pid": 2000,
        "target": "disk",
        "trigger": "command",
        "started_unix": NOW - 5,
        "ended_unix": NOW - 4,
        "outcome": "failed",
        "stage": "open",
        "errno": "EACCES",
        "errno_text": "Permission denied",
        "lines": ["Failed opening the temp RDB file"],
        "source": "observed",
    }
    diagnosis = judge(with_(failing(), {**BLOCKED, "observed_attempt": observed}))
    assert causes(diagnosis) == ["dir_permission_denied"]
    assert diagnosis["cause"]["confidence"] == "confirmed"
    assert diagnosis["cause"]["evidence"][0]["source"] == "observed save"


# Less evidence


@pytest.mark.parametrize("name", [*FAULTS, *STATES])
def test_an_ordinary_user_gets_an_answer_too(name: str) -> None:
    document = (FAULTS.get(name) or STATES[name])[0]
    diagnosis = judge(unprivileged(document))
    assert diagnosis["state"] in {*RULES.outcomes, "failing"}
    if diagnosis["status"] == "err":
        assert set(causes(diagnosis)) <= {
            "no_evidence",
            "hijacked_dir",
            "fork_commit_limit",
            "fork_overcommit_heuristic",
        }
        assert diagnosis["forecast"]["answer"] in ("unknown", "will_fail")
    if diagnosis["forecast"]["answer"] == "unknown":
        assert diagnosis["unknowns"]


@pytest.mark.parametrize("key", sorted(make.instance()))
@pytest.mark.parametrize("name", ["permission", "commit limit", "disk full", "child killed in its group"])
def test_each_part_may_be_missing(name: str, key: str) -> None:
    if key == "address":
        return
    document = of_instance(FAULTS[name][0], key, None)
    diagnosis = judge(document)
    if key == "redis":
        assert diagnosis["status"] == "unknown"
    else:
        assert diagnosis["status"] == "err"
        assert diagnosis["cause"] is not None


def test_no_host_at_all() -> None:
    document = failing(failed_child(child_line("open_failed", errno="EACCES", errno_text="Permission denied")))
    document["host"] = None
    assert judge(document)["cause"]["id"] == "dir_permission_denied"


# What the document says besides


def commands_of(document: Document, fix_id: str) -> list[str]:
    return [command for fix in judge(document)["fixes"] if fix["id"] == fix_id for command in fix["commands"]]


def test_commands_for_files_go_where_the_server_is() -> None:
    denied = with_(opened("EACCES"), {"data_directory/access/writable": False})
    assert commands_of(denied, "data_dir")[0] == f"chown redis:110 {make.DIRECTORY}"
    contained = {
        "process/namespaces/mount/is_host": False,
        "data_directory/process_view": filesystem(device="0:77"),
        "data_directory/lookup_view": filesystem(device="0:77"),
    }
    inside = with_(denied, contained)
    assert (
        commands_of(inside, "data_dir")[0] == f"nsenter --target 1000 --mount --root -- chown 110:110 {make.DIRECTORY}"
    )
    assert commands_of(inside, "verify") == commands_of(denied, "verify")
    # The sandbox of a unit shows the very directory of the host.
    same = with_(inside, {"data_directory/process_view": filesystem(), "data_directory/lookup_view": filesystem()})
    assert commands_of(same, "data_dir") == commands_of(denied, "data_dir")
    jailed = with_(denied, {"data_directory/root": "/jail", "data_directory/host_view": None})
    assert commands_of(jailed, "data_dir")[1].startswith("nsenter --target 1000 --mount --root -- chmod ")


def test_what_a_mount_covers_is_given_to_nobody() -> None:
    """The mount is in the way, not the owner; and a save into what is visible now could replace a dump there."""
    denied = with_(opened("EACCES"), {"data_directory/access/writable": False, "data_directory/same_directory": False})
    decided = {fix["id"]: fix["decision"] for fix in judge(denied)["fixes"]}
    assert decided["data_dir"] == "refuse"
    commands = [command for fix in judge(denied)["fixes"] for command in fix["commands"]]
    assert not [command for command in commands if "chown" in command or "chmod" in command or "CONFIG SET" in command]


def test_a_denial_that_owner_and_mode_do_not_explain() -> None:
    """An NFS server, a module without a record, a file of that name: nothing here has changed since."""
    changed = "data_directory/owner/changed_unix"
    untouched = judge(of_instance(opened("EACCES"), changed, NOW - 4000))
    assert untouched["cause"]["id"] == "dir_permission_denied"
    assert (untouched["cause"]["confidence"], untouched["cause"]["still_present"]) == ("probable", None)
    assert untouched["forecast"]["answer"] == "unknown"
    assert {fix["id"]: fix["decision"] for fix in untouched["fixes"]}["data_dir"] == "manual"
    # Somebody has put it right.
    touched = judge(of_instance(opened("EACCES"), changed, NOW - 5))
    assert (touched["cause"]["confidence"], touched["cause"]["still_present"]) == ("confirmed", False)
    assert touched["forecast"]["answer"] == "will_succeed"
    # Owner and mode forbid it, since long ago.
    forbidden = {changed: NOW - 4000, "data_directory/access/writable": False}
    still = judge(with_(opened("EACCES"), forbidden))
    assert (still["cause"]["confidence"], still["cause"]["still_present"]) == ("confirmed", True)
    # What failed in another way says nothing of rights.
    assert judge(of_instance(written("EIO"), changed, NOW - 4000))["forecast"]["answer"] != "will_fail"


def test_a_save_is_not_asked_for_where_memory_may_still_be_short() -> None:
    def verifying(**changes: t.Any) -> str:
        killed = with_(failing(signalled_child(9)), {"host/kernel_log/events": [oom_kill(make.CHILD_PID, "cgroup")]})
        document = judge(with_(killed, {f"cgroups/memory/0/{name}": value for name, value in changes.items()}))
        assert document["cause"]["id"] == "child_oom_killed_cgroup"
        return next(fix["decision"] for fix in document["fixes"] if fix["id"] == "verify")

    assert verifying() == "apply"
    assert verifying(limit_bytes=int(1.2 * GIB)) == "opt_in"  # expected to fail
    assert verifying(limit_bytes=2 * GIB, usage_bytes=None) == "opt_in"


AOF_FAILED = {"redis/info/aof_enabled": 1, "redis/info/aof_last_write_status": "err"}


def unblocking(document: Document) -> str:
    full = of_instance(document, "data_directory/process_view", filesystem(usable_bytes=0))
    return next(fix["decision"] for fix in judge(full)["fixes"] if fix["id"] == "emergency_unblock")


def test_stop_writes_no_is_not_offered_against_what_the_aof_blocks() -> None:
    assert unblocking(failing()) == "opt_in"
    assert unblocking(with_(evidence(), AOF_FAILED)) == "refuse"
    assert unblocking(with_(failing(), AOF_FAILED)) == "refuse"
    assert "AOF" in judge(with_(evidence(), AOF_FAILED))["recovery"]["reason"]


def test_a_replica_that_the_next_write_ends_does_not_recover() -> None:
    met = judge(of_instance(failing(), "redis/role", "replica"))
    assert met["recovery"]["will_retry"] is None
    assert "ends it" in met["recovery"]["reason"]
    tolerant = with_(failing(), {"redis/role": "replica", "redis/config/replica-ignore-disk-write-errors": "yes"})
    assert judge(tolerant)["recovery"]["will_retry"] is True


def test_writes_blocked_by_version_and_role() -> None:
    assert judge(failing())["writes_blocked"] is True
    assert judge(of_instance(failing(), "redis/config/stop-writes-on-bgsave-error", "no"))["writes_blocked"] is False
    assert judge(of_instance(failing(), "redis/config/save", ""))["writes_blocked"] is False
    replica = of_instance(failing(), "redis/role", "replica")
    assert judge(replica)["writes_blocked"] is True
    older = with_(replica, {"redis/version": "6.2.16", "redis/compatible_version": "6.2.16"})
    assert judge(older)["writes_blocked"] is False
    hidden = failing()
    hidden["instances"][0]["redis"]["config"] = {}
    assert judge(hidden)["writes_blocked"] is None
    aof = with_(evidence(), AOF_FAILED)
    assert judge(aof)["writes_blocked"] is True
    assert judge(with_(aof, {"redis/role": "replica"}))["writes_blocked"] is True
    older = {"redis/role": "replica", "redis/version": "6.2.16", "redis/compatible_version": "6.2.16"}
    assert judge(with_(aof, older))["writes_blocked"] is False
    assert judge(evidence())["writes_blocked"] is False


def test_recovery_knows_the_dead_lock() -> None:
    met = judge(failing())
    assert met["recovery"]["will_retry"] is True
    dead = judge(of_instance(failing(), "redis/info/rdb_changes_since_last_save", 0))
    assert dead["recovery"]["will_retry"] is False
    assert "Dead-lock" in dead["recovery"]["reason"]
    none = judge(of_instance(failing(), "redis/config/save", ""))
    assert none["recovery"]["will_retry"] is False
    free = with_(
        failing(), {"redis/info/rdb_changes_since_last_save": 0, "redis/config/stop-writes-on-bgsave-error": "no"}
    )
    assert judge(free)["recovery"]["will_retry"] is None
    assert judge(evidence())["recovery"]["will_retry"] is None


def test_exposure() -> None:
    assert judge(failing())["exposure"] == {
        "changes_at_risk": 500,
        "seconds_since_last_save": 4000,
        "since_start": False,
    }


def test_the_document_has_exactly_the_keys_of_the_design() -> None:
    diagnosis = judge(opened("EACCES"))
    assert set(diagnosis) == {
        "schema_version",
        "instance",
        "status",
        "state",
        "writes_blocked",
        "recovery",
        "cause",
        "causes",
        "path",
        "risks",
        "forecast",
        "exposure",
        "dump",
        "fixes",
        "unknowns",
    }
    assert set(diagnosis["instance"]) == {
        "address",
        "server",
        "version",
        "role",
        "pid",
        "uid",
        "unit",
        "config_file",
        "dir",
        "dbfilename",
    }
    assert set(diagnosis["cause"]) == {"id", "title", "summary", "confidence", "still_present", "evidence"}
    assert set(diagnosis["forecast"]) == {"answer", "cause", "missing", "signals"}
    for entry in diagnosis["fixes"]:
        assert set(entry) == {"id", "class", "decision", "reason", "commands"}


def test_gaps_become_unknowns() -> None:
    document = evidence()
    gap = {"what": "the kernel log", "why": "Operation not permitted", "remedy": "Run as root."}
    document["instances"][0]["gaps"] = [gap]
    document["gaps"] = [gap, {"what": "NUMA", "why": "no such file", "remedy": ""}]
    assert [unknown["what"] for unknown in judge(document)["unknowns"]] == ["the kernel log", "NUMA"]


def test_the_answer_does_not_depend_on_the_day_nor_change_the_evidence() -> None:
    document = with_(opened("EACCES"), BLOCKED)
    before = repr(document)
    assert diagnose(document, RULES) == diagnose(document, RULES)
    assert repr(document) == before


# Fixes


def fix(diagnosis: Document, fix_id: str) -> Document:
    return next(entry for entry in diagnosis["fixes"] if entry["id"] == fix_id)


def test_a_hijacked_directory_is_never_given_away() -> None:
    diagnosis = judge(FAULTS["hijacked directory"][0])
    refused = fix(diagnosis, "data_dir")
    assert refused["decision"] == "refuse"
    assert refused["commands"] == []
    assert fix(diagnosis, "verify")["decision"] == "refuse"
    for entry in diagnosis["fixes"]:
        assert not any(command.startswith(("chown", "chmod", "chattr")) for command in entry["commands"])


def test_mode_2_is_not_left_unasked() -> None:
    diagnosis = judge(FAULTS["commit limit"][0])
    assert fix(diagnosis, "overcommit")["decision"] == "opt_in"
    assert fix(judge(FAULTS["heuristic, old kernel"][0]), "overcommit")["decision"] == "apply"


def test_a_directory_of_the_system_keeps_its_owner() -> None:
    document = with_(opened("EACCES"), {**BLOCKED, "data_directory/path": "/var/lib"})
    document = of_instance(document, "data_directory/access/blocked_by", "/var/lib")
    assert fix(judge(document), "data_dir")["decision"] == "refuse"


def test_values_in_commands_are_quoted_and_texts_are_never_templates() -> None:
    name = "/srv/x; touch /tmp/owned; {user} '\x1b[2J"
    document = with_(opened("EACCES"), {**BLOCKED, "redis/config/dir": name, "data_directory/path": name})
    diagnosis = judge(of_instance(document, "data_directory/access/blocked_by", name))
    command = next(entry for entry in fix(diagnosis, "data_dir")["commands"] if entry.startswith("chown"))
    assert command == """chown redis:110 '/srv/x; touch /tmp/owned; {user} '"'"'?[2J'"""
    assert "{user}" in diagnosis["cause"]["summary"]
    assert "\x1b" not in diagnosis["cause"]["summary"]


def test_the_command_line_client_fits_the_address() -> None:
    document = of_instance(failing(), "address", "unix:/run/my redis.sock")
    commands = fix(judge(document), "verify")["commands"]
    assert commands[0] == "redis-cli -s '/run/my redis.sock' BGSAVE"
    document = with_(failing(), {"address": "[::1]:7000", "redis/server": "valkey"})
    assert fix(judge(document), "verify")["commands"][0] == "valkey-cli -h ::1 -p 7000 BGSAVE"


# What isn't evidence


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "evidence"),
        ({}, "schema_version"),
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": 1}, "gathered_at_unix"),
        ({"schema_version": 1, "gathered_at_unix": 1.0}, "instances"),
        ({"schema_version": 1, "gathered_at_unix": 1.0, "instances": [3]}, "instances[0]"),
        ({"schema_version": 1, "gathered_at_unix": 1.0, "instances": [{}]}, "instances[0].address"),
        (
            {"schema_version": 1, "gathered_at_unix": 1.0, "instances": [{"address": "a", "redis": 1}]},
            "instances[0].redis",
        ),
        ({"schema_version": 1, "gathered_at_unix": 1.0, "instances": [], "host": 1}, "host"),
    ],
)
def test_what_is_not_evidence_is_an_error_that_names_the_field(document: t.Any, field: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        diagnose(document, RULES)
    assert field in str(caught.value)


def leaves(value: t.Any, path: str = "") -> t.Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        here = f"{path}/{key}" if path else str(key)
        yield here
        yield from leaves(below, here)


AWKWARD = with_(
    failing(failed_child(child_line("write_failed", errno="ENOSPC", errno_text="x", operation="fsync"))),
    {
        "host/kernel_log/events": [oom_kill(CHILD_PID, "cgroup")],
        "host/overcommit/mode": 2,
        "data_directory/temp_files": [ORPHAN],
        "cgroups/memory": GROUP_FULL,
        "redis/info/rdb_bgsave_in_progress": 1,
        "process/children": [{"pid": 7, "kind": "rdb_save", "state": "D"}],
    },
)


@pytest.mark.parametrize("value", [None, "text", -1, ["list"], {"a": "mapping"}], ids=repr)
def test_no_shape_of_a_value_ends_in_a_traceback(value: t.Any) -> None:
    """A saved file may have been edited, and a collector of another version may write something else."""
    for path in list(leaves(AWKWARD)):
        document = change(AWKWARD, path, value)
        try:
            documents = diagnose(document, RULES)
        except EvidenceError as error:
            assert str(error).startswith("evidence"), path
        else:
            json.dumps(documents, allow_nan=False)


ODD_NUMBERS: dict[str, t.Any] = {
    "400 digits": "9" * 400,
    "400 digits below zero": "-" + "9" * 400,
    "an integer of 400 digits": int("9" * 400),
    "infinity": float("inf"),
    "no number": float("nan"),
    "infinity as text": "1e999",
    "a list": [],
}


@pytest.mark.parametrize("name", ODD_NUMBERS)
def test_an_odd_number_leaves_the_other_server_its_verdict(name: str) -> None:
    document = opened("EACCES")
    good = document["instances"][0]
    paths = ("redis/info/rdb_last_save_time", "redis/info/used_memory", "redis/started_unix", "redis/config/maxmemory")
    for path in (*paths, "redis/info/latest_fork_usec", "process/pid", "data_directory/dump/size_bytes"):
        odd = make.change(make.change(good, path, ODD_NUMBERS[name]), "address", "odd:1")
        documents = diagnose({**document, "instances": [odd, good]}, RULES)
        assert [found["instance"]["address"] for found in documents] == ["odd:1", good["address"]]
        assert causes(documents[1]) == ["dir_permission_denied"], path


def test_what_nobody_foresaw_is_said_of_the_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    document = opened("EACCES")
    good = document["instances"][0]
    real = diagnosis_module.compute_signals

    def fail_on_the_odd_one(case: t.Any) -> t.Any:
        if case.instance["address"] == "odd:1" and case.instance.get("redis"):
            raise OverflowError("int too large to convert to float")
        return real(case)

    monkeypatch.setattr(diagnosis_module, "compute_signals", fail_on_the_odd_one)
    odd, fine = diagnose({**document, "instances": [{**good, "address": "odd:1"}, good]}, RULES)
    assert (odd["state"], odd["status"]) == ("unreachable", "unknown")
    assert {fix["decision"] for fix in odd["fixes"]} <= {"manual"}
    (unknown,) = [entry for entry in odd["unknowns"] if entry["what"] == "the diagnosis"]
    assert "OverflowError" in unknown["why"]
    assert "defect" in unknown["remedy"]
    assert fine["cause"]["id"] == "dir_permission_denied"
