# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons that only look like proof: records of another day, process or group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..attempts import Attempt, Check
from ..bench import Bench
from ..faults import MIB, fails, saves
from ..remediation import Run
from ..servers import until

STATES = Path("/run/redisops-persistence")
KMSG = Path("/dev/kmsg")
NOBODY = 65534
MEMORY_KILLS = {"child_oom_killed_cgroup", "child_oom_killed_host"}
# Named like a server, and larger than its group may be.
HOG = """
import os, sys
name, uid, groups = sys.argv[1], int(sys.argv[2]), sys.argv[3]
open(groups, "w").write(str(os.getpid()))
open("/proc/self/comm", "w").write(name)
os.setgid(uid)
os.setuid(uid)
blocks = []
while True:
    blocks.append(bytearray(os.urandom(1 << 20)))
"""


def causes_are(bench: Bench, first: str) -> Check:
    """The server's first cause, and none of the kernel's kills beside it."""
    address = bench.server.address

    def check(done: Run) -> None:
        before = done.documents[address]["diagnosis_before"]
        causes = [(cause["id"], cause["confidence"]) for cause in before["causes"]]
        assert causes and causes[0][0] == first, causes
        assert not MEMORY_KILLS & {cause for cause, _confidence in causes}, causes

    return check


def killed_elsewhere(bench: Bench) -> int:
    """The number of a process that the kernel really killed for memory: of another user, in another group."""
    group = bench.cgroup("memory")
    group.set_memory_limit(30 * MIB)
    hog = subprocess.Popen(
        [sys.executable, "-c", HOG, bench.kind.name, str(NOBODY), str(group.path / "cgroup.procs")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _output, said = hog.communicate(timeout=60)
    assert hog.returncode == -signal.SIGKILL, (hog.returncode, said.decode())
    assert group.oom_kills() >= 1
    return hog.pid


def kill_of_somebody_with_the_number_of_a_file(bench: Bench) -> Check:
    """No inode is left, one of them is the file of a dead child, and somebody with its number was killed just now."""
    server = bench.start_on_tmpfs("nr_inodes=3")
    (server.directory / "file").touch()
    orphan = server.directory / f"temp-{killed_elsewhere(bench)}.rdb"
    orphan.write_bytes(b"REDIS")
    bench.own(orphan)
    fails(server)
    return causes_are(bench, "inodes_exhausted")


def killed_child(bench: Bench) -> int:
    """The number of a saving child that somebody killed. Nobody's memory was short."""
    server = saves(bench.start()).fill(5, prefix="more")
    server.slow_child(60_000_000)
    server.bgsave()
    pid = server.child()
    os.kill(pid, signal.SIGKILL)
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the child is not fetched")
    server.fast_child()
    return pid


def line_of_a_program_in_the_kernels_buffer(bench: Bench) -> Check:
    """What the kernel would have written of that child, by a program: under another facility."""
    pid = killed_child(bench)
    uid, name = bench.server.uid or 0, bench.kind.name
    for text in (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/x,task_memcg=/x,"
        f"task={name},pid={pid},uid={uid}",
        f"Memory cgroup out of memory: Killed process {pid} ({name}) total-vm:1000kB, anon-rss:1000kB, file-rss:0kB, "
        f"shmem-rss:0kB, UID:{uid} pgtables:1kB oom_score_adj:0",
    ):
        KMSG.write_text(f"<3>{text}\n")
    return causes_are(bench, "child_killed")


def kill_of_somebody_beside_a_killed_child(bench: Bench) -> Check:
    """Another user's process was killed for memory while the child was killed by somebody."""
    killed_elsewhere(bench)
    killed_child(bench)
    killed_elsewhere(bench)
    time.sleep(0.1)
    return causes_are(bench, "child_killed")


def left_by_a_killed_watcher(bench: Bench) -> Check:
    """An emergency unblock was to end a minute ago, and what was to end it was killed. No save will succeed."""
    server = bench.start_on_tmpfs("nr_inodes=3")
    for number in range(2):
        (server.directory / f"file{number}").touch()
    fails(server)
    server.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    run_id, now = server.info("server")["run_id"], time.time()
    state = {
        "version": 1,
        "address": server.address,
        "server_run_id": run_id,
        "run": "lab",
        "value_before": "yes",
        "since_unix": now - 960,
        "deadline_unix": now - 60,
        "last_save_unix": 0,
        "watcher_pid": 4_194_000,
        "watcher_started_ticks": 1,
    }
    STATES.mkdir(mode=0o755, exist_ok=True)
    path = STATES / f"emergency-{run_id}.json"
    bench.exit.callback(path.unlink, missing_ok=True)
    path.write_text(json.dumps(state))
    path.chmod(0o600)

    def check(done: Run) -> None:
        assert server.call("CONFIG", "GET", "stop-writes-on-bgsave-error")[1] == "yes"
        assert not path.exists(), "a value that somebody sets later would be taken for the unblock's"
        risks = {risk["id"]: risk for risk in done.documents[server.address]["diagnosis_before"]["risks"]}
        assert "nobody took it back" in json.dumps(risks["stop_writes_disabled"])

    return check


MEMORY = ("root", "cgroup:memory")
# fmt: off
REASON_HARMS: tuple[Attempt, ...] = (
    Attempt("kill of somebody with the number of a dead child's file", 10,
            kill_of_somebody_with_the_number_of_a_file, MEMORY),
    Attempt("line of a program in the kernel's buffer", 7, line_of_a_program_in_the_kernels_buffer),
    Attempt("unblock that a killed watcher left", 5, left_by_a_killed_watcher),
    Attempt("kill of somebody beside a killed child", 10, kill_of_somebody_beside_a_killed_child, MEMORY),
)
# fmt: on
