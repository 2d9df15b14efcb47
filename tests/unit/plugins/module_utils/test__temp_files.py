# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files import (
    REPORTED_FILES_LIMIT,
    describe_temp_files,
    parse_name,
    process_start_and_parent,
    server_from_process,
    temp_file_of,
)
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

BOOT_UNIX = 1795300000
TICKS = os.sysconf("SC_CLK_TCK")
SERVER_PID = 500
HOST_PIDS = "pid:[4026531836]"
OWN_PIDS = "pid:[4026532999]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("temp-123.rdb", ("rdb_child", 123)),
        ("temp-123-4.rdb", ("rdb_child", 123)),
        ("temp-1795382079.123.rdb", ("rdb_replica_sync", 123)),
        ("temp-rewriteaof-123.aof", ("aof_rewrite", 123)),
        ("temp-rewriteaof-bg-123.aof", ("aof_rewrite", 123)),
        ("temp-.rdb", None),
        ("temp-123.rdb.bak", None),
        ("xtemp-123.rdb", None),
        ("temp-123.rdb\n", None),
        ("temp-12345678901.rdb", None),
        ("dump.rdb", None),
        ("temp-appendonly.aof.incr", None),
    ],
)
def test_names(name, expected):
    assert parse_name(name) == expected


def test_names_in_the_aof_directory():
    assert parse_name("temp-appendonly.aof.incr", True) == ("aof_rewrite", None)
    assert parse_name("temp-appendonly.aof.manifest", True) == ("aof_rewrite", None)
    assert parse_name("temp-123.rdb", True) is None
    assert parse_name("appendonly.aof.1.incr.aof", True) is None


def process_files(pid, parent, started_unix, namespace=HOST_PIDS, inner=None, state="S", thread_of=None, opened=()):
    ticks = int((started_unix - BOOT_UNIX) * TICKS)
    pids = f"{pid}" if inner is None else f"{pid}\t{inner}"
    files = {
        f"/proc/{pid}/stat": f"{pid} (redis) server) {state} {parent} " + "0 " * 17 + f"{ticks} 0 0\n",
        f"/proc/{pid}/status": f"Name:\tredis\nState:\t{state} (x)\nTgid:\t{thread_of or pid}\nNSpid:\t{pids}\n",
        f"/proc/{pid}/ns/pid": {"link": namespace},
        f"/proc/{pid}/fd/0": {"link": "/dev/null"},
    }
    for number, path in enumerate(opened, 10):
        files[f"/proc/{pid}/fd/{number}"] = {"link": path}
    return files


def machine(tmp_path, *processes):
    files = {"/proc/stat": f"cpu 1 2 3\nbtime {BOOT_UNIX}\n", "/proc/self/ns/pid": {"link": HOST_PIDS}}
    for process in processes:
        files.update(process)
    return made_system(tmp_path, files)


def temp_files(tmp_path, *names, modified_unix=BOOT_UNIX + 5000, size=7):
    directory = tmp_path / "data"
    directory.mkdir(exist_ok=True)
    found = []
    for name in names:
        path = directory / name
        path.write_bytes(b"x" * size)
        os.utime(path, (modified_unix, modified_unix))
        found.append(temp_file_of(name, os.lstat(path)))
    return found


def server(children=(), inner=SERVER_PID):
    return server_from_process(
        SERVER_PID,
        {
            "pid_in_namespace": inner,
            "started_unix": BOOT_UNIX + 1000.0,
            "children": [
                {"pid": pid, "pid_in_namespace": inside, "started_unix": BOOT_UNIX + 4000.0} for inside, pid in children
            ],
        },
    )


def answers(system, files, of_server=None, file_system_type="ext4", gaps=None):
    described = describe_temp_files(system, of_server or server(), files, file_system_type, gaps or Gaps())
    return {entry["name"]: (entry["holder"], entry["open"]) for entry in described}


OWN = process_files(SERVER_PID, 1, BOOT_UNIX + 1000)


def test_a_file_of_nobody_is_an_orphan(tmp_path):
    gaps = Gaps()
    files = temp_files(tmp_path, "temp-77.rdb", "temp-1795382079.78.rdb", "temp-rewriteaof-bg-79.aof")
    assert set(answers(machine(tmp_path, OWN), files, gaps=gaps).values()) == {("none", False)}
    assert gaps.entries() == []


def test_a_live_child_with_its_file_open(tmp_path):
    child = process_files(600, SERVER_PID, BOOT_UNIX + 4000, opened=["/data/temp-600.rdb"])
    files = temp_files(tmp_path, "temp-600.rdb")
    assert answers(machine(tmp_path, OWN, child), files, server([(600, 600)])) == {"temp-600.rdb": ("live_child", True)}


def test_a_child_that_was_born_after_the_process_was_looked_at(tmp_path):
    child = process_files(600, SERVER_PID, BOOT_UNIX + 4000)
    files = temp_files(tmp_path, "temp-600.rdb")
    assert answers(machine(tmp_path, OWN, child), files) == {"temp-600.rdb": ("live_child", False)}


def test_another_servers_child_in_the_same_directory(tmp_path):
    other = process_files(700, 650, BOOT_UNIX + 4000, opened=["/data/temp-700.rdb"])
    files = temp_files(tmp_path, "temp-700.rdb")
    assert answers(machine(tmp_path, OWN, other), files) == {"temp-700.rdb": ("other_process", True)}


def test_a_container_that_shares_the_directory_uses_other_pids(tmp_path):
    other = process_files(700, 650, BOOT_UNIX + 4000, OWN_PIDS, inner=20, opened=["/data/temp-20.rdb"])
    files = temp_files(tmp_path, "temp-20.rdb")
    assert answers(machine(tmp_path, OWN, other), files) == {"temp-20.rdb": ("other_process", True)}


def test_a_file_of_the_same_name_elsewhere_is_not_this_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/temp-77.rdb").write_text("y")
    other = process_files(700, 650, BOOT_UNIX + 4000, opened=["/elsewhere/temp-77.rdb"])
    assert answers(machine(tmp_path, OWN, other), temp_files(tmp_path, "temp-77.rdb")) == {
        "temp-77.rdb": ("none", False)
    }


def test_a_pid_that_came_again_does_not_hold_an_older_file(tmp_path):
    again = process_files(77, 1, BOOT_UNIX + 9000)
    files = temp_files(tmp_path, "temp-77.rdb", modified_unix=BOOT_UNIX + 5000)
    assert answers(machine(tmp_path, OWN, again), files) == {"temp-77.rdb": ("none", False)}
    (tmp_path / "other").mkdir()
    earlier = process_files(77, 1, BOOT_UNIX + 3000)
    system = machine(tmp_path / "other", OWN, earlier)
    assert answers(system, files) == {"temp-77.rdb": ("other_process", False)}


@pytest.mark.parametrize("change", [{"state": "Z"}, {"thread_of": 70}])
def test_a_dead_process_and_a_thread_hold_nothing(tmp_path, change):
    process = process_files(77, 1, BOOT_UNIX + 3000, **change)
    files = temp_files(tmp_path, "temp-77.rdb")
    assert answers(machine(tmp_path, OWN, process), files) == {"temp-77.rdb": ("none", False)}


def test_the_servers_own_pid(tmp_path):
    files = temp_files(tmp_path, "temp-500.rdb", "temp-500-3.rdb")
    assert set(answers(machine(tmp_path, OWN), files).values()) == {("server", False)}


def test_the_server_before_the_restart_had_the_same_pid(tmp_path):
    own = process_files(SERVER_PID, 1, BOOT_UNIX + 1000, OWN_PIDS, inner=1)
    files = temp_files(tmp_path, "temp-1795300900.1.rdb", modified_unix=BOOT_UNIX + 900)
    assert set(answers(machine(tmp_path, own), files, server(inner=1)).values()) == {("none", False)}


def test_pids_of_another_namespace_are_mapped(tmp_path):
    own = process_files(SERVER_PID, 1, BOOT_UNIX + 1000, OWN_PIDS, inner=1)
    child = process_files(600, SERVER_PID, BOOT_UNIX + 4000, OWN_PIDS, inner=20)
    other = process_files(610, 555, BOOT_UNIX + 4000, OWN_PIDS, inner=21)
    of_the_host = process_files(22, 1, BOOT_UNIX + 100)
    files = temp_files(tmp_path, "temp-20.rdb", "temp-21.rdb", "temp-22.rdb")
    system = machine(tmp_path, own, child, other, of_the_host)
    assert answers(system, files, server([(20, 600)], inner=1)) == {
        "temp-20.rdb": ("live_child", False),
        "temp-21.rdb": ("other_process", False),
        "temp-22.rdb": ("none", False),
    }


def test_who_can_not_see_everybody_knows_no_orphan(tmp_path):
    system = machine(tmp_path, OWN, {"/proc/888/stat": "888 (x) S 1", "/proc/888/fd": "not to be listed"})
    gaps = Gaps()
    assert answers(system, temp_files(tmp_path, "temp-77.rdb"), gaps=gaps) == {"temp-77.rdb": ("unknown", None)}
    assert [gap["what"] for gap in gaps.entries()] == ["holders of temporary files"]


def test_another_host_may_have_a_file_of_a_network_file_system_open(tmp_path):
    files = temp_files(tmp_path, "temp-77.rdb")
    assert answers(machine(tmp_path, OWN), files, file_system_type="nfs4") == {"temp-77.rdb": ("unknown", None)}


def test_an_unknown_namespace_is_said(tmp_path):
    own = {key: value for key, value in OWN.items() if not key.endswith("ns/pid")}
    files = temp_files(tmp_path, "temp-77.rdb")
    assert answers(machine(tmp_path, own), files, server(inner=None)) == {"temp-77.rdb": ("unknown", False)}


def test_the_largest_are_reported(tmp_path):
    small = temp_files(tmp_path, *[f"temp-{number}.rdb" for number in range(1000, 1000 + REPORTED_FILES_LIMIT)], size=1)
    large = temp_files(tmp_path, "temp-77.rdb", size=100)
    found = answers(machine(tmp_path, OWN), small + large)
    assert len(found) == REPORTED_FILES_LIMIT
    assert "temp-77.rdb" in found


def test_only_regular_files_count(tmp_path):
    (tmp_path / "temp-1.rdb").mkdir()
    (tmp_path / "temp-2.rdb").symlink_to("/etc/passwd")
    for name in ("temp-1.rdb", "temp-2.rdb"):
        assert temp_file_of(name, os.lstat(tmp_path / name)) is None


def test_start_and_parent(tmp_path):
    system = machine(tmp_path, process_files(600, SERVER_PID, BOOT_UNIX + 4000))
    assert process_start_and_parent(system, 600) == (BOOT_UNIX + 4000.0, SERVER_PID)
    assert process_start_and_parent(system, 601) == (None, None)
