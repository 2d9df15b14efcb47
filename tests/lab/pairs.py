# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two faults at once: both are named, the one that came first in the way of a save first."""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t

from . import faults
from .bench import Bench
from .faults import CHATTR, fails, fill_up


@dataclasses.dataclass(frozen=True)
class Pair:
    """``causes``: what must be named, in this order, the verdict first."""

    id: str
    break_it: t.Callable[[Bench], t.Any]
    causes: tuple[str, str]
    needs: tuple[str, ...] = ("root",)


def permission_and_full(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=1m", keys=3)
    fill_up(server.directory)
    bench.chmod(server.directory, 0o555)
    fails(server)


def read_only_and_destination(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=10m")
    server.dump.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(server.directory)], check=True, capture_output=True)
    fails(server)


def pids_and_permission(bench: Bench) -> None:
    group = bench.cgroup("pids")
    server = bench.start(cgroups=[group.path])
    bench.chmod(server.directory, 0o555)
    group.freeze_pids()
    fails(server)


def immutable_and_destination(bench: Bench) -> None:
    server = bench.start()
    server.dump.mkdir()
    bench.chattr(server.directory, "i")
    fails(server)


def process_limit_and_full(bench: Bench) -> None:
    server = bench.start_on_tmpfs("size=1m", keys=3)
    fill_up(server.directory)
    bench.prlimit(server, "nproc", 1)
    fails(server)


def oom_then_full(bench: Bench) -> None:
    """The kernel kills the saving server again and again; each time its file stays, until the disk is full."""
    config = {"oom-score-adj": "yes"}
    server = faults.with_killed_child(
        bench,
        lambda group: bench.start_on_tmpfs(
            "size=30m", cgroups=[group.path], config=config, keys=20_000, value_bytes=1000
        ),
    )
    for number in range(3):
        orphan = server.directory / f"temp-{900_000 + number}.rdb"
        orphan.write_bytes(b"x" * (9 * faults.MIB))
        bench.own(orphan, server)
    fails(server)


PAIRS: tuple[Pair, ...] = (
    Pair("permission_and_full", permission_and_full, ("dir_permission_denied", "disk_full")),
    Pair("read_only_and_destination", read_only_and_destination, ("filesystem_read_only", "destination_is_directory")),
    Pair(
        "pids_and_permission",
        pids_and_permission,
        ("fork_pids_limit", "dir_permission_denied"),
        needs=("root", "cgroup:pids"),
    ),
    Pair(
        "immutable_and_destination",
        immutable_and_destination,
        ("dir_immutable", "destination_is_directory"),
        needs=CHATTR,
    ),
    Pair("process_limit_and_full", process_limit_and_full, ("fork_process_limit", "disk_full")),
    Pair("oom_then_full", oom_then_full, ("child_oom_killed_cgroup", "disk_full"), needs=("root", "cgroup:memory")),
)
