# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controls: something that looks guilty beside a server, and is not the cause."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from . import faults
from .bench import Bench, huge_pages
from .faults import MIB, everywhere, fails, saves, signalled_child
from .resp import ReplyError
from .servers import ServerKind, until

DAY_SECONDS = 24 * 3600
QUIET = ("healthy", "idle")


@dataclasses.dataclass(frozen=True)
class Control:
    """One control.

    ``states``: the states that may be named. ``causes``: the causes that may be named, the first being the verdict
    where the state is ``failing``; none of the others may appear. ``risks`` must be named, ``no_risks`` must not.
    ``amend`` changes the evidence where waiting a day is the only other way.
    """

    id: str
    arrange: t.Callable[[Bench], t.Any]
    states: tuple[str, ...] = QUIET
    causes: tuple[str, ...] = ()
    confidence: str = "confirmed"
    will_retry: t.Any = "ANY"
    still_present: t.Any = "ANY"
    risks: tuple[str, ...] = ()
    no_risks: tuple[str, ...] = ()
    needs: tuple[str, ...] = ("root",)
    servers: t.Callable[[ServerKind], str | None] = everywhere
    amend: t.Callable[[dict[str, t.Any]], None] | None = None
    options: t.Callable[[Bench], dict[str, t.Any]] | None = None
    collector_uid: t.Callable[[Bench], int] | None = None
    gap_expected: bool = False


def only_valkey(kind: ServerKind) -> str | None:
    return None if kind.server == "valkey" else "log-format is Valkey's alone"


# Beside a failure with another cause


def overcommit_beside_full_disk(bench: Bench) -> None:
    change = bench.exit.enter_context(bench.overcommit())
    change(0)
    faults.break_disk_full(bench)


def kill_in_group(bench: Bench) -> None:
    """A process that has nothing to do with the server is killed by the kernel in a group of its own."""
    group = bench.cgroup("memory")
    group.set_memory_limit(24 * MIB)
    # A process whose name is the server's, so that a name alone proves nothing.
    place = bench.base / bench.kind.name
    shutil.copy(os.path.realpath(sys.executable), place)
    script = (
        f"import os; open({str(group.path / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "held = [bytearray(1 << 20) for _ in range(64)]"
    )
    done = subprocess.run(
        [str(place), "-c", script],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": str(Path(sys.base_prefix) / "lib")},
    )
    assert done.returncode == -signal.SIGKILL, done


def oom_of_another_beside_killed_child(bench: Bench) -> None:
    signalled_child(signal.SIGKILL)(bench)
    kill_in_group(bench)


def oom_of_another_beside_health(bench: Bench) -> None:
    saves(bench.start()).fill(1, prefix="more")
    kill_in_group(bench)


def add_oom_of_yesterday(evidence: dict[str, t.Any]) -> None:
    """The kernel killed a process with the same number a day ago."""
    log = evidence["instances"][0]["redis_log"]["events"]
    child = [event["child_pid"] for event in log if event["event"] == "save_started"][-1]
    when = time.time() - DAY_SECONDS
    kernel_log = evidence["host"]["kernel_log"]
    kernel_log["oldest_unix"] = when - 60
    kernel_log["events"].insert(
        0,
        {
            "time_unix": when,
            "event": "oom_kill",
            "text": f"Out of memory: Killed process {child} (redis-server) total-vm:90032kB, anon-rss:42368kB",
            "pid": child,
            "command": evidence["instances"][0]["process"]["command"],
            "uid": evidence["instances"][0]["process"]["uid"]["effective"],
            "constraint": "host",
            "oom_cgroup": None,
            "task_cgroup": "/",
            "anonymous_bytes": 42368 * 1024,
            "oom_score_adj": 0,
            "global": True,
        },
    )


def disk_full_then(bench: Bench) -> None:
    faults.break_disk_full(bench)
    subprocess.run(["mount", "-o", "remount,size=64m", str(bench.server.directory)], check=True, capture_output=True)


def permission_then(bench: Bench) -> None:
    faults.break_directory_mode(bench)
    bench.server.directory.chmod(0o755)


def config_renamed(bench: Bench) -> None:
    server = bench.start(config={"rename-command": 'CONFIG ""'})
    bench.chmod(server.directory, 0o555)
    fails(server)


def config_forbidden(bench: Bench) -> None:
    faults.break_directory_mode(bench)
    bench.server.call("ACL", "SETUSER", "observer", "on", ">the lab's own secret", "-@all", "+info", "+ping")


def as_observer(bench: Bench) -> dict[str, t.Any]:
    return {"login_user": "observer", "login_password": "the lab's own secret"}


def log_deleted(bench: Bench) -> None:
    server = saves(bench.start())
    server.fill(1, prefix="more")
    shutil.rmtree(server.log_directory)


def log_deleted_after_failure(bench: Bench) -> None:
    faults.break_directory_mode(bench)
    shutil.rmtree(bench.server.log_directory)


def log_format(name: str) -> t.Callable[[Bench], None]:
    def arrange(bench: Bench) -> None:
        server = bench.start(config={"log-format": name, "log-timestamp-format": "iso8601"})
        bench.chmod(server.directory, 0o555)
        fails(server)

    return arrange


def log_in_journal(bench: Bench) -> None:
    server = bench.start(log="journal", journal=bench.start_journal())
    bench.chmod(server.directory, 0o555)
    fails(server)


def timestamps(name: str) -> t.Callable[[Bench], None]:
    def arrange(bench: Bench) -> None:
        server = bench.start(config={"log-timestamp-format": name})
        bench.chmod(server.directory, 0o555)
        fails(server)

    return arrange


def flag_left_behind(bench: Bench) -> None:
    """Nothing waits to be saved and writes are refused, so no save will ever clear the flag."""
    server = bench.start()
    saves(server)
    server.dump.unlink()
    server.dump.mkdir()
    fails(server)
    server.dump.rmdir()


# Beside health


def failure_before_success(bench: Bench) -> None:
    faults.break_directory_mode(bench)
    bench.server.directory.chmod(0o755)
    saves(bench.server).fill(1, prefix="more")


def huge_pages_always(bench: Bench) -> None:
    change = bench.exit.enter_context(huge_pages())
    change("always")
    saves(bench.start(keys=20_000, value_bytes=1000)).fill(1, prefix="more")


def dump_of_root(bench: Bench) -> None:
    server = saves(bench.start())
    os.chown(server.dump, 0, 0)
    server.dump.chmod(0o600)
    server.fill(1, prefix="more")
    saves(server)
    os.chown(server.dump, 0, 0)
    server.fill(1, prefix="again")


def dump_without_rights(bench: Bench) -> None:
    server = saves(bench.start())
    server.dump.chmod(0)
    server.fill(1, prefix="more")


def parent_closed(bench: Bench) -> None:
    """The server stands in its directory: it opens its files without going through the parent."""
    server = saves(bench.start())
    os.chown(server.base, 0, 0)
    bench.chmod(server.base, 0o700)
    server.fill(1, prefix="more")
    saves(server).fill(1, prefix="again")


def root_in_closed_directory(bench: Bench) -> None:
    server = bench.start(root=True)
    bench.chmod(server.directory, 0o555)
    saves(server).fill(1, prefix="more")


def child_aborted(bench: Bench) -> None:
    server = saves(bench.start())
    server.fill(20, prefix="more")
    server.slow_child()
    server.bgsave()
    os.kill(server.child(), signal.SIGUSR1)
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the child does not end")
    server.fast_child()


def orphan_files(bench: Bench) -> None:
    server = saves(bench.start())
    orphan = server.directory / "temp-999999.rdb"
    orphan.write_bytes(b"x" * 100_000)
    bench.own(orphan)
    os.utime(orphan, (time.time() - DAY_SECONDS,) * 2)
    server.fill(1, prefix="more")


def rewrite_running(bench: Bench) -> None:
    server = saves(bench.start(config={"appendonly": "yes"}))
    server.slow_child()
    server.call("BGREWRITEAOF")
    until(lambda: server.info()["aof_rewrite_in_progress"] == "1", "no rewrite")


def replica(bench: Bench) -> None:
    second = saves(bench.start())
    first = saves(bench.start(config={"repl-diskless-sync-delay": "0"}))
    second.call("REPLICAOF", "127.0.0.1", first.port)
    until(lambda: second.info("replication")["master_link_status"] == "up", "the replica does not follow")
    until(lambda: second.info()["rdb_bgsave_in_progress"] == "0", "the replica still saves")
    first.fill(1, prefix="more")
    saves(second)


def shared_directory(bench: Bench) -> None:
    server = saves(bench.start())
    other = bench.new(directory=server.directory)
    if server.uid is not None:
        other.uid = server.uid
    other.start()
    saves(other.fill())
    saves(server)
    server.fill(1, prefix="more")


def text_of_a_client(bench: Bench) -> None:
    """A client can write into the log: that is nothing that the server says of itself."""
    server = saves(bench.start(config={"enable-debug-command": "yes"} if bench.kind.at_least(7) else {}))
    for text in ("Background saving error", "Can't save in background: fork: Cannot allocate memory"):
        server.call("DEBUG", "LOG", text)
    server.fill(1, prefix="more")


def full_disk_elsewhere(bench: Bench) -> None:
    server = saves(bench.start())
    bench.tmpfs(server.base / "other", "size=1m")
    faults.fill_up(server.base / "other")
    server.fill(1, prefix="more")


def foreground_save_failed(bench: Bench) -> None:
    """SAVE fails and says so to its client; the status stays ok and nothing is blocked."""
    server = saves(bench.start())
    server.fill(1, prefix="more")
    bench.chmod(server.directory, 0o555)
    with contextlib.suppress(ReplyError):
        server.call("SAVE")
    server.directory.chmod(0o755)


def inner_pid(bench: Bench) -> None:
    saves(bench.start(pid_namespace=True)).fill(1, prefix="more")


def inner_pid_killed(bench: Bench) -> None:
    server = bench.start(pid_namespace=True)
    server.slow_child()
    server.bgsave()
    os.kill(server.child(), signal.SIGKILL)
    until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "the child does not end")
    server.fast_child()


def without_log(bench: Bench) -> None:
    saves(bench.start(log="nowhere")).fill(1, prefix="more")


def stranger(bench: Bench) -> int:
    return 65_534


def server_user(bench: Bench) -> int:
    assert bench.server.uid is not None
    return bench.server.uid


CONTROLS: tuple[Control, ...] = (
    Control(
        "overcommit_0_beside_full_disk",
        overcommit_beside_full_disk,
        ("failing",),
        ("disk_full",),
        needs=("root", "kernel-settings"),
        risks=("overcommit_not_1",),
    ),
    Control(
        "oom_of_another_beside_killed_child",
        oom_of_another_beside_killed_child,
        ("failing",),
        ("child_killed",),
        needs=("root", "cgroup:memory"),
    ),
    Control("oom_of_another_beside_health", oom_of_another_beside_health, needs=("root", "cgroup:memory")),
    Control(
        "oom_of_yesterday",
        signalled_child(signal.SIGKILL),
        ("failing",),
        ("child_killed",),
        amend=add_oom_of_yesterday,
        needs=(),
    ),
    Control("failure_before_the_last_success", failure_before_success, needs=()),
    Control(
        "huge_pages_always", huge_pages_always, needs=("root", "kernel-settings"), no_risks=("thp_active_for_process",)
    ),
    Control("dump_of_root", dump_of_root),
    Control("dump_without_rights", dump_without_rights, needs=()),
    Control("disk_full_then_free_now", disk_full_then, ("failing",), ("disk_full",), still_present=False),
    Control(
        "permission_denied_then_granted_now",
        permission_then,
        ("failing",),
        ("dir_permission_denied",),
        still_present=False,
        needs=(),
    ),
    Control(
        "flag_left_behind",
        flag_left_behind,
        ("failing",),
        ("destination_is_directory",),
        still_present=False,
        will_retry=False,
        needs=(),
    ),
    Control("saves_disabled", faults.make_saves_disabled, ("saves_disabled",), needs=()),
    Control("idle", faults.make_idle, ("idle",), needs=()),
    Control("rewrite_running", rewrite_running, needs=()),
    Control("replica", replica, needs=()),
    Control("shared_directory", shared_directory, risks=("shared_dump_path",), needs=()),
    Control("log_deleted", log_deleted, needs=()),
    Control(
        "log_deleted_after_failure",
        log_deleted_after_failure,
        ("failing",),
        ("dir_permission_denied",),
        confidence="probable",
        needs=(),
    ),
    Control("log_nowhere", without_log, needs=(), risks=("no_log_kept",)),
    Control(
        "log_format_logfmt",
        log_format("logfmt"),
        ("failing",),
        ("dir_permission_denied",),
        needs=(),
        servers=only_valkey,
    ),
    Control(
        "log_format_json", log_format("json"), ("failing",), ("dir_permission_denied",), needs=(), servers=only_valkey
    ),
    Control("log_in_journal", log_in_journal, ("failing",), ("dir_permission_denied",), needs=("root", "journald")),
    Control(
        "log_timestamps_iso8601",
        timestamps("iso8601"),
        ("failing",),
        ("dir_permission_denied",),
        needs=(),
        servers=only_valkey,
    ),
    Control(
        "log_timestamps_milliseconds",
        timestamps("milliseconds"),
        ("failing",),
        ("dir_permission_denied",),
        needs=(),
        servers=only_valkey,
    ),
    Control(
        "collected_by_a_stranger",
        faults.break_directory_mode,
        ("failing",),
        ("dir_permission_denied",),
        confidence="probable",
        collector_uid=stranger,
        gap_expected=True,
    ),
    Control(
        "collected_by_the_server_user",
        faults.break_directory_mode,
        ("failing",),
        ("dir_permission_denied",),
        collector_uid=server_user,
        gap_expected=True,
    ),
    Control("health_collected_by_a_stranger", faults.make_healthy, collector_uid=stranger, gap_expected=True),
    Control("config_renamed", config_renamed, ("failing",), ("dir_permission_denied",), needs=(), gap_expected=True),
    Control(
        "config_forbidden",
        config_forbidden,
        ("failing",),
        ("dir_permission_denied",),
        needs=(),
        options=as_observer,
        gap_expected=True,
    ),
    Control("parent_closed", parent_closed),
    Control("root_in_closed_directory", root_in_closed_directory),
    Control("child_aborted", child_aborted, needs=()),
    # Only root can see that no other process holds the file open.
    Control("orphan_files", orphan_files, risks=("orphan_temp_files",)),
    Control("text_of_a_client", text_of_a_client, needs=()),
    Control("full_disk_elsewhere", full_disk_elsewhere),
    Control("foreground_save_failed", foreground_save_failed, needs=()),
    Control("pid_namespace", inner_pid),
    Control("pid_namespace_killed_child", inner_pid_killed, ("failing",), ("child_killed",)),
)
