# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of kernels 3.10 to 6.18 (those of 6.18 as this collection's lab met them), and where they are read."""

from __future__ import annotations

import json
import os
import re

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _kernel_log
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_log_lines import KernelLogParser, classify
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, Gaps, System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import NOW_UNIX, made_system

CONSTRAINT = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/redis.slice,"
    "task_memcg=/redis.slice/cache.service,task=valkey-server,pid=14445,uid=61307"
)
KILLED = (
    "Memory cgroup out of memory: Killed process 14445 (valkey-server) total-vm:89892kB, anon-rss:42232kB, "
    "file-rss:3084kB, shmem-rss:0kB, UID:61307 pgtables:148kB oom_score_adj:800"
)


def parse(*messages, time_unix=100.0):
    parser = KernelLogParser()
    for message in messages:
        parser.feed(time_unix, message)
    return parser.events


def test_the_lines_of_one_kill_are_one_event():
    (event,) = parse("valkey-server invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0", CONSTRAINT, KILLED)
    assert event == {
        "time_unix": 100.0,
        "text": KILLED,
        "event": "oom_kill",
        "pid": 14445,
        "command": "valkey-server",
        "uid": 61307,
        "constraint": "cgroup",
        "oom_cgroup": "/redis.slice",
        "task_cgroup": "/redis.slice/cache.service",
        "anonymous_bytes": 42232 * 1024,
        "oom_score_adj": 800,
        "global": False,
    }


def test_a_host_wide_kill():
    (event,) = parse(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
        "task_memcg=/user.slice,task=redis-server,pid=7,uid=0",
        "Out of memory: Killed process 7 (redis-server) total-vm:8kB, anon-rss:4kB, UID:0 oom_score_adj:0",
    )
    assert (event["constraint"], event["global"], event["oom_cgroup"]) == ("host", True, None)
    assert event["task_cgroup"] == "/user.slice"


@pytest.mark.parametrize(
    ("messages", "pid", "constraint"),
    [
        (  # 4.4: the chosen process, then the killed one
            (
                "Out of memory: Kill process 123 (redis-server) score 900 or sacrifice child",
                "Killed process 123 (redis-server) total-vm:8000kB, anon-rss:4000kB, file-rss:0kB, shmem-rss:0kB",
            ),
            123,
            None,
        ),
        (  # 4.4: a child was sacrificed
            (
                "Out of memory: Kill process 123 (redis-server) score 900 or sacrifice child",
                "Killed process 456 (redis-server) total-vm:8000kB, anon-rss:4000kB, file-rss:0kB, shmem-rss:0kB",
            ),
            456,
            None,
        ),
        (  # 3.10
            (
                "Task in /docker/ab killed as a result of limit of /docker",
                "Memory cgroup out of memory: Kill process 99 (redis-server) score 0 or sacrifice child",
                "Killed process 99 (redis-server) total-vm:8000kB, anon-rss:4000kB, file-rss:0kB",
            ),
            99,
            "cgroup",
        ),
        (("Killed process 99, UID 0, (redis-server) total-vm:8000kB, anon-rss:4000kB, file-rss:0kB",), 99, None),
    ],
)
def test_kills_of_older_kernels(messages, pid, constraint):
    (event,) = parse(*messages)
    assert (event["event"], event["pid"], event["constraint"]) == ("oom_kill", pid, constraint)
    assert event["anonymous_bytes"] == 4000 * 1024
    if constraint:
        assert (event["oom_cgroup"], event["task_cgroup"]) == ("/docker", "/docker/ab")


def test_a_group_that_dies_together():
    group = "Tasks in /kubepods/pod1 are going to be killed due to memory.oom.group set"
    events = parse(CONSTRAINT, KILLED, group, KILLED.replace("14445", "14446"))
    assert [(event["pid"], event["oom_cgroup"]) for event in events] == [
        (14445, "/redis.slice"),
        (14446, "/kubepods/pod1"),
    ]


def test_kills_of_the_same_pid_on_other_days_stay_apart():
    parser = KernelLogParser()
    parser.feed(100.0, KILLED)
    parser.feed(100.0 + 86400, KILLED)
    assert [event["time_unix"] for event in parser.events] == [100.0, 86500.0]


def test_other_programs_kills_are_kept_and_visible_as_such():
    (event,) = parse("Out of memory: Killed process 8 (java) total-vm:1kB, anon-rss:1kB, UID:1000 oom_score_adj:0")
    assert (event["command"], event["pid"]) == ("java", 8)


MESSAGES = [
    (
        "__vm_enough_memory: pid: 11694, comm: redis-server, bytes: 26350858240 not enough memory for the allocation",
        {"event": "commit_refused", "pid": 11694, "command": "redis-server", "bytes": 26350858240},
    ),
    (
        "__vm_enough_memory: pid: 5, comm: redis-server, no enough memory for the allocation",
        {"event": "commit_refused", "pid": 5, "bytes": None},
    ),
    (
        "cgroup: fork rejected by pids controller in /system.slice/redis.service",
        {"event": "fork_rejected", "cgroup": "/system.slice/redis.service"},
    ),
    ("blk_update_request: I/O error, dev sda, sector 123 op 0x1:(WRITE)", {"event": "io_error", "device": "sda"}),
    ("I/O error, dev nvme0n1, sector 5 op 0x1:(WRITE) flags 0x0", {"event": "io_error", "device": "nvme0n1"}),
    ("critical space allocation error, dev dm-3, sector 8", {"event": "io_error", "device": "dm-3"}),
    (
        "Buffer I/O error on dev sdb1, logical block 7, lost async page write",
        {"event": "io_error", "device": "sdb1", "detail": "logical block 7, lost async page write"},
    ),
    (
        "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm redis-server: reading directory lblock 0",
        {"event": "filesystem_error", "device": "sda1", "filesystem": "EXT4"},
    ),
    (
        'XFS (dm-0): metadata I/O error in "xfs_buf_ioend" at daddr 0x8 len 8 error 5',
        {"event": "filesystem_error", "device": "dm-0", "filesystem": "XFS"},
    ),
    ("Aborting journal on device sda1-8.", {"event": "filesystem_error", "device": "sda1-8"}),
    ("EXT4-fs (sda1): Remounting filesystem read-only", {"event": "remounted_read_only", "device": "sda1"}),
    ("BTRFS info (device vdb: state E): forced readonly", {"event": "remounted_read_only", "device": "vdb"}),
    (
        'audit: type=1400 audit(1795381262.123:45): avc:  denied  { write } for  pid=55 comm="redis-server" name="data"'
        ' dev="sda1" ino=12 scontext=system_u:system_r:redis_t:s0 tcontext=x tclass=dir permissive=0',
        {"event": "access_denied", "system": "selinux", "pid": 55, "operation": "write", "path": "data"},
    ),
    (
        'audit: type=1400 audit(1795381262.123:45): apparmor="DENIED" operation="mknod" profile="/usr/bin/redis-server"'
        ' name=2F646174612F612062 pid=55 comm="redis-server" requested_mask="c" denied_mask="c" fsuid=1 ouid=1',
        {
            "event": "access_denied",
            "system": "apparmor",
            "operation": "mknod",
            "path": "/data/a b",
            "profile": "/usr/bin/redis-server",
        },
    ),
    (
        'audit: type=1326 audit(1795381262.123:45): auid=1 uid=0 gid=0 ses=1 subj=x pid=55 comm="redis-server" '
        'exe="/usr/bin/redis-server" sig=31 arch=c000003e syscall=277 compat=0 ip=0x7f code=0x80000000',
        {"event": "seccomp_kill", "pid": 55, "syscall": 277, "command": "redis-server"},
    ),
    (
        "redis-server[11704]: segfault at 7f0b ip 00007f sp 00007f error 4 in libc.so.6[877d9,7f0b4183e000+156000]",
        {"event": "segfault", "pid": 11704, "command": "redis-server"},
    ),
    (
        "traps: redis-server[5] general protection fault ip:7f sp:7f error:0 in redis-server",
        {"event": "segfault", "pid": 5},
    ),
    ("INFO: task redis-server:1234 blocked for more than 120 seconds.", {"event": "hung_task", "pid": 1234}),
]


@pytest.mark.parametrize(("message", "fields"), MESSAGES, ids=[entry[0][:50] for entry in MESSAGES])
def test_every_other_record(message, fields):
    (event,) = parse(message)
    assert {name: event.get(name, "missing") for name in fields} == fields


@pytest.mark.parametrize(
    "message",
    [
        MESSAGES[12][0].replace("permissive=0", "permissive=1"),
        MESSAGES[12][0].replace("redis-server", "sshd").replace("redis_t", "sshd_t"),
        MESSAGES[14][0].replace("0x80000000", "0x7ffc0000"),
        "chrome[5]: segfault at 0 ip 0 sp 0 error 4",
        "oom_reaper: reaped process 7 (redis-server), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "usb 1-1: new device (Killed process 7 (redis-server) total-vm:1kB",
        "oom-kill:constraint=",
        "Memory cgroup out of memory: Killed process",
        "EXT4-fs (sda1): mounted filesystem with ordered data mode",
        "",
    ],
)
def test_other_messages_are_no_events(message):
    assert parse(message) == []


def test_a_hostile_name_of_a_process_forges_nothing():
    (event,) = parse(
        "Memory cgroup out of memory: Killed process 7 (a) Killed process) total-vm:1kB, anon-rss:1kB, UID:5"
    )
    assert event["pid"] == 7
    assert classify("x" * 100000) is None


# --- sources

KMSG = (
    f"6,1681,1000000000,-;{CONSTRAINT}\n3,1682,1000000020,-;{KILLED}\n SUBSYSTEM=memory\n"
    "30,1683,1000000030,-;redis: Out of memory: Killed process 9 (redis-server) total-vm:1kB\n"
    "11,1684,1000000040,-;Out of memory: Killed process 9 (redis-server) total-vm:1kB, anon-rss:1kB\n"
)


def test_kmsg_with_times_and_only_the_kernels_own_messages(tmp_path):
    system = made_system(tmp_path, {"/dev/kmsg": KMSG, "/proc/uptime": "1100.50 2000.00\n"})
    log = _kernel_log.collect_kernel_log(system, Gaps())
    assert (log["available"], log["source"], log["path"]) == (True, "kmsg", "/dev/kmsg")
    assert [event["pid"] for event in log["events"]] == [14445]
    assert log["events"][0]["time_unix"] == pytest.approx(NOW_UNIX - 100.5, abs=0.01)
    assert log["truncated"] is True  # its first record has not the number 0


def test_a_group_of_a_template_unit_is_named_as_proc_names_it(tmp_path):
    """/dev/kmsg escapes the backslash that systemd has put into the name of the slice."""
    slice_path = "/system.slice/system-redis\\x5cx2dserver.slice/redis-server@a.service"
    constraint = re.sub(r"oom_memcg=[^,]*,task_memcg=[^,]*", "oom_memcg={0},task_memcg={0}", CONSTRAINT)
    text = KMSG.replace(CONSTRAINT, constraint.format(slice_path))
    system = made_system(tmp_path, {"/dev/kmsg": text, "/proc/uptime": "1100.50 2000.00\n"})
    event = _kernel_log.collect_kernel_log(system, Gaps())["events"][0]
    assert event["task_cgroup"] == "/system.slice/system-redis\\x2dserver.slice/redis-server@a.service"


def test_events_before_the_time_of_interest_are_left_out(tmp_path):
    system = made_system(tmp_path, {"/dev/kmsg": KMSG.replace("6,1681", "6,0"), "/proc/uptime": "1100.50 2000.00\n"})
    assert _kernel_log.collect_kernel_log(system, Gaps(), NOW_UNIX - 50)["events"] == []
    log = _kernel_log.collect_kernel_log(system, Gaps(), NOW_UNIX - 150)
    assert len(log["events"]) == 1
    assert log["truncated"] is False


def test_the_journal_where_kmsg_is_not_for_us(tmp_path):
    entries = [
        {"MESSAGE": KILLED, "_TRANSPORT": "kernel", "_SOURCE_REALTIME_TIMESTAMP": "1795381262286000"},
        {
            "MESSAGE": 'SECCOMP auid=1 uid=0 pid=55 comm="redis-server" sig=31 syscall=277 code=0x80000000',
            "_TRANSPORT": "audit",
            "__REALTIME_TIMESTAMP": "1795381263286000",
        },
    ]
    output = "\n".join(json.dumps(entry) for entry in entries)
    system = System(str(tmp_path), lambda: NOW_UNIX, lambda *arguments: CommandResult(0, output, ""))
    gaps = Gaps()
    log = _kernel_log.collect_kernel_log(system, gaps)
    assert log["source"] == "journal"
    assert [(event["event"], event["time_unix"]) for event in log["events"]] == [
        ("oom_kill", 1795381262.286),
        ("seccomp_kill", 1795381263.286),
    ]
    assert gaps.entries() == []


def test_what_a_program_wrote_to_kmsg_is_not_the_kernels_in_the_journal_either(tmp_path):
    """journald reads /dev/kmsg and files all of it as the kernel's; only the facility tells."""
    entries = [
        {"MESSAGE": KILLED, "_TRANSPORT": "kernel", "SYSLOG_FACILITY": facility, "__REALTIME_TIMESTAMP": moment}
        for facility, moment in (("1", "1795381262286000"), ("0", "1795381263286000"), ("3", "1795381264286000"))
    ]
    output = "\n".join(json.dumps(entry) for entry in entries)
    system = System(str(tmp_path), lambda: NOW_UNIX, lambda *arguments: CommandResult(0, output, ""))
    log = _kernel_log.collect_kernel_log(system, Gaps())
    assert [event["time_unix"] for event in log["events"]] == [1795381263.286]


def test_syslogs_files_last(tmp_path):
    text = (
        "2026-11-22T21:00:00.000000+00:00 host kernel: [ 99.123456] usb 1-1: new device\n"
        f"2026-11-22T21:01:02.286000+00:00 host kernel: [12345.678901] {KILLED}\n"
        f"2026-11-22T21:01:03.286000+00:00 host redis[5]: kernel: {KILLED.replace('14445', '1')}\n"
        "2026-11-22T21:05:00.000000+00:00 host kernel: [12345.678901] usb 1-1: gone\n"
    )
    log = _kernel_log.collect_kernel_log(made_system(tmp_path, {"/var/log/kern.log": text}), Gaps())
    assert (log["source"], log["path"]) == ("file", "/var/log/kern.log")
    assert all(event["from_file"] for event in log["events"]), "any program can write such a line"
    assert [(event["pid"], event["time_unix"]) for event in log["events"]] == [(14445, 1795381262.286)]
    assert (log["oldest_unix"], log["newest_unix"]) == (1795381200.0, 1795381500.0)


def test_nothing_to_read_is_a_gap_with_every_reason(tmp_path):
    gaps = Gaps()
    log = _kernel_log.collect_kernel_log(made_system(tmp_path, {}), gaps)
    assert (log["available"], log["source"], log["events"]) == (False, "none", [])
    assert "/dev/kmsg" in log["reason"]
    assert "journalctl" in log["reason"]
    assert gaps.entries()[0]["what"] == "the kernel log"


def test_where_the_machine_slept_a_record_may_be_older_than_its_time(tmp_path, monkeypatch):
    system = made_system(tmp_path, {"/dev/kmsg": f"3,1,5000000,-;{KILLED}\n", "/proc/uptime": "100.0 1.0\n"})
    assert "time_early_seconds" not in _kernel_log.from_kmsg(system).events[0]
    monkeypatch.setattr(_kernel_log, "slept_seconds", lambda system: 3600.0)
    assert _kernel_log.from_kmsg(system).events[0]["time_early_seconds"] == 3600.0


def test_denials_that_only_auditd_has(tmp_path):
    audit = (
        'type=AVC msg=audit(1795381262.123:45): avc:  denied  { add_name } for  pid=55 comm="redis-server" '
        'name="temp-55.rdb" scontext=system_u:system_r:redis_t:s0 tcontext=x tclass=dir permissive=0\n'
        "type=SYSCALL msg=audit(1795381262.123:45): arch=c000003e syscall=257 success=no exit=-13\n"
    )
    system = made_system(tmp_path, {"/dev/kmsg": KMSG, "/proc/uptime": "1 1\n", "/var/log/audit/audit.log": audit})
    events = _kernel_log.collect_kernel_log(system, Gaps())["events"]
    (denied,) = [event for event in events if event["event"] == "access_denied"]
    assert (denied["operation"], denied["time_unix"]) == ("add_name", 1795381262.123)


def test_a_flood_of_one_kind_leaves_room_for_the_others():
    flood = [{"event": "io_error", "time_unix": float(number)} for number in range(1000)]
    events, cut = _kernel_log.bounded([{"event": "oom_kill", "time_unix": -1.0}, *flood])
    assert cut is True
    assert events[0]["event"] == "oom_kill"
    assert len(events) == 1 + _kernel_log.MAXIMUM_EVENTS_OF_A_KIND
    assert events[-1]["time_unix"] == 999.0


@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="/dev/kmsg is not readable here")
def test_this_machines_own_kernel_log():
    log = _kernel_log.collect_kernel_log(System(), Gaps())
    if log["source"] == "kmsg":
        assert log["oldest_unix"] <= log["newest_unix"] <= System().clock() + 60
