# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: how a save is broken for real, and the verdict that must follow.

Each ``break_*`` function below takes a :class:`~.bench.Bench`, starts the server that the test is about and leaves
it broken; what it did to the machine is undone by the bench.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from .bench import Bench, Cgroup, meminfo_bytes
from .resp import Connection, ReplyError
from .servers import Server, ServerKind, until

MIB = 1024 * 1024
GIB = 1024 * MIB

FORK = r"Can't save in background: fork: "
OPEN = r"Failed opening the (temp )?RDB file .* for saving: "
WRITE = r"Write error (while )?saving DB (on|to the) disk.*: "
RENAME = r"Error moving temp DB file .* on the final destination .*: "
DIRECTORY_SYNC = r"(saving DB on disk\(fsyncFileDir\)|Failed to fsync directory while saving DB): "
FAILED = r"Background saving error"


def signalled(number: int) -> str:
    return rf"Background saving terminated by signal {number}\b"


# The temporary file is the first file that a child opens; its log, opened for each line, is the second.
FIRST_OPEN = "when=1"
FIRST_TWO_OPENS = "when=1..2"


def everywhere(kind: ServerKind) -> str | None:
    return None


def from_redis_7(kind: ServerKind) -> str | None:
    """The reason why a server older than 7.0 can't have the fault."""
    return None if kind.at_least(7) else "Redis before 7.0 neither calls sync_file_range nor syncs the directory"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One line of the table.

    ``verdict``: the cause id, or the state id where it is not a failure. ``proof``: what the server's own log must
    say, so that the fault is known to be real before anything is judged (None: see ``status``). ``status``: what
    rdb_last_bgsave_status must say; None where the server can't be asked. ``confidence``: the least. ``fixes``: ids
    that must be offered. ``still_present``: what must be said; ``ANY`` where either answer is honest.
    ``amend``: changes the evidence where this machine can't produce it, and ``amended`` says why.
    """

    id: str
    verdict: str
    break_it: t.Callable[[Bench], t.Any]
    proof: str | None = None
    status: str | None = "err"
    confidence: str = "confirmed"
    still_present: t.Any = "ANY"
    fixes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ("root",)
    servers: t.Callable[[ServerKind], str | None] = everywhere
    failing: bool = True
    machine_wide: bool = False
    in_fleet: bool = True
    amend: t.Callable[[dict[str, t.Any]], None] | None = None
    amended: str | None = None
    options: t.Callable[[Bench], dict[str, t.Any]] | None = None
    more_causes: tuple[str, ...] = ()


def fails(server: Server, what: str = "the save") -> Server:
    """Ask for a save that must fail."""
    status = server.bgsave_and_wait()
    if status != "err":
        raise RuntimeError(f"{what} was to fail and did not: {server.read_log()[-2000:]}")
    return server


def saves(server: Server) -> Server:
    """Ask for a save that must succeed."""
    status = server.bgsave_and_wait()
    if status != "ok":
        raise RuntimeError(f"the save was to succeed and did not: {server.read_log()[-2000:]}")
    return server


# Fork


def hold_mapping(bench: Bench, server: Server, size_bytes: int) -> None:
    """Let the server map that much memory without touching it, as a large dataset would be mapped."""
    if server.kind.at_least(7):
        announce_value(bench, server, size_bytes)
    else:
        make_backlog(server, size_bytes)

    def mapped() -> bool:
        for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024 >= size_bytes
        return False

    until(mapped, "the server does not map the memory")


def announce_value(bench: Bench, server: Server, size_bytes: int) -> None:
    """The announcement of a value that never comes: the server makes room for all of it."""
    server.call("CONFIG", "SET", "proto-max-bulk-len", size_bytes * 2)
    connection = Connection(server.port)
    bench.exit.callback(connection.close)
    connection.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % size_bytes + b"x" * 40_000)


def make_backlog(server: Server, size_bytes: int) -> None:
    """Before 7.0 room for a value is given back at once, but the backlog for replicas is one mapping that stays."""
    server.call("CONFIG", "SET", "repl-backlog-size", size_bytes)
    connection = Connection(server.port)
    connection.send("SYNC")
    until(lambda: "Synchronization with replica" in server.read_log(), "the replica is not served")
    connection.close()
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the save for the replica does not end")


def break_fork_commit_limit(bench: Bench) -> None:
    change = bench.exit.enter_context(bench.overcommit())
    # Mode 2 before the start: jemalloc looks once, and a heap mapped under another mode is never charged.
    change(2, 16 * GIB)
    server = bench.start()
    hold_mapping(bench, server, 3 * GIB)
    change(2, 2 * GIB)
    fails(server)


def break_fork_overcommit_heuristic(bench: Bench) -> None:
    size_bytes = meminfo_bytes("MemTotal") + meminfo_bytes("SwapTotal") + GIB
    change = bench.exit.enter_context(bench.overcommit())
    change(2, 16 * GIB)
    server = bench.start()
    change(1)
    hold_mapping(bench, server, size_bytes)
    change(0)
    fails(server)


def break_fork_cgroup_memory(bench: Bench) -> None:
    """The page tables of 400 MB (800 KiB) don't fit below the limit; what the server itself needs does.

    The kernel charges in advance, 256 KiB a processor, so that much more than the 64 KiB can be had, and now and then
    enough: a save that came through is waited for, and the next one refused. With the group's killer off the kernel
    refuses a system call that needs memory, instead of killing for it.
    """
    group = bench.cgroup("memory")
    server = bench.start(cgroups=[group.path], keys=100_000, value_bytes=4000)
    (group.path / "memory.oom_control").write_text("1")
    for _attempt in range(5):
        refuse_memory_at_fork(server, group)
        if server.status() == "err":
            group.set_memory_limit(group.memory_usage() + 64 * 1024)
            return
    raise RuntimeError(f"no fork was refused: {server.read_log()[-2000:]}")


def refuse_memory_at_fork(server: Server, group: Cgroup) -> None:
    """Ask for a save with the group at its limit, and leave room for the server when the fork has had its answer."""
    (group.path / "memory.force_empty").write_text("0")
    server.info()
    group.set_memory_limit(group.memory_usage() + 64 * 1024)
    server.connection.send("BGSAVE")
    # The kernel gives back late what the refused fork had taken: the server itself may wait for memory until then.
    waits = group.path / "memory.oom_control"
    until(lambda: server.connection.answers_within(0) or "under_oom 1" in waits.read_text(), "the fork does not end")
    group.set_memory_limit(group.memory_usage() + 64 * MIB)
    with contextlib.suppress(ReplyError):
        server.connection.reply()
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the save does not end")


def injected_fork(error: str) -> t.Callable[[Bench], None]:
    def break_fork(bench: Bench) -> None:
        server = bench.start()
        with bench.inject(server, f"clone,clone3,fork:error={error}"):
            fails(server)

    return break_fork


def break_fork_process_limit(bench: Bench) -> None:
    server = bench.start()
    bench.prlimit(server, "nproc", 1)
    fails(server)


def break_fork_pids_limit(bench: Bench) -> None:
    group = bench.cgroup("pids")
    server = bench.start(cgroups=[group.path])
    group.freeze_pids()
    fails(server)


def break_fork_pids_limit_above(bench: Bench) -> None:
    """The limit lies on the group around the server's own."""
    outer = bench.cgroup("pids")
    group = bench.cgroup("pids", inside=outer)
    server = bench.start(cgroups=[group.path])
    outer.freeze_pids()
    fails(server)


# Open


def start_with_protected_configs(bench: Bench) -> Server:
    config = {"enable-protected-configs": "yes"} if bench.kind.at_least(7) else {}
    return bench.start(config=config)


def break_hijacked_dir(bench: Bench) -> None:
    server = start_with_protected_configs(bench)
    server.call("CONFIG", "SET", "dir", "/etc/cron.d")
    server.call("CONFIG", "SET", "dbfilename", "root")
    fails(server)


def break_hijacked_dir_only(bench: Bench) -> None:
    server = start_with_protected_configs(bench)
    server.call("CONFIG", "SET", "dir", "/etc/cron.d")
    fails(server)


def break_directory_mode(bench: Bench) -> None:
    server = bench.start()
    bench.chmod(server.directory, 0o555)
    fails(server)


def break_directory_mode_for_replica(bench: Bench) -> None:
    """Nobody asked for a save: a replica did, and the master goes by its disk to serve it."""
    server = bench.start(config={"save": '""', "repl-diskless-sync": "no"})
    bench.chmod(server.directory, 0o555)
    replica = bench.start()
    replica.call("REPLICAOF", "127.0.0.1", server.port)
    until(lambda: server.status() == "err", "the replica does not ask")
    replica.stop()
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the save does not end")


def break_directory_owner(bench: Bench) -> None:
    server = bench.start()
    os.chown(server.directory, 0, 0)
    fails(server)


def break_directory_acl(bench: Bench) -> None:
    server = bench.start()
    os.chown(server.directory, 0, 0)
    server.directory.chmod(0o777)
    subprocess.run(["setfacl", "-m", f"u:{server.uid}:r-x", str(server.directory)], check=True, capture_output=True)
    fails(server)


def break_directory_mode_without_log(bench: Bench) -> None:
    server = bench.start(log="nowhere")
    bench.chmod(server.directory, 0o555)
    fails(server)


def break_access_control(bench: Bench) -> None:
    server = bench.start()
    with bench.inject(server, f"openat:error=EACCES:{FIRST_OPEN}", consumed=1):
        fails(server)


def amend_access_control(evidence: dict[str, t.Any]) -> None:
    """The record that SELinux leaves in the kernel log for that refusal, and SELinux in force."""
    host, instance = evidence["host"], evidence["instances"][0]
    host["lsm"]["selinux"] = "enforcing"
    instance["process"]["security_label"] = "system_u:system_r:redis_t:s0"
    failed = [event for event in instance["redis_log"]["events"] if event["event"] == "open_failed"][-1]
    path = f"{instance['data_directory']['path']}/temp-{failed['pid']}.rdb"
    host["kernel_log"]["events"].append(
        {
            "time_unix": failed["time_unix"],
            "event": "access_denied",
            "text": f"audit: type=1400 audit({failed['time_unix']:.3f}:412): avc:  denied  {{ create }} for  "
            f'pid={failed["pid"]} comm="redis-server" name="{os.path.basename(path)}" '
            "scontext=system_u:system_r:redis_t:s0 tcontext=unconfined_u:object_r:default_t:s0 tclass=file "
            "permissive=0",
            "system": "selinux",
            "command": "redis-server",
            "pid": failed["pid"],
            "operation": "create",
            "path": path,
            "profile": None,
        }
    )


def break_directory_missing(bench: Bench) -> None:
    server = bench.start()
    shutil.rmtree(server.directory)
    fails(server)


def break_directory_recreated(bench: Bench) -> None:
    server = bench.start()
    shutil.rmtree(server.directory)
    server.directory.mkdir()
    bench.own(server.directory, server)
    fails(server)


def break_read_only(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=10m")
    subprocess.run(["mount", "-o", "remount,ro", str(server.directory)], check=True, capture_output=True)
    fails(server)


def break_sandbox_read_only(bench: Bench) -> None:
    server = bench.new()
    place = server.directory
    server.enter = f'mount --bind "{place}" "{place}"\nmount -o remount,bind,ro "{place}"\ncd "{place}"'
    server.start()
    server.fill()
    fails(server)


def break_inodes(bench: Bench) -> None:
    server = bench.start_on_tmpfs("nr_inodes=3")
    for number in range(2):
        (server.directory / f"file{number}").touch()
    fails(server)


def break_directory_immutable(bench: Bench) -> None:
    server = bench.start()
    bench.chattr(server.directory, "i")
    fails(server)


def break_directory_append_only(bench: Bench) -> None:
    server = bench.start()
    bench.chattr(server.directory, "a")
    fails(server)


def break_open_files(bench: Bench) -> None:
    # The log goes to standard output: a server at its limit can't open its log file either. The child closes the
    # listening sockets, so the limit must lie below their numbers.
    server = bench.start(log="stdout")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    bench.prlimit(server, "nofile", 3)
    fails(server)
    # Back to where it was, or nobody could connect to ask.
    bench.prlimit(server, "nofile", before)


# Write


def break_disk_full(bench: Bench) -> None:
    fails(bench.start_on_tmpfs("size=1m", keys=2000, value_bytes=1000))


def break_disk_full_at_flush(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=1m", keys=3)
    fill_up(server.directory)
    fails(server)


def fill_up(directory: Path) -> None:
    """Write a file until the file system takes no byte more."""
    descriptor = os.open(directory / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def injected_sync(error: str) -> t.Callable[[Bench], None]:
    """The first fsync of the child (the one of the temporary file) fails."""

    def break_sync(bench: Bench) -> None:
        server = bench.start()
        with bench.inject(server, f"fsync:{error}:when=1"):
            fails(server)

    return break_sync


def break_open_quota(bench: Bench) -> None:
    server = bench.start()
    with bench.inject(server, f"openat:error=EDQUOT:{FIRST_OPEN}", consumed=1):
        fails(server)


def break_file_size_limit(bench: Bench) -> None:
    fails(bench.start(limits={resource.RLIMIT_FSIZE: MIB}, keys=2000, value_bytes=1000))


def break_file_size_limit_ignored(bench: Bench) -> None:
    """The same where the signal is ignored: the write says EFBIG."""
    server = bench.start(
        limits={resource.RLIMIT_FSIZE: MIB}, ignore_signals=[signal.SIGXFSZ], keys=2000, value_bytes=1000
    )
    fails(server)


def break_sync_range(rule: str) -> t.Callable[[Bench], None]:
    """sync_file_range is called for every 4 MiB written."""

    def break_it(bench: Bench) -> None:
        server = bench.start(keys=6000, value_bytes=1000)
        with bench.inject(server, f"sync_file_range:{rule}"):
            fails(server)

    return break_it


def break_directory_sync(bench: Bench) -> None:
    server = bench.start()
    with bench.inject(server, "fdatasync:error=EIO:when=1"):
        fails(server)


# Rename


def break_destination_directory(bench: Bench) -> None:
    server = bench.start()
    server.dump.mkdir()
    fails(server)


def break_destination_directory_filled(bench: Bench) -> None:
    server = bench.start()
    server.dump.mkdir()
    (server.dump / "kept").write_text("somebody's file")
    fails(server)


def break_destination_mount(bench: Bench) -> None:
    server = bench.start()
    saves(server)
    other = server.base / "other.rdb"
    other.touch()
    bench.mount("--bind", str(other), target=server.dump)
    server.fill(1, prefix="more")
    fails(server)


def break_destination_immutable(bench: Bench) -> None:
    server = saves(bench.start())
    bench.chattr(server.dump, "i")
    server.fill(1, prefix="more")
    fails(server)


def break_destination_sticky(bench: Bench) -> None:
    server = bench.start()
    os.chown(server.directory, 0, 0)
    server.directory.chmod(0o1777)
    server.dump.touch()
    fails(server)


def break_rename(bench: Bench) -> None:
    server = bench.start()
    with bench.inject(server, "rename,renameat,renameat2:error=EXDEV"):
        fails(server)


# The child


def copy_on_write_beyond_limit(server: Server, group: Cgroup) -> None:
    """While a child saves, let the parent write every page, with less room in the group than the copies need."""
    group.set_memory_limit(resident_bytes(server.pid) + 8 * MIB)
    # Ends early when the server dies, or when it refuses writes because its child did.
    with contextlib.suppress(OSError, ReplyError):
        server.connection.call_many(("SETRANGE", f"key:{number}", 0, "changed") for number in range(20_000))


def save_with_child_to_be_killed(server: Server) -> None:
    """A slow save whose child has told the kernel (oom-score-adj yes) to be taken before its parent."""
    server.slow_child(2000)
    server.bgsave()
    score = Path(f"/proc/{server.child()}/oom_score_adj")
    until(lambda: int(score.read_text()) > 0, "the child does not raise its oom_score_adj")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def with_killed_child(bench: Bench, start: t.Callable[[Cgroup], Server]) -> Server:
    """A server whose saving child the kernel has killed: copy on write ran into the limit of their control group.

    The kernel can take the parent as well, when it looks again before the child's pages have come back: then once more.
    """
    for _attempt in range(5):
        group = bench.cgroup("memory")
        server = start(group)
        save_with_child_to_be_killed(server)
        copy_on_write_beyond_limit(server, group)
        group.set_memory_limit(GIB)
        server.reconnect()
        try:
            until(lambda server=server: server.status() == "err", "the kernel does not kill the child")
        except ConnectionError:
            bench.discard(server)
            continue
        server.fast_child()
        return server
    raise RuntimeError("the kernel takes the parent every time")


def break_oom_cgroup(bench: Bench, **options: t.Any) -> Server:
    """The child shares its memory until the parent writes."""
    config = {"oom-score-adj": "yes"}
    return with_killed_child(
        bench,
        lambda group: bench.start(cgroups=[group.path], config=config, keys=20_000, value_bytes=2000, **options),
    )


def break_oom_pid_namespace(bench: Bench) -> None:
    """The log knows the child by another number than the kernel does."""
    break_oom_cgroup(bench, pid_namespace=True)


def amend_oom_host(evidence: dict[str, t.Any]) -> None:
    """The same kill as the whole machine's."""
    for event in evidence["host"]["kernel_log"]["events"]:
        if event["event"] == "oom_kill":
            event.update(constraint="host", oom_cgroup=None, **{"global": True})
            event["text"] = (
                event["text"]
                .replace("Memory cgroup out of memory: Killed", "Out of memory: Killed")
                .replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE")
            )
    for instance in evidence["instances"]:
        for memory in (instance["cgroups"] or {}).get("memory", []):
            memory.update(oom_kill_count=0, oom_event_count=0, max_event_count=0)


def signalled_child(number: int, crash_log: bool = True) -> t.Callable[[Bench], None]:
    def break_child(bench: Bench) -> None:
        # Without its crash report the child dies of the very signal; the report can crash itself (signal 11).
        server = bench.start(config={} if crash_log else {"crash-log-enabled": "no"})
        server.slow_child()
        server.bgsave()
        os.kill(server.child(), number)
        until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the child does not end")
        server.fast_child()

    return break_child


def break_cpu_limit(bench: Bench) -> None:
    """The limit is set; the kernel's signal is sent early, because a second of processor time is long for a test."""
    server = bench.start(limits={resource.RLIMIT_CPU: 3600})
    server.slow_child()
    server.bgsave()
    os.kill(server.child(), signal.SIGXCPU)
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the child does not end")
    server.fast_child()


def break_silently(bench: Bench) -> None:
    server = bench.start()
    with bench.inject(server, f"openat:error=EACCES:{FIRST_TWO_OPENS}", consumed=2):
        fails(server)


def break_without_trace(bench: Bench) -> None:
    server = bench.start(log="nowhere")
    server.slow_child()
    server.bgsave()
    os.kill(server.child(), signal.SIGKILL)
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the child does not end")
    server.fast_child()


# States that are no failure of the last save


def make_stuck(bench: Bench) -> None:
    server = saves(bench.start())
    server.fill(20, prefix="more")
    server.slow_child()
    server.bgsave()
    child = server.child()
    os.kill(child, signal.SIGSTOP)


def make_in_progress(bench: Bench) -> None:
    server = saves(bench.start())
    server.fill(20, prefix="more")
    server.slow_child()
    server.bgsave()
    server.child()


def make_delayed_by_rewrite(bench: Bench) -> None:
    server = saves(bench.start(config={"save": "1 1", "appendonly": "yes"}))
    server.slow_child()
    server.call("BGREWRITEAOF")
    until(lambda: server.info()["aof_rewrite_in_progress"] == "1", "no rewrite")
    server.fill(20, prefix="more")
    until(
        lambda: (
            time.time() - int(server.info()["rdb_last_save_time"]) > 2
            and int(server.info()["rdb_changes_since_last_save"]) >= 20
        ),
        "the save point is not met",
    )


def make_restarted_by_oom(bench: Bench) -> None:
    group = bench.cgroup("memory")
    server = bench.start(cgroups=[group.path], keys=20_000, value_bytes=2000)
    saves(server)
    server.slow_child(2000)
    server.bgsave()
    server.child()
    # The parent and the child are alike to the kernel; which one it takes is settled here.
    Path(f"/proc/{server.pid}/oom_score_adj").write_text("500")
    copy_on_write_beyond_limit(server, group)
    assert server.process is not None
    if server.process.wait(10) != -signal.SIGKILL:
        raise RuntimeError("the kernel did not kill the server")
    group.set_memory_limit(GIB)
    server.stop()
    server.start()
    until(lambda: server.info()["loading"] == "0", "the server does not load")


def make_hidden_directory(bench: Bench) -> None:
    server = saves(bench.start())
    bench.tmpfs(server.directory, "size=10m", server)
    server.fill(1, prefix="more")
    saves(server)


def make_saves_disabled(bench: Bench) -> None:
    bench.start(config={"save": '""'})


def make_idle(bench: Bench) -> None:
    """Nothing has changed since the last save: no save point will be met."""
    saves(bench.start())


def make_healthy(bench: Bench) -> None:
    """Changes wait for a save point whose time has not come."""
    saves(bench.start()).fill(1, prefix="more")


def make_closed(bench: Bench) -> None:
    bench.start()
    bench.server.stop()


def make_stopped(bench: Bench) -> None:
    server = bench.start()
    os.kill(server.pid, signal.SIGSTOP)


def make_closed_door(bench: Bench) -> None:
    server = bench.start()
    server.call("CONFIG", "SET", "requirepass", "the lab's own secret")


def make_loading(bench: Bench) -> None:
    # A loading server answers once every 2 MiB.
    server = saves(bench.start(keys=40, value_bytes=MIB))
    server.stop()
    server.config["key-load-delay"] = "500000"
    server.start()


def make_not_permitted(bench: Bench) -> None:
    server = bench.start()
    server.call("ACL", "SETUSER", "reader", "on", ">the lab's own secret", "~*", "+@read")


def make_sentinel(bench: Bench) -> None:
    """A Sentinel answers as a server does, and has nothing to save."""
    bench.start(keys=0, sentinel=True)


def as_reader(bench: Bench) -> dict[str, t.Any]:
    return {"login_user": "reader", "login_password": "the lab's own secret"}


def quick(bench: Bench) -> dict[str, t.Any]:
    return {"timeout_seconds": 1.0}


STRACE = ("root", "strace")
CHATTR = ("root", "chattr")
NONE: tuple[str, ...] = ()

# fmt: off
FAULTS: tuple[Fault, ...] = (
    # fork
    Fault(
        "fork_commit_limit", "fork_commit_limit", break_fork_commit_limit, FORK + "Cannot allocate memory",
        fixes=("overcommit",), still_present=True, needs=("root", "kernel-settings"), machine_wide=True,
    ),
    Fault(
        "fork_overcommit_heuristic", "fork_overcommit_heuristic", break_fork_overcommit_heuristic,
        FORK + "Cannot allocate memory", fixes=("overcommit",), still_present=True,
        needs=("root", "kernel-settings"), machine_wide=True,
    ),
    Fault(
        "fork_cgroup_memory", "fork_cgroup_memory", break_fork_cgroup_memory, FORK + "Cannot allocate memory",
        fixes=("cgroup_memory",), still_present=True, needs=("root", "cgroup1:memory"),
    ),
    Fault(
        "fork_out_of_memory", "fork_out_of_memory", injected_fork("ENOMEM"), FORK + "Cannot allocate memory",
        needs=STRACE,
    ),
    Fault(
        "fork_process_limit", "fork_process_limit", break_fork_process_limit,
        FORK + "Resource temporarily unavailable", fixes=("process_limit",), still_present=True,
    ),
    Fault(
        "fork_pids_limit", "fork_pids_limit", break_fork_pids_limit, FORK + "Resource temporarily unavailable",
        fixes=("pids_limit",), still_present=True, needs=("root", "cgroup:pids"),
    ),
    Fault("fork_pids_limit_above", "fork_pids_limit", break_fork_pids_limit_above,
          FORK + "Resource temporarily unavailable", fixes=("pids_limit",), still_present=True,
          needs=("root", "cgroup:pids")),
    Fault("fork_forbidden", "fork_forbidden", injected_fork("EPERM"), FORK + "Operation not permitted", needs=STRACE),
    # before open
    Fault("hijacked_dir", "hijacked_dir", break_hijacked_dir, OPEN + "Permission denied", fixes=("restore_dir",),
          still_present=True),
    Fault("hijacked_dir_only", "hijacked_dir", break_hijacked_dir_only, OPEN + "Permission denied",
          fixes=("restore_dir",), still_present=True),
    # open
    Fault("directory_mode", "dir_permission_denied", break_directory_mode, OPEN + "Permission denied",
          fixes=("data_dir",), still_present=True, needs=NONE),
    Fault("directory_mode_for_replica", "dir_permission_denied", break_directory_mode_for_replica,
          OPEN + "Permission denied", fixes=("data_dir",), still_present=True, needs=NONE),
    Fault("directory_owner", "dir_permission_denied", break_directory_owner, OPEN + "Permission denied",
          fixes=("data_dir",), still_present=True),
    Fault("directory_acl", "dir_permission_denied", break_directory_acl, OPEN + "Permission denied",
          fixes=("data_dir",), still_present=True, needs=("root", "acl")),
    Fault("directory_mode_without_log", "dir_permission_denied", break_directory_mode_without_log, None,
          confidence="probable", fixes=("data_dir",), still_present=True, needs=NONE),
    Fault(
        "access_control_denied", "access_control_denied", break_access_control, OPEN + "Permission denied",
        needs=STRACE, in_fleet=False, amend=amend_access_control,
        amended="No security module is active on the machine of the lab: the refusal is injected into the open of the "
        "child, and the record that SELinux leaves in the kernel log is added to the evidence.",
    ),
    Fault("directory_missing", "dir_missing", break_directory_missing, OPEN + "No such file or directory",
          fixes=("recreate_dir",), still_present=True, needs=NONE),
    Fault("directory_recreated", "dir_missing", break_directory_recreated, OPEN + "No such file or directory",
          fixes=("recreate_dir",), still_present=True, needs=NONE),
    Fault("filesystem_read_only", "filesystem_read_only", break_read_only, OPEN + "Read-only file system",
          still_present=True),
    Fault("sandbox_read_only", "sandbox_read_only", break_sandbox_read_only, OPEN + "Read-only file system",
          fixes=("unit_sandbox",), still_present=True),
    Fault("inodes_exhausted", "inodes_exhausted", break_inodes, OPEN + "No space left on device", still_present=True),
    Fault("directory_immutable", "dir_immutable", break_directory_immutable, OPEN + "Operation not permitted",
          fixes=("immutable",), still_present=True, needs=CHATTR),
    Fault("directory_append_only", "dir_immutable", break_directory_append_only,
          RENAME + "Operation not permitted", fixes=("immutable",), still_present=True, needs=CHATTR),
    Fault("too_many_open_files", "too_many_open_files", break_open_files, OPEN + "Too many open files", needs=NONE),
    # write
    Fault("disk_full", "disk_full", break_disk_full, WRITE + "No space left on device", still_present=True),
    Fault("disk_full_at_flush", "disk_full", break_disk_full_at_flush, WRITE + "No space left on device",
          still_present=True),
    Fault("disk_full_at_sync", "disk_full", injected_sync("error=ENOSPC"), WRITE + "No space left on device",
          still_present=False, needs=STRACE),
    Fault("quota_exceeded", "quota_exceeded", injected_sync("error=EDQUOT"), WRITE + "Disk quota exceeded",
          needs=STRACE),
    Fault("quota_exceeded_at_open", "quota_exceeded", break_open_quota, OPEN + "Disk quota exceeded", needs=STRACE),
    Fault("file_size_limit", "file_size_limit", break_file_size_limit, signalled(25), fixes=("file_size_limit",),
          still_present=True, needs=NONE),
    Fault("file_size_limit_ignored", "file_size_limit", break_file_size_limit_ignored, WRITE + "File too large",
          fixes=("file_size_limit",), still_present=True, needs=NONE),
    Fault("io_error", "io_error", injected_sync("error=EIO"), WRITE + "Input/output error", needs=STRACE),
    Fault("sync_unsupported", "sync_unsupported", break_sync_range("error=ENOSYS"),
          WRITE + "Function not implemented", needs=STRACE, servers=from_redis_7),
    Fault("sync_invalid", "sync_unsupported", break_sync_range("error=EINVAL"), WRITE + "Invalid argument",
          needs=STRACE, servers=from_redis_7),
    Fault("directory_sync", "dir_fsync_failed", break_directory_sync, DIRECTORY_SYNC + "Input/output error",
          needs=STRACE, servers=from_redis_7),
    # rename
    Fault("destination_is_directory", "destination_is_directory", break_destination_directory,
          RENAME + "Is a directory", fixes=("destination",), still_present=True, needs=NONE),
    Fault("destination_is_directory_with_files", "destination_is_directory", break_destination_directory_filled,
          RENAME + "Is a directory", still_present=True, needs=NONE),
    Fault("destination_is_mount", "destination_is_mount", break_destination_mount,
          RENAME + "Device or resource busy", still_present=True),
    Fault("destination_immutable", "destination_protected", break_destination_immutable,
          RENAME + "Operation not permitted", fixes=("immutable",), still_present=True, needs=CHATTR),
    Fault("destination_sticky", "destination_protected", break_destination_sticky,
          RENAME + "Operation not permitted", still_present=True),
    Fault("rename_failed", "rename_failed", break_rename, RENAME + "Invalid cross-device link", needs=STRACE),
    # child
    Fault("child_oom_killed_cgroup", "child_oom_killed_cgroup", break_oom_cgroup, signalled(9),
          fixes=("cgroup_memory",), needs=("root", "cgroup:memory")),
    Fault("child_oom_killed_in_pid_namespace", "child_oom_killed_cgroup", break_oom_pid_namespace, signalled(9),
          fixes=("cgroup_memory",), needs=("root", "cgroup:memory")),
    Fault(
        "child_oom_killed_host", "child_oom_killed_host", break_oom_cgroup, signalled(9), fixes=("oom_score",),
        needs=("root", "cgroup:memory"), in_fleet=False, amend=amend_oom_host,
        amended="To exhaust the memory of a whole machine kills what the lab does not own: the child is killed in a "
        "control group, and the kernel's record is changed into that of a kill for the whole machine.",
    ),
    Fault("child_killed", "child_killed", signalled_child(signal.SIGKILL), signalled(9), needs=NONE),
    Fault("child_crashed", "child_crashed", signalled_child(signal.SIGSEGV), signalled(11), needs=NONE),
    Fault("child_bus_error", "child_crashed", signalled_child(signal.SIGBUS, False), signalled(7), needs=NONE),
    Fault("child_aborted", "child_crashed", signalled_child(signal.SIGABRT, False), signalled(6), needs=NONE),
    Fault("child_seccomp_killed", "child_seccomp_killed", injected_sync("signal=SYS"), signalled(31), needs=STRACE),
    Fault("child_cpu_limit", "child_cpu_limit", break_cpu_limit, signalled(24), needs=NONE),
    Fault("child_failed_silently", "child_failed_silently", break_silently, FAILED, needs=STRACE),
    # unknown
    Fault("no_evidence", "no_evidence", break_without_trace, None, confidence="possible", needs=NONE),
)

STATES: tuple[Fault, ...] = (
    Fault("save_stuck", "save_stuck", make_stuck, status="ok", failing=False, needs=NONE),
    Fault("save_in_progress", "save_in_progress", make_in_progress, status="ok", failing=False, needs=NONE),
    Fault("save_delayed_by_aof_rewrite", "save_delayed_by_aof_rewrite", make_delayed_by_rewrite, status="ok",
          failing=False, needs=NONE),
    Fault("restarted_by_oom", "restarted_by_oom", make_restarted_by_oom, status="ok", failing=False,
          needs=("root", "cgroup:memory")),
    Fault("hidden_directory", "hidden_directory", make_hidden_directory, status="ok", failing=False),
    Fault("saves_disabled", "saves_disabled", make_saves_disabled, status="ok", failing=False, needs=NONE),
    Fault("idle", "idle", make_idle, status="ok", failing=False, needs=NONE),
    Fault("healthy", "healthy", make_healthy, status="ok", failing=False, needs=NONE),
    Fault("unreachable_closed", "unreachable", make_closed, status=None, failing=False, needs=NONE),
    Fault("unreachable_stopped", "unreachable", make_stopped, status=None, failing=False, needs=NONE, options=quick),
    Fault("auth_required", "auth_required", make_closed_door, status="ok", failing=False, needs=NONE),
    Fault("loading", "loading", make_loading, status=None, failing=False, needs=NONE),
    Fault("not_permitted", "not_permitted", make_not_permitted, status="ok", failing=False, needs=NONE,
          options=as_reader),
    Fault("sentinel", "unsupported", make_sentinel, status=None, failing=False, needs=NONE),
)
# fmt: on
