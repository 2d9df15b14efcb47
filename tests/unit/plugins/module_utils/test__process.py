# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import json

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _process, _process_table
from ansible_collections.redisops.persistence.plugins.module_utils._process import child_kind, collect_process
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import HOSTS, recorded_system

REDIS, VALKEY, NESTED = (
    ("redis_6.2_root", 11275),
    ("valkey_9.1_saving_in_cgroup_v1", 11282),
    ("redis_6.2_pid_namespace", 30551),
)


class Refusing(System):
    """A recorded host seen by an ordinary user: the kernel refuses what it guards with PTRACE_MODE_READ."""

    GUARDED = ("/smaps", "/maps", "/environ", "/numa_maps", "/io")

    def read_bytes(self, path, limit_bytes=65536):
        if path.endswith(self.GUARDED) and not path.startswith("/proc/self/"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return super().read_bytes(path, limit_bytes)

    def read_link(self, path):
        if "/ns/" in path and "/self/" not in path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return super().read_link(path)


class Ending(System):
    """A recorded host whose process ends when its limits are read."""

    ended = False

    def read_bytes(self, path, limit_bytes=65536):
        self.ended = self.ended or path.endswith("/limits")
        if self.ended and path.startswith("/proc/1"):
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return super().read_bytes(path, limit_bytes)


def test_idle_redis_of_root(tmp_path):
    gaps = Gaps()
    process = collect_process(recorded_system(tmp_path, REDIS[0]), REDIS[1], gaps)
    assert process["pid"] == process["pid_in_namespace"] == 11275
    assert process["command"] == "redis-server"
    assert process["title"] == "/opt/redis/bin/redis-server *:26101"
    assert process["uid"] == {"real": 0, "effective": 0}
    assert process["user"] == "root"
    assert "CAP_DAC_OVERRIDE" in process["capabilities_effective"]
    assert "CAP_SYS_RESOURCE" not in process["capabilities_effective"]
    assert process["started_unix"] == pytest.approx(1795381780, abs=2)
    assert process["resident_bytes"] == 4112384
    assert process["memory_detail"] == "smaps"
    assert process["private_writable_bytes"] == 26664960
    assert process["accounted_bytes"] == 26710016
    assert process["largest_private_mapping_bytes"] == 8388608
    assert process["thp_enabled"] is True
    assert process["open_files"] == 10
    assert process["numa"] == {"policy": "default", "memory_nodes_allowed": "0", "cpus_allowed": "0-1"}
    assert process["children"] == []
    assert process["timezone"] is None
    assert gaps.entries() == []


def test_saving_valkey_with_lowered_limits(tmp_path):
    process = collect_process(recorded_system(tmp_path, VALKEY[0]), VALKEY[1], Gaps())
    assert process["uid"] == {"real": 12345, "effective": 12345}
    assert process["user"] == "redis"
    assert process["capabilities_effective"] == []
    assert process["limits"]["nproc"] == {"soft": 300, "hard": 400}
    assert process["limits"]["fsize"] == {"soft": 5000000, "hard": 5000000}
    assert set(process["limits"]) == {"nproc", "fsize", "nofile", "cpu", "as", "data", "memlock", "core"}
    # Its six threads, and the one of the child.
    assert process["threads"] == 6
    assert process["uid_threads"] == 7
    (child,) = process["children"]
    assert child["kind"] == "rdb_save"
    assert child["title"] == "valkey-rdb-bgsave *:26102"
    assert child["wait_channel"] == "hrtimer_nanosleep"
    assert child["written_bytes"] > 0
    assert child["started_unix"] > process["started_unix"]
    assert set(process["namespaces"]) == {"mount", "pid", "user", "network", "cgroup"}
    assert all(namespace["is_host"] for namespace in process["namespaces"].values())


def test_server_in_a_pid_namespace(tmp_path):
    process = collect_process(recorded_system(tmp_path, NESTED[0]), NESTED[1], Gaps())
    assert process["pid_in_namespace"] == 1
    assert process["children"][0]["pid_in_namespace"] > 1
    assert process["children"][0]["pid"] != process["children"][0]["pid_in_namespace"]
    assert process["namespaces"]["pid"]["is_host"] is False
    assert process["namespaces"]["mount"]["is_host"] is False
    assert process["namespaces"]["network"]["is_host"] is True
    assert process["timezone"] == "Europe/Berlin"


def test_no_secret_of_the_command_line_gets_out(tmp_path):
    recorded = json.loads((HOSTS / f"{NESTED[0]}.json").read_text())
    assert "topsecret" in recorded[f"/proc/{NESTED[1]}/cmdline"]
    process = collect_process(recorded_system(tmp_path, NESTED[0]), NESTED[1], Gaps())
    assert "topsecret" not in json.dumps(process)
    assert "--requirepass ********" in process["title"]


def test_ordinary_user_gets_null_and_one_gap(tmp_path):
    recorded = recorded_system(tmp_path, REDIS[0])
    gaps = Gaps()
    process = collect_process(Refusing(recorded.root, recorded.clock), REDIS[1], gaps)
    for name in ("private_writable_bytes", "accounted_bytes", "anonymous_huge_pages_bytes", "timezone"):
        assert process[name] is None
    assert process["namespaces"]["pid"] == {"inode": None, "is_host": None}
    assert process["numa"]["policy"] is None
    assert process["resident_bytes"] == 4112384
    assert process["limits"]["nproc"]["soft"] == 96364
    (gap,) = gaps.entries()
    assert gap["what"] == "process: memory mappings, memory policy, namespaces, time zone"
    assert "become" in gap["remedy"]


@pytest.mark.parametrize(("deep", "detail"), [(False, "maps"), (True, "smaps")])
def test_large_server_is_walked_only_when_asked(tmp_path, deep, detail):
    status = (HOSTS / f"{REDIS[0]}.json").read_text()
    large = json.loads(status)[f"/proc/{REDIS[1]}/status"].replace("VmRSS:\t    4016 kB", "VmRSS:\t 1048576 kB")
    system = recorded_system(tmp_path, REDIS[0], {f"/proc/{REDIS[1]}/status": large})
    process = collect_process(system, REDIS[1], Gaps(), deep=deep)
    assert process["resident_bytes"] == 1024**3
    assert process["memory_detail"] == detail
    assert process["private_writable_bytes"] == 26664960
    assert process["accounted_bytes"] == (26710016 if deep else None)
    assert process["numa"]["policy"] == ("default" if deep else None)


def test_process_that_is_not_there(tmp_path):
    assert collect_process(recorded_system(tmp_path, REDIS[0]), 4, Gaps()) is None


def test_process_that_ends_meanwhile(tmp_path):
    recorded = recorded_system(tmp_path, REDIS[0])
    gaps = Gaps()
    assert collect_process(Ending(recorded.root, recorded.clock), REDIS[1], gaps) is None
    assert gaps.entries() == []


def test_pid_that_was_given_to_another_process_meanwhile(tmp_path, monkeypatch):
    system = recorded_system(tmp_path, REDIS[0])
    stat = system.read_text(f"/proc/{REDIS[1]}/stat")
    fields = stat.split(" ")
    fields[21] = str(int(fields[21]) + 100)
    path = tmp_path / f"proc/{REDIS[1]}/stat"
    collect_children = _process.collect_children

    def replace_process(*arguments):
        path.write_text(" ".join(fields))
        return collect_children(*arguments)

    monkeypatch.setattr(_process, "collect_children", replace_process)
    assert collect_process(system, REDIS[1], Gaps()) is None


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("redis-rdb-bgsave 127.0.0.1:6379", "rdb_save"),
        ("redis-rdb-bgsave 127.0.0.1:6379 [cluster]", "rdb_save"),
        ("valkey-rdb-bgsave *:6379", "rdb_save"),
        ("keydb-rdb-bgsave *:6379", "rdb_save"),
        ("redis-rdb-to-slaves *:6379", "rdb_to_replicas"),
        ("valkey-rdb-to-replicas *:6379", "rdb_to_replicas"),
        ("redis-aof-rewrite *:6379", "aof_rewrite"),
        ("valkey-module-fork *:6379", "module_fork"),
        ("cache-a redis-rdb-bgsave", "rdb_save"),  # a proc-title-template of its own
        ("redis-server *:6379", "unknown"),  # set-proc-title no
        ("vi redis-rdb-bgsave.c", "unknown"),
    ],
)
def test_child_kind(title, kind):
    assert child_kind(title) == kind


STATUS = "Name:\tx\nPPid:\t{ppid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nThreads:\t{threads}\n"
HIDDEN = "23 20 0:21 / /proc rw,nosuid shared:5 - proc proc rw,hidepid=invisible\n"
NOBODY = "Uid:\t1000\t1000\t1000\t1000\n"


def test_threads_of_a_uid_are_counted_across_processes(tmp_path):
    extra = {
        "/proc/50/status": STATUS.format(ppid=1, uid=12345, threads=20),
        "/proc/51/status": STATUS.format(ppid=1, uid=12, threads=400),
    }
    process = collect_process(recorded_system(tmp_path, VALKEY[0], extra), VALKEY[1], Gaps())
    assert process["uid_threads"] == 27


def test_threads_in_another_user_namespace_count_apart_since_5_14(tmp_path):
    extra = {
        "/proc/50/status": STATUS.format(ppid=1, uid=12345, threads=20),
        "/proc/50/ns/user": {"link": "user:[4026532999]"},
    }
    process = collect_process(recorded_system(tmp_path / "new", VALKEY[0], extra), VALKEY[1], Gaps())
    assert process["uid_threads"] == 7
    extra["/proc/sys/kernel/osrelease"] = "5.10.0-30-amd64\n"
    process = collect_process(recorded_system(tmp_path / "old", VALKEY[0], extra), VALKEY[1], Gaps())
    assert process["uid_threads"] == 27


def test_threads_in_a_user_namespace_of_the_server_s_own_are_all_seen_from_inside_a_container(tmp_path):
    extra = {
        "/proc/50/status": STATUS.format(ppid=1, uid=12345, threads=20),
        "/proc/50/ns/user": {"link": "user:[4026531837]"},
        f"/proc/{VALKEY[1]}/ns/user": {"link": "user:[4026532999]"},
        "/proc/self/ns/pid": {"link": "pid:[4026532596]"},
        "/proc/self/ns/user": {"link": "user:[4026531837]"},
    }
    gaps = Gaps()
    process = collect_process(recorded_system(tmp_path, VALKEY[0], extra), VALKEY[1], gaps)
    assert process["uid_threads"] == 7  # its own and its child's
    assert not any("uid_threads" in gap["what"] for gap in gaps.entries())


def test_threads_of_a_uid_are_unknown_where_its_processes_may_count_apart(tmp_path):
    """Another user's namespace can't be read; Debian's units have one each, all with the same uid."""
    unreadable = {f"/proc/{VALKEY[1]}/ns/user": None}
    gaps = Gaps()
    process = collect_process(recorded_system(tmp_path / "alone", VALKEY[0], unreadable), VALKEY[1], gaps)
    assert process["uid_threads"] == 7
    extra = {**unreadable, "/proc/50/status": STATUS.format(ppid=1, uid=12345, threads=20)}
    process = collect_process(recorded_system(tmp_path / "two", VALKEY[0], extra), VALKEY[1], gaps)
    assert process["uid_threads"] is None
    assert any("user namespace" in gap["why"] for gap in gaps.entries())


@pytest.mark.parametrize(
    "extra",
    [
        {"/proc/self/mountinfo": HIDDEN, "/proc/self/status": NOBODY},
        {"/proc/self/ns/pid": {"link": "pid:[4026532596]"}},
    ],
    ids=["hidepid", "pid namespace of the collector"],
)
def test_threads_are_unknown_where_processes_are_hidden(tmp_path, extra):
    gaps = Gaps()
    process = collect_process(recorded_system(tmp_path, VALKEY[0], extra), VALKEY[1], gaps)
    assert process["uid_threads"] is None
    assert any("uid_threads" in gap["what"] for gap in gaps.entries())


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ("rw,hidepid=2", True),
        ("rw,hidepid=invisible", True),
        ("rw,hidepid=off", False),
        ("rw,hidepid=0", False),
        ("rw", False),
    ],
)
def test_hidepid(options, hidden):
    line = f"23 20 0:21 / /proc rw,nosuid shared:5 - proc proc {options}\n"
    assert _process_table.hides_processes(line) is hidden


def test_one_pass_serves_all_servers_of_a_host(tmp_path, monkeypatch):
    passes = []
    scan = _process_table.scan_processes
    monkeypatch.setattr(_process_table, "scan_processes", lambda system: passes.append(1) or scan(system))
    monkeypatch.setattr(_process_table, "TABLE_AGE_LIMIT_SECONDS", 60)
    system = recorded_system(tmp_path, VALKEY[0])
    for _server in range(5):
        collect_process(system, VALKEY[1], Gaps())
    assert len(passes) == 1
