# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of remedies: for each fault of ``faults.py``, what remediation must make of it.

More faults stand here that only remediation tells apart: what orphans fill, servers that let ``dir`` be set.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing as t
from pathlib import Path

from .bench import Bench, Cgroup, cgroup_parent, missing_need
from .faults import (
    FAULTS,
    GIB,
    MIB,
    OPEN,
    STATES,
    WRITE,
    Fault,
    break_oom_cgroup,
    everywhere,
    fails,
    signalled,
    start_with_protected_configs,
)
from .servers import KINDS, Server, ServerKind

DEAD_PID = 4_190_000
"""Beyond what this lab's servers get; no process has it (see :func:`dead_pids`)."""

OPT_IN = ("pids_limit", "cgroup_memory", "restore_dir", "immutable", "destination", "recreate_dir")
"""What must be asked for, and is, for the faults that need it."""
VALUES = {"remediate_pids_limit": 500, "remediate_cgroup_memory_bytes": 2 * GIB}


@dataclasses.dataclass(frozen=True)
class Remedy:
    """What comes of a fault.

    ``fixes``: those that must change something; a cured fault without any had a cause that is gone, and one save
    shows it. ``opt_in``: the fix that is only made where it is asked for. ``result``: the word of the document, and
    ``refused`` on servers where ``servers`` gives a reason.
    ``why``: why there is no fix. ``stays``: why a rollback leaves what could be put back.
    """

    fault: str
    result: str
    fixes: tuple[str, ...] = ()
    opt_in: str | None = None
    why: str | None = None
    stays: str | None = None
    servers: t.Callable[[ServerKind], str | None] = everywhere
    machine_wide: bool = False

    def helps(self, kind: ServerKind) -> bool:
        """Whether something is done about it (a server that was not failing is improved, not cured)."""
        return self.expected(kind) in ("cured", "improved")

    def expected(self, kind: ServerKind) -> str:
        """The word of the document."""
        return "refused" if self.servers(kind) else self.result


def cured_by(fault: str, *fixes: str, **more: t.Any) -> Remedy:
    return Remedy(fault, "cured", fixes, **more)


def opted_in(fault: str, fix: str, **more: t.Any) -> Remedy:
    return Remedy(fault, "cured", (fix,), fix, **more)


def gone(fault: str) -> Remedy:
    """What made the save fail is no longer there: a save proves it, and clears the status."""
    return Remedy(fault, "cured")


def by_hand(fault: str, why: str) -> Remedy:
    return Remedy(fault, "refused", why=why)


# More faults


def dead_pids(count: int) -> list[int]:
    """Numbers that no process has."""
    found: list[int] = []
    pid = DEAD_PID
    while len(found) < count:
        if not Path(f"/proc/{pid}").exists():
            found.append(pid)
        pid -= 1
    return found


def leave_orphans(server: Server, count: int, size_bytes: int) -> list[Path]:
    """Temporary files as a killed server leaves them: dead writers, older than the server."""
    paths = []
    for pid in dead_pids(count):
        path = server.directory / f"temp-{pid}.rdb"
        path.write_bytes(os.urandom(size_bytes))
        if server.uid is not None:
            os.chown(path, server.uid, server.uid)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        paths.append(path)
    return paths


def break_disk_full_of_orphans(bench: Bench) -> None:
    """The dump would fit twice; what dead children have left takes the room."""
    server = bench.start_on_tmpfs("size=4m", keys=600, value_bytes=1000)
    leave_orphans(server, 3, 1200 * 1024)
    fails(server)


def break_inodes_by_orphans(bench: Bench) -> None:
    """nr_inodes counts the root of the tmpfs."""
    server = bench.start_on_tmpfs("nr_inodes=3")
    leave_orphans(server, 2, 10)
    fails(server)


def break_directory_missing_settable(bench: Bench) -> None:
    server = start_with_protected_configs(bench)
    shutil.rmtree(server.directory)
    fails(server)


def break_oom_still_short(bench: Bench) -> None:
    """The child was killed, and the group still has no room for the copies of a save."""
    server = break_oom_cgroup(bench)
    parent = cgroup_parent("memory")
    assert parent is not None
    group = Cgroup(server.cgroups[0], parent[1], "memory")
    group.set_memory_limit(group.memory_usage() + 8 * MIB)


def break_hijacked_dir_in_file(bench: Bench) -> None:
    """The intruder's directory stands in the configuration file, and can't be changed at run time from 7.0 on."""
    fails(bench.start(config={"dir": "/etc/cron.d", "dbfilename": "root"}))


def break_directory_with_orphans(bench: Bench) -> None:
    """Orphans beside a directory that nobody may write to: two fixes, in one run."""
    server = bench.start()
    leave_orphans(server, 2, MIB)
    bench.chmod(server.directory, 0o555)
    fails(server)


def from_protected_configs(kind: ServerKind) -> str | None:
    """The reason why a server older than 7.0 shows nothing new here."""
    return None if kind.at_least(7) else "Redis before 7.0 lets dir be set anyway"


def before_protected_configs(kind: ServerKind) -> str | None:
    return "the server refuses to change dir at run time" if kind.at_least(7) else None


# fmt: off
MORE_FAULTS: tuple[Fault, ...] = (
    Fault("disk_full_of_orphans", "disk_full", break_disk_full_of_orphans, WRITE + "No space left on device",
          fixes=("orphan_temp_files",), still_present=True),
    Fault("inodes_by_orphans", "inodes_exhausted", break_inodes_by_orphans, OPEN + "No space left on device",
          fixes=("orphan_temp_files",), still_present=True),
    Fault("directory_missing_settable", "dir_missing", break_directory_missing_settable,
          OPEN + "No such file or directory", servers=from_protected_configs),
    Fault("hijacked_dir_in_file", "hijacked_dir", break_hijacked_dir_in_file, OPEN + "Permission denied"),
    Fault("child_oom_killed_still_short", "child_oom_killed_cgroup", break_oom_still_short, signalled(9),
          fixes=("cgroup_memory",), still_present=True, needs=("root", "cgroup:memory")),
    Fault("directory_mode_and_orphans", "dir_permission_denied", break_directory_with_orphans,
          OPEN + "Permission denied", fixes=("data_dir",)),
)

REMEDIES: tuple[Remedy, ...] = (
    # fork
    opted_in("fork_commit_limit", "overcommit", machine_wide=True),
    cured_by("fork_overcommit_heuristic", "overcommit", machine_wide=True),
    opted_in("fork_cgroup_memory", "cgroup_memory"),
    gone("fork_out_of_memory"),
    cured_by("fork_process_limit", "process_limit"),
    opted_in("fork_pids_limit", "pids_limit"),
    opted_in("fork_pids_limit_above", "pids_limit"),
    gone("fork_forbidden"),
    # before open
    opted_in("hijacked_dir", "restore_dir", stays="the dump would go to the intruder's place again"),
    opted_in("hijacked_dir_only", "restore_dir", stays="the dump would go to the intruder's place again"),
    by_hand("hijacked_dir_in_file", "what the file says is the intruder's too, or the operator's wish"),
    # open
    cured_by("directory_mode", "data_dir"),
    cured_by("directory_owner", "data_dir"),
    cured_by("directory_acl", "data_dir"),
    cured_by("directory_mode_without_log", "data_dir"),
    cured_by("directory_mode_and_orphans", "data_dir", "orphan_temp_files"),
    opted_in("directory_missing", "recreate_dir", servers=before_protected_configs,
             stays="the server works in it"),
    opted_in("directory_recreated", "recreate_dir", servers=before_protected_configs,
             stays="the server works in it"),
    opted_in("directory_missing_settable", "recreate_dir", stays="the server works in it"),
    by_hand("filesystem_read_only", "a file system is read-only for a reason, and errors of the disk are one"),
    by_hand("sandbox_read_only", "no unit whose sandbox could be opened"),
    by_hand("inodes_exhausted", "the files are somebody's"),
    cured_by("inodes_by_orphans", "orphan_temp_files"),
    opted_in("directory_immutable", "immutable"),
    opted_in("directory_append_only", "immutable"),
    gone("too_many_open_files"),
    # write
    by_hand("disk_full", "the dataset does not fit"),
    by_hand("disk_full_at_flush", "the file is somebody's"),
    cured_by("disk_full_of_orphans", "orphan_temp_files"),
    gone("disk_full_at_sync"),
    gone("quota_exceeded"),
    gone("quota_exceeded_at_open"),
    cured_by("file_size_limit", "file_size_limit"),
    cured_by("file_size_limit_ignored", "file_size_limit"),
    by_hand("io_error", "a disk with errors is not written to again"),
    gone("sync_unsupported"),
    gone("sync_invalid"),
    by_hand("directory_sync", "a disk with errors is not written to again, whichever call met them"),
    # rename
    opted_in("destination_is_directory", "destination", stays="the dump has its name now"),
    by_hand("destination_is_directory_with_files", "the files are somebody's"),
    by_hand("destination_is_mount", "somebody mounted it there"),
    opted_in("destination_immutable", "immutable"),
    by_hand("destination_sticky", "the file is another user's"),
    gone("rename_failed"),
    # child
    opted_in("child_oom_killed_still_short", "cgroup_memory"),
    gone("child_oom_killed_cgroup"),
    gone("child_oom_killed_in_pid_namespace"),
    gone("child_killed"),
    gone("child_crashed"),
    gone("child_bus_error"),
    gone("child_aborted"),
    gone("child_seccomp_killed"),
    by_hand("child_cpu_limit", "the limit stands, and a long save reaches it"),
    gone("child_failed_silently"),
    gone("no_evidence"),
    # states
    Remedy("restarted_by_oom", "improved", ("orphan_temp_files",)),
    Remedy("save_stuck", "unchanged", why="the save that hangs is not ended: what it waits for is not known"),
    Remedy("save_in_progress", "unchanged", why="nothing is wrong"),
    Remedy("save_delayed_by_aof_rewrite", "unchanged", why="the save comes after the rewrite"),
    Remedy("hidden_directory", "unchanged", why="the dump is where the mount covers it; a restart would load another"),
    Remedy("saves_disabled", "unchanged", why="save points are the operator's decision"),
    Remedy("idle", "unchanged", why="nothing is wrong"),
    Remedy("healthy", "unchanged", why="nothing is wrong"),
    Remedy("unreachable_closed", "unchanged", why="nobody answers"),
    Remedy("unreachable_stopped", "unchanged", why="nobody answers"),
    Remedy("auth_required", "unchanged", why="the password is missing"),
    Remedy("not_permitted", "unchanged", why="the user may not ask"),
    Remedy("sentinel", "unchanged", why="a Sentinel keeps no data"),
)
# fmt: on

GONE_EVERYWHERE = ("child_killed", "child_oom_killed_cgroup", "no_evidence")

APART = {
    "directory_mode_for_replica": "the server is told to keep no dump, so nothing is saved: see test_harm_proof.py",
    "loading": "it is ready before a run comes to it",
    "access_control_denied": "no security module is in force on the machine of the lab, and remediation gathers itself",
    "child_oom_killed_host": "the kernel's record is made up, and remediation gathers itself",
}
"""Faults of the other table that remediation can't be shown, and why."""

BY_FAULT = {fault.id: fault for fault in FAULTS + STATES + MORE_FAULTS}


class Case(t.NamedTuple):
    """One broken server of a run."""

    remedy: Remedy
    fault: Fault
    bench: Bench

    @property
    def server(self) -> Server:
        return self.bench.server

    @property
    def name(self) -> str:
        return f"{self.fault.id} on {self.bench.kind.id}"


def fits(remedy: Remedy, kind: ServerKind) -> bool:
    """Whether the fault can stand beside others on this machine, on that server.

    What one save alone cures is the same on every server: a few of those do, but for the last one.
    """
    fault = BY_FAULT[remedy.fault]
    if remedy.result == "cured" and not remedy.fixes and remedy.fault not in GONE_EVERYWHERE and kind != KINDS[-1]:
        return False
    return not (remedy.machine_wide or fault.servers(kind) or any(map(missing_need, fault.needs)))
