# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's table: how a save of a server under systemd is broken for real, and the verdict that must follow.

Each ``break_*`` function gets an instance of the distribution's template unit, not configured yet, and leaves it
running with a save that failed (or, in the controls, with one that succeeded).
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .machine import wait_until
from .services import TOUCH, Service

MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Fault:
    """One line of the table.

    ``verdict``: the cause id, or the state id where it is not a failure. ``confidence``: the least. ``quotes``: words
    that the evidence of the verdict must contain. ``controller``: what systemd must be able to limit. ``fixes``: ids
    that must be offered. ``log_source``: where the log must be found. ``unprivileged``: what an ordinary user may say
    as well, who can read neither log nor process.
    """

    id: str
    verdict: str
    break_it: t.Callable[[Service], t.Any]
    confidence: str = "confirmed"
    still_present: bool | None = True
    quotes: tuple[str, ...] = ()
    controller: str | None = None
    fixes: tuple[str, ...] = ()
    log_source: str = "file"
    failing: bool = True


# Sandbox


def elsewhere(service: Service) -> None:
    """A directory that belongs to the server and can be written, but that the unit's sandbox leaves read-only."""
    service.directory = f"/data/{service.kind.name}-{service.name}"


def break_sandbox(service: Service) -> None:
    elsewhere(service)
    service.begin().fails()


def break_sandbox_with_log_in_journal(service: Service) -> None:
    elsewhere(service)
    service.begin(logfile='""').fails()


def break_sandbox_with_pending_fix(service: Service) -> None:
    """ReadWritePaths is there and loaded, but the server runs in the namespace of before."""
    elsewhere(service)
    service.begin().fails()
    service.drop_in(f"[Service]\nReadWritePaths={service.directory}\n", "paths.conf")
    service.machine.run("systemctl", "daemon-reload")


def break_sandbox_read_only_paths(service: Service) -> None:
    """An administrator's own line shuts the directory that the distribution's opens."""
    service.drop_in(f"[Service]\nReadOnlyPaths={service.directory}\n")
    service.begin().fails()


# The directory


def break_permissions(service: Service) -> None:
    service.begin()
    service.machine.shell(f"chown root:root {service.directory}; chmod 0755 {service.directory}")
    service.fails()


def break_missing(service: Service) -> None:
    service.begin()
    service.machine.run("rmdir", service.directory)
    service.fails()


def break_destination(service: Service) -> None:
    service.begin()
    service.machine.run("mkdir", f"{service.directory}/dump.rdb")
    service.fails()


def break_destination_of_socket_only(service: Service) -> None:
    service.listen_on_socket_only()
    break_destination(service)


def break_disk_full(service: Service) -> None:
    service.configure(rdbcompression="no")
    service.machine.shell(
        f"mount -t tmpfs -o size=1m,mode=0750,uid={service.kind.name},gid={service.kind.name} tmpfs {service.directory}"
    )
    service.start().fill(3000, 1000)
    service.fails()


# Limits


def break_pids_limit(service: Service) -> None:
    """TasksMax of the running unit, as low as what it has."""
    service.begin()
    service.machine.run("systemctl", "set-property", "--runtime", service.unit, f"TasksMax={service.threads}")
    service.fails()


def break_process_limit(service: Service) -> None:
    """LimitNPROC as low as the server's own threads. The unit's user namespace (PrivateUsers=) counts for itself."""
    service.begin()
    service.drop_in(f"[Service]\nLimitNPROC={service.threads}\n")
    service.start().fill().fails()


def break_file_size(service: Service) -> None:
    service.drop_in("[Service]\nLimitFSIZE=256K\n")
    service.begin(rdbcompression="no").fill(2000, 1000).fails()


# The child


def slow_down(service: Service) -> None:
    """A save of some seconds."""
    service.ask("CONFIG", "SET", "rdb-key-save-delay", 20_000)


def break_child_killed(service: Service) -> None:
    service.begin().fill(500, 10)
    slow_down(service)
    service.ask("BGSAVE")
    service.machine.run("kill", "-KILL", str(service.child()))
    if service.wait_for_save() != "err":
        raise RuntimeError("the killed save left no err")


def break_memory_max(service: Service) -> None:
    """The unit's MemoryMax is reached by copies of written pages, and the child is the one to go."""
    keys = 1500
    service.begin(rdbcompression="no", oom_score_adj="yes").fill(keys, 40_000)
    service.ask("CONFIG", "SET", "rdb-key-save-delay", 5_000)
    limit = memory_usage(service) + 20 * MIB
    service.machine.run("systemctl", "set-property", "--runtime", service.unit, f"MemoryMax={limit}")
    before = service.pid
    service.ask("BGSAVE")
    service.child()
    service.ask("EVAL", TOUCH, 0, keys)
    if service.wait_for_save() != "err" or service.pid != before:
        raise RuntimeError("the kernel did not kill the child")


def kill_server_in_save(service: Service) -> None:
    """The same limit, and the server is the one to go, in the middle of a save; systemd starts it again."""
    keys = 1500
    service.begin(rdbcompression="no").fill(keys, 40_000)
    service.ask("CONFIG", "SET", "rdb-key-save-delay", 5_000)
    limit = memory_usage(service) + 20 * MIB
    service.machine.run("systemctl", "set-property", "--runtime", service.unit, f"MemoryMax={limit}")
    before = service.pid
    service.ask("BGSAVE")
    child = service.child()
    service.machine.shell(f"echo 1000 >/proc/{before}/oom_score_adj; echo 0 >/proc/{child}/oom_score_adj")
    with contextlib.suppress(RuntimeError):
        service.ask("EVAL", TOUCH, 0, keys)
    wait_until(lambda: service.has_restarted(before), f"{service.unit} does not come back")


def memory_usage(service: Service) -> int:
    group = service.show("ControlGroup")["ControlGroup"]
    for path in (f"memory{group}/memory.usage_in_bytes", f"{group}/memory.current"):
        file = service.machine.path("/sys/fs/cgroup") / path.lstrip("/")
        if file.exists():
            return int(file.read_text())
    raise RuntimeError("no memory controller")


# Not failing


def keep_healthy(service: Service) -> None:
    service.begin().saves()


def heal_full_disk(service: Service) -> None:
    """Failed once, saved since: the log still has the failure."""
    break_disk_full(service)
    service.machine.run("mount", "-o", "remount,size=64m", service.directory)
    service.saves()


def restart_by_systemd(service: Service) -> None:
    """Killed and started again by the unit's Restart=always; saves."""
    service.begin()
    before = service.pid
    service.machine.run("kill", "-KILL", str(before))
    wait_until(lambda: service.has_restarted(before), f"{service.unit} does not come back")
    service.fill().saves()


FAULTS: tuple[Fault, ...] = (
    Fault(
        "sandbox_read_only",
        "sandbox_read_only",
        break_sandbox,
        quotes=("Read-only file system",),
        fixes=("unit_sandbox",),
    ),
    Fault(
        "sandbox_read_only_journal",
        "sandbox_read_only",
        break_sandbox_with_log_in_journal,
        quotes=("Read-only file system",),
        fixes=("unit_sandbox",),
        log_source="journal",
    ),
    Fault("sandbox_read_only_pending", "sandbox_read_only", break_sandbox_with_pending_fix, fixes=("unit_sandbox",)),
    Fault("sandbox_read_only_paths", "sandbox_read_only", break_sandbox_read_only_paths, fixes=("unit_sandbox",)),
    Fault("dir_permission_denied", "dir_permission_denied", break_permissions, fixes=("data_dir",)),
    Fault("dir_missing", "dir_missing", break_missing, fixes=("recreate_dir",)),
    Fault("destination_is_directory", "destination_is_directory", break_destination, fixes=("destination",)),
    Fault("socket_only", "destination_is_directory", break_destination_of_socket_only, fixes=("destination",)),
    Fault("disk_full", "disk_full", break_disk_full),
    Fault("fork_pids_limit", "fork_pids_limit", break_pids_limit, controller="pids", fixes=("pids_limit",)),
    Fault("fork_process_limit", "fork_process_limit", break_process_limit, fixes=("process_limit",)),
    Fault("file_size_limit", "file_size_limit", break_file_size, fixes=("file_size_limit",)),
    Fault("child_killed", "child_killed", break_child_killed, still_present=None),
    Fault(
        "child_oom_killed_cgroup",
        "child_oom_killed_cgroup",
        break_memory_max,
        confidence="possible",  # the kernel log, which names the child, belongs to the machine that boots this one
        still_present=None,
        controller="memory",
        fixes=("cgroup_memory",),
    ),
    Fault("healthy", "idle", keep_healthy, failing=False),
    Fault("healed", "idle", heal_full_disk, failing=False),
    Fault("restarted", "idle", restart_by_systemd, failing=False),
)
