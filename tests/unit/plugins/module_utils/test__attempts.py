# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The join of a server's log and the kernel log into attempts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._attempts import join_attempts, streak
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_log_lines import KernelLogParser
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_lines import RedisLogParser
from ansible_collections.redisops.persistence.plugins.module_utils._redis_log_times import LogTimes, zone_from_posix

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
NOW = 1795390000.0
NINE = 1795338000.0  # 22 November 2026, 09:00 UTC
SERVER = 12
STARTED = "Background saving started by pid {}"
OPEN_FAILED = "Failed opening the temp RDB file temp-{}.rdb (in server root dir /data) for saving: Permission denied"
ERROR = "Background saving error"
SIGNAL = "Background saving terminated by signal {}"
SUCCESS = "Background saving terminated with success"
MEMCG = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/redis,"
    "task_memcg={group},task={command},pid={pid},uid=0"
)
HOST = (
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg={group},task={command},pid={pid},uid=0"
)


def log_of(*lines, truncated=False):
    """Lines as ``(seconds after nine, "pid:role", message)``."""
    parser = RedisLogParser(LogTimes(zone_from_posix("UTC0"), NOW))
    events = []
    for seconds, writer, message in lines:
        minutes, rest = divmod(seconds, 60)
        hours, minutes = divmod(int(minutes), 60)
        events += parser.feed(f"{writer} 22 Nov 2026 {9 + hours:02d}:{minutes:02d}:{rest:06.3f} # {message}")
    return {"available": True, "events": events, "truncated": truncated}


def kernel_of(*messages, **more):
    parser = KernelLogParser()
    for seconds, message in messages:
        parser.feed(NINE + seconds, message)
    return {"available": True, "events": parser.events, "truncated": False, "oldest_unix": NINE - 5000, **more}


def process_of(pid=SERVER, inner=None, started=-100.0, is_host=True, children=()):
    return {
        "pid": pid,
        "pid_in_namespace": pid if inner is None else inner,
        "started_unix": NINE + started,
        "namespaces": {"pid": {"is_host": is_host}},
        "children": list(children),
    }


def join(redis_log, kernel_log=None, process=None, cgroups=None):
    return join_attempts(redis_log, kernel_log, process or process_of(), cgroups, NOW)


M = f"{SERVER}:M"


def failed_open(at, child):
    return ((at, M, STARTED.format(child)), (at, f"{child}:C", OPEN_FAILED.format(child)), (at + 0.1, M, ERROR))


def killed(at, child, signal=9):
    return ((at, M, STARTED.format(child)), (at + 5, M, SIGNAL.format(signal)))


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_the_childs_line_may_come_before_its_parents(order):
    first = [(1, M, STARTED.format(77)), (1, "77:C", OPEN_FAILED.format(77))]
    lines = [(0.9, M, "1 changes in 60 seconds. Saving...")] + [first[index] for index in order] + [(1.1, M, ERROR)]
    (attempt,) = join(log_of(*lines))
    assert (attempt["child_pid"], attempt["server_pid"], attempt["trigger"]) == (77, SERVER, "save_points")
    assert (attempt["outcome"], attempt["stage"], attempt["errno"]) == ("failed", "open", "EACCES")
    assert (attempt["started_unix"], attempt["ended_unix"]) == (NINE + 1, NINE + 1.1)
    assert (attempt["file"], attempt["directory"]) == ("temp-77.rdb", "/data")
    assert attempt["silent"] is False
    assert attempt["killer"] is None
    assert attempt["host_pid"] == 77
    assert len(attempt["lines"]) == 4


def test_a_pid_that_comes_again_is_another_attempt():
    attempts = join(log_of(*failed_open(1, 77), (600, M, STARTED.format(77)), (605, M, SIGNAL.format(25))))
    assert [(attempt["stage"], attempt["errno"], attempt["signal"], attempt["silent"]) for attempt in attempts] == [
        ("open", "EACCES", None, False),
        ("child", None, 25, True),
    ]


def test_triggers_and_targets():
    attempts = join(
        log_of(
            (1, M, "Starting BGSAVE for SYNC with target: disk"),
            *failed_open(1, 70),
            (1.2, M, "SYNC failed. BGSAVE child returned an error"),
            (2, M, "Starting BGSAVE for SYNC with target: replicas sockets"),
            (2, M, "Can't save in background: fork: Cannot allocate memory"),
            (2, M, "BGSAVE for replication failed"),
            (3, M, "Starting BGSAVE for SYNC with target: replicas sockets"),
            (3, M, "Background RDB transfer started by pid 71"),
            (4, M, "Background transfer terminated by signal 9"),
            (5, M, "100 changes in 300 seconds. Saving..."),
            (5, M, "Can't save in background: fork: Resource temporarily unavailable"),
            (600, M, "5 changes in 300 seconds. Saving..."),
            (900, M, "Can't save in background: fork: Resource temporarily unavailable"),
        )
    )
    found = [(attempt["trigger"], attempt["target"], attempt["stage"], attempt["errno"]) for attempt in attempts]
    assert found == [
        ("replication", "disk", "open", "EACCES"),
        ("replication", "replicas", "fork", "ENOMEM"),
        ("replication", "replicas", "child", None),
        ("save_points", "disk", "fork", "EAGAIN"),
        ("command", "disk", "fork", "EAGAIN"),
    ]
    assert attempts[1]["lines"][-1].endswith("BGSAVE for replication failed")
    assert [attempt["target"] for attempt in streak(attempts)] == ["disk", "disk", "disk"]


def test_without_lines_of_level_notice_the_trigger_is_unknown():
    attempts = join(log_of((1, "77:C", OPEN_FAILED.format(77)), (1.1, M, ERROR)))
    assert [(a["child_pid"], a["trigger"], a["stage"], a["outcome"]) for a in attempts] == [
        (77, "unknown", "open", "failed")
    ]
    (attempt,) = join(log_of((1, M, ERROR)))
    assert (attempt["silent"], attempt["child_pid"]) == (True, None)


def test_a_beginning_that_the_log_has_lost_is_not_called_silent():
    for redis_log in (log_of((1, M, ERROR), truncated=True), log_of((1, M, ERROR), (2, M, STARTED.format(5)))):
        attempt = join(redis_log)[0]
        assert (attempt["outcome"], attempt["stage"], attempt["silent"]) == ("failed", "child", None)


@pytest.mark.parametrize(
    "before",
    [
        (),
        ((1.5, "77:C", "Received SIGUSR1 in child, exiting now."),),
        ((1.5, M, "There is a child saving an .rdb. Killing it!"),),
    ],
)
def test_a_child_stopped_on_purpose_is_no_failure(before):
    attempts = join(log_of((1, M, STARTED.format(77)), *before, (2, M, SIGNAL.format(10))))
    assert [(attempt["outcome"], attempt["killer"]) for attempt in attempts] == [("aborted", None)]
    assert streak(attempts) == []


def test_signal_16_is_an_abort_only_where_the_log_says_so():
    assert join(log_of(*killed(1, 77, signal=16)))[0]["outcome"] == "failed"
    lines = ((1, M, STARTED.format(77)), (1.5, M, "Killing running RDB child: 77"), (2, M, SIGNAL.format(16)))
    assert join(log_of(*lines))[0]["outcome"] == "aborted"


def test_foreground_saves():
    attempts = join(
        log_of(
            *failed_open(1, 70),
            (2, M, OPEN_FAILED.format(SERVER)),
            (3, M, "DB saved on disk"),
            *failed_open(4, 71),
            (5, M, OPEN_FAILED.format(SERVER)),
        )
    )
    assert [(attempt["foreground"], attempt["outcome"]) for attempt in attempts] == [
        (False, "failed"),
        (True, "failed"),
        (True, "succeeded"),
        (False, "failed"),
        (True, "failed"),
    ]
    assert [attempt["child_pid"] for attempt in streak(attempts)] == [71]


def test_only_failures_after_the_last_success_count():
    attempts = join(
        log_of(
            *failed_open(1, 70),
            (2, M, STARTED.format(71)),
            (2.1, "71:C", "DB saved on disk"),
            (2.2, M, SUCCESS),
            *failed_open(3, 72),
            *failed_open(9, 73),
        )
    )
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "succeeded", "failed", "failed"]
    assert [attempt["child_pid"] for attempt in streak(attempts)] == [72, 73]


def test_saved_keys_are_not_success():
    (attempt,) = join(
        log_of(
            (1, M, STARTED.format(77)),
            (2, "77:C", "BGSAVE done, 5 keys saved, 0 keys skipped, 100 bytes written."),
            (2, "77:C", "Write error while saving DB to the disk(fsync): Input/output error"),
            (2.1, M, ERROR),
        )
    )
    assert (attempt["outcome"], attempt["stage"], attempt["operation"], attempt["errno"]) == (
        "failed",
        "write",
        "fsync",
        "EIO",
    )


def test_running_and_lost_children():
    redis_log = log_of((1, M, STARTED.format(7)))
    child = {"pid": 4007, "pid_in_namespace": 7, "kind": "rdb_save"}
    (attempt,) = join(redis_log, process=process_of(pid=4000, inner=SERVER, is_host=False, children=[child]))
    assert (attempt["outcome"], attempt["host_pid"]) == ("running", 4007)
    (attempt,) = join(redis_log)
    assert attempt["outcome"] == "unknown"


# --- which lines are the server's


def test_another_server_that_writes_to_the_same_file_is_left_out():
    attempts = join(
        log_of(
            *failed_open(1, 70),
            (2, "99:M", STARTED.format(71)),
            (2, "71:C", OPEN_FAILED.format(71)),
            (2.1, "99:M", ERROR),
            (3, "99:M", "Can't save in background: fork: Cannot allocate memory"),
            (4, "88:C", OPEN_FAILED.format(88)),
        )
    )
    assert [attempt["child_pid"] for attempt in attempts] == [70]


def test_two_servers_with_saves_at_once_keep_their_own():
    attempts = join(
        log_of(
            (1, M, STARTED.format(70)),
            (1.1, "99:M", STARTED.format(71)),
            (1.2, "71:C", "Write error saving DB on disk: Input/output error"),
            (1.3, "99:M", ERROR),
            (1.4, M, SIGNAL.format(25)),
        )
    )
    assert [(a["child_pid"], a["signal"], a["errno"]) for a in attempts] == [(70, 25, None)]


def test_an_earlier_process_of_the_server_is_history():
    attempts = join(
        log_of(
            (1, "5:M", STARTED.format(70)),
            (1.1, "5:M", ERROR),
            (2, "5:M", STARTED.format(71)),
            (50, M, "Server initialized"),
            (60, M, STARTED.format(72)),
            (61, M, ERROR),
        ),
        process=process_of(started=49.5),
    )
    assert [(a["child_pid"], a["before_restart"], a["outcome"]) for a in attempts] == [
        (70, True, "failed"),
        (71, True, "unknown"),
        (72, False, "failed"),
    ]
    assert [attempt["child_pid"] for attempt in streak(attempts)] == [72]


def test_a_container_whose_server_always_has_pid_1():
    redis_log = log_of(
        (1, "1:M", STARTED.format(20)),
        (1.1, "1:M", ERROR),
        (2, "1:M", STARTED.format(21)),
        (50, "1:C", "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo"),
        (51, "1:M", STARTED.format(20)),
        (51.1, "1:M", SIGNAL.format(25)),
    )
    for started in (50.0, 52.0, -1000.0):  # whatever the process's start is thought to be
        attempts = join(redis_log, process=process_of(pid=4000, inner=1, started=min(started, 50.0), is_host=False))
        assert [(a["child_pid"], a["before_restart"]) for a in attempts] == [(20, True), (21, True), (20, False)]


@pytest.mark.parametrize("started", [-100.0, 3600.0])
def test_order_tells_what_was_before_the_start_where_a_clock_was_set(started):
    redis_log = log_of((1, M, "Server initialized"), *failed_open(60, 71))
    for writers in (process_of(started=started), process_of(started=started, inner=SERVER)):
        assert [a["before_restart"] for a in join(redis_log, process=writers)] == [False]


def test_in_a_pid_namespace_the_pid_of_an_earlier_start_is_no_proof():
    redis_log = log_of((1, "1:M", "Server initialized"), (2, "1:M", STARTED.format(20)), (3, "1:M", ERROR))
    later = join(redis_log, process=process_of(pid=4000, inner=1, started=3600.0, is_host=False))
    assert [a["before_restart"] for a in later] == [True]


def test_without_a_process_the_server_that_wrote_last_is_meant():
    redis_log = log_of((1, "5:M", STARTED.format(70)), (1.1, "5:M", ERROR), *failed_open(60, 71))
    attempts = join_attempts(redis_log, None, None, None, NOW)
    assert [(a["child_pid"], a["before_restart"]) for a in attempts] == [(70, True), (71, False)]


# --- killers


def test_an_oom_kill_of_the_child_by_pid():
    kernel_log = kernel_of((5.5, MEMCG.format(group="/redis", command="redis-server", pid=77)))
    (attempt,) = join(log_of(*killed(1, 77)), kernel_log)
    killer = attempt["killer"]
    assert (killer["kind"], killer["victim"], killer["pid"], killer["matched_by"]) == ("oom_cgroup", "child", 77, "pid")
    assert killer["cgroup"] == "/redis"
    assert [event["event"] for event in attempt["kernel_events"]] == ["oom_kill"]


def test_an_oom_kill_of_the_host():
    kernel_log = kernel_of((5.5, HOST.format(group="/", command="redis-server", pid=77)))
    assert join(log_of(*killed(1, 77)), kernel_log)[0]["killer"]["kind"] == "oom_host"


@pytest.mark.parametrize(
    ("seconds", "pid", "command"),
    [(5.5, 78, "redis-server"), (5.5, 8, "java"), (5.5 - 86400, 77, "redis-server"), (5.5 + 3600, 77, "redis-server")],
)
def test_kills_of_others_and_of_other_days_prove_nothing(seconds, pid, command):
    kernel_log = kernel_of((seconds, MEMCG.format(group="/redis", command=command, pid=pid)))
    (attempt,) = join(log_of(*killed(1, 77)), kernel_log, cgroups={"path": "/redis", "memory": []})
    assert attempt["killer"]["kind"] == "unknown"
    assert attempt["killer"]["pid"] is None
    assert attempt["kernel_events"] == []


@pytest.mark.parametrize(
    ("kernel_log", "why"),
    [
        (None, "could not be read"),
        ({"available": False, "events": []}, "could not be read"),
        (kernel_of(truncated=True, oldest_unix=NINE + 100), "does not reach back"),
        (kernel_of(), "has no record"),
    ],
)
def test_why_a_killer_is_unknown(kernel_log, why):
    killer = join(log_of(*killed(1, 77)), kernel_log)[0]["killer"]
    assert killer["kind"] == "unknown"
    assert why in killer["evidence"]


def test_other_signals_have_no_killer_but_seccomp():
    kernel_log = kernel_of(
        (5.5, MEMCG.format(group="/redis", command="redis-server", pid=77)),
        (5.6, 'type=1326 audit(1795338005.600:1): pid=77 comm="redis-server" sig=31 syscall=277 code=0x80000000'),
    )
    assert join(log_of(*killed(1, 77, signal=25)), kernel_log)[0]["killer"] is None
    killer = join(log_of(*killed(1, 77, signal=31)), kernel_log)[0]["killer"]
    assert (killer["kind"], killer["matched_by"]) == ("seccomp", "pid")


def test_inside_a_container_the_kernel_s_pids_are_others_and_its_groups_longer():
    """The collector in a system container that sees /dev/kmsg: pids there are the machine's."""
    redis_log = log_of((1, "12:M", STARTED.format(77)), (6, "12:M", SIGNAL.format(9)))
    unit = "/system.slice/redis-server.service"
    groups = {"path": unit, "memory": [{"path": unit}], "truncated_at_namespace": True}

    def killer(group, pid):
        kernel_log = kernel_of((5.5, MEMCG.format(group=group, command="redis-server", pid=pid)))
        return join(redis_log, kernel_log, process_of(), groups)[0]["killer"]

    assert killer(f"/lxc/db-1{unit}", 40_077)["matched_by"] == "cgroup_and_time"
    assert killer("/lxc/db-1/system.slice/valkey-server.service", 77)["kind"] == "unknown"
    assert killer(f"/lxc/db-1{unit}2", 77)["kind"] == "unknown"
    groups["truncated_at_namespace"] = False
    assert killer(f"/lxc/db-1{unit}", 40_077)["kind"] == "unknown"
    assert killer(unit, 77)["matched_by"] == "pid"


def test_in_a_pid_namespace_group_and_time_must_fit():
    redis_log = log_of((1, "1:M", STARTED.format(20)), (6, "1:M", SIGNAL.format(9)))
    process = process_of(pid=4000, inner=1, is_host=False)
    groups = {"path": "/docker/ab", "memory": [{"path": "/docker/ab"}, {"path": "/docker"}]}

    def killer(group, pid=4020, command="redis-server", seconds=5.5):
        kernel_log = kernel_of((seconds, MEMCG.format(group=group, command=command, pid=pid)))
        return join(redis_log, kernel_log, process, groups)[0]["killer"]

    found = killer("/docker/ab")
    assert (found["kind"], found["matched_by"], found["pid"]) == ("oom_cgroup", "cgroup_and_time", 4020)
    assert killer("/docker/ab/sub")["kind"] == "oom_cgroup"
    for other in (
        killer("/docker/abc"),
        killer("/docker"),
        killer("/docker/ab", command="sh"),
        killer("/docker/ab", seconds=500),
        killer("/docker/ab", pid=4000),  # that would be the server itself, which lives
        killer("/elsewhere", pid=20),  # the host's pid 20 is not the namespace's
    ):
        assert other["kind"] == "unknown"


def test_the_server_killed_while_it_saved():
    redis_log = log_of(
        (1, "5:M", STARTED.format(70)), (50, M, "Server initialized"), (51, M, "Ready to accept connections")
    )
    kernel_log = kernel_of((8, MEMCG.format(group="/redis", command="redis-server", pid=5)))
    (attempt,) = join(redis_log, kernel_log, process_of(started=49.8))
    assert (attempt["before_restart"], attempt["outcome"]) == (True, "unknown")
    assert (attempt["killer"]["victim"], attempt["killer"]["kind"]) == ("server", "oom_cgroup")
    assert streak([attempt]) == []
    # A kill after the new start is of something else.
    late = kernel_of((500, MEMCG.format(group="/redis", command="redis-server", pid=5)))
    assert join(redis_log, late, process_of(started=49.8))[0]["killer"] is None
    # A server that was stopped between two saves was not killed by the first.
    ended = log_of((1, "5:M", STARTED.format(70)), (2, "5:M", SUCCESS), (50, M, "Server initialized"))
    assert join(ended, kernel_log, process_of(started=49.8))[0]["killer"] is None


# --- other records of the kernel


def test_records_of_the_kernel_go_to_the_attempt_that_they_explain():
    kernel_log = kernel_of(
        (1, f"__vm_enough_memory: pid: {SERVER}, comm: redis-server, bytes: 5 not enough memory for the allocation"),
        (1, "__vm_enough_memory: pid: 999, comm: redis-server, bytes: 5 not enough memory for the allocation"),
        (100, "cgroup: fork rejected by pids controller in /redis"),
        (100, "cgroup: fork rejected by pids controller in /other"),
        (200, "blk_update_request: I/O error, dev sda, sector 123 op 0x1:(WRITE)"),
        (-5000, "EXT4-fs (sda1): Remounting filesystem read-only"),
    )
    attempts = join(
        log_of(
            (1, M, "Can't save in background: fork: Cannot allocate memory"),
            (100, M, "Can't save in background: fork: Resource temporarily unavailable"),
            (200, M, STARTED.format(70)),
            (200, "70:C", "Write error saving DB on disk: Input/output error"),
            (200.1, M, ERROR),
            (300, M, STARTED.format(71)),
            (300, "71:C", OPEN_FAILED.format(71).replace("Permission denied", "Read-only file system")),
            (300.1, M, ERROR),
        ),
        kernel_log,
        cgroups={"path": "/redis"},
    )
    found = [[(e["event"], e.get("pid"), e.get("cgroup")) for e in attempt["kernel_events"]] for attempt in attempts]
    assert found == [
        [("commit_refused", SERVER, None)],
        [("fork_rejected", None, "/redis")],
        [("io_error", None, None)],
        [("remounted_read_only", None, None)],
    ]


# --- crashes


def test_a_crash_report_may_come_before_the_parents_line():
    crash = "Redis 6.2.14 crashed by signal: 11, si_code: 1"
    lines = ((1, "77:C", crash), (1, M, STARTED.format(77)), (1.1, M, SIGNAL.format(11)))
    (attempt,) = join(log_of(*lines))
    assert (attempt["child_pid"], attempt["crash"], attempt["silent"]) == (77, {"signal": 11, "module": None}, False)


def test_a_real_crash_report_names_its_module():
    parser = RedisLogParser(LogTimes(zone_from_posix("UTC0"), NOW))
    lines = (LOGS / "redis-6.2-module.log").read_text().split("\n")
    events = [event for line in lines for event in parser.feed(line)]
    server = next(event["pid"] for event in events if event["event"] == "server_ready")
    (attempt,) = join({"events": events}, process={"pid": server, "pid_in_namespace": server, "started_unix": None})
    assert (attempt["signal"], attempt["crash"]) == (11, {"signal": 11, "module": "timeseries.so"})
    assert attempt["silent"] is False


def test_a_crash_of_another_child_makes_no_attempt():
    crash = "Redis 7.0.15 crashed by signal: 11, si_code: 1"
    lines = ((1, M, "Background append only file rewriting started by pid 77"), (2, "77:C", crash))
    assert join(log_of(*lines)) == []
    assert join(log_of((2, "78:C", crash), (3, M, "Module fork exited pid: 78, retcode: 0, bysignal: 11"))) == []


@pytest.mark.parametrize(
    ("name", "outcomes", "failed"),
    [
        (
            name,
            "failed succeeded succeeded failed failed failed aborted failed succeeded",
            [],
        )
        for name in ("redis-6.2.log", "redis-7.0.log", "valkey-9.1.log")
    ],
)
def test_real_logs_and_the_flag_that_their_servers_showed(name, outcomes, failed):
    parser = RedisLogParser(LogTimes(zone_from_posix("UTC0"), NOW))
    events = [event for line in (LOGS / name).read_text().split("\n") for event in parser.feed(line)]
    attempts = join_attempts({"events": events}, None, None, None, NOW)
    assert [attempt["outcome"] for attempt in attempts] == outcomes.split()
    assert [attempt["child_pid"] for attempt in streak(attempts)] == failed  # a SAVE that worked came last
    assert len(streak(attempts[:-1])) == 3  # EISDIR, signal 9, signal 11; the abort and the failing SAVE left the flag


# --- hostile and missing


def test_nothing_in_nothing_out():
    assert join_attempts(None, None, None, None, NOW) == []
    assert join_attempts({"available": False, "events": []}, None, None, None, NOW) == []


def test_lines_without_a_time_or_a_pid():
    events = [
        {
            "time_unix": None,
            "pid": None,
            "role": None,
            "event": "save_started",
            "text": "a",
            "child_pid": 7,
            "target": "disk",
        },
        {
            "time_unix": None,
            "pid": 7,
            "role": "C",
            "event": "write_failed",
            "text": "b",
            "errno": "EIO",
            "errno_text": "x",
        },
        {"time_unix": None, "pid": None, "role": None, "event": "save_failed", "text": "c"},
    ]
    (attempt,) = join_attempts({"events": events}, kernel_of(), None, None, NOW)
    assert (attempt["outcome"], attempt["stage"], attempt["errno"]) == ("failed", "write", "EIO")


def test_lines_are_bounded():
    lines = [(1, M, STARTED.format(77))] + [
        (1 + n / 100, "77:C", f"Write error saving DB on disk: {n}") for n in range(50)
    ]
    (attempt,) = join(log_of(*lines, (9, M, ERROR)))
    assert len(attempt["lines"]) == 20
    assert attempt["errno_text"] == "0"
