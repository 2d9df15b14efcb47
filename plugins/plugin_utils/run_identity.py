# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which run of ansible-playbook this is: the same answer for every host and task of it, another for every other run.

An action plugin runs in a worker, a child of the process that the operator started. That one's pid and start name the
run. Whether it still runs can be told on the same control node only, which the boot and the pid namespace identify: a
host's name can be another's too.
"""

from __future__ import annotations

import datetime
import getpass
import os
import re
import socket
import subprocess
import typing as t
from dataclasses import dataclass

COMMAND_TIMEOUT_SECONDS = 5.0
_LSTART_FORMAT = "%a %b %d %H:%M:%S %Y"


@dataclass(frozen=True)
class ControlProcess:
    """The process of a run.

    :param started: its start as the system counts it (ticks since the boot on Linux), to tell it from a later process
        with its pid; null where it is unknown.
    :param started_unix: the same in seconds since the epoch.
    """

    pid: int
    started: str | None
    started_unix: float | None


def run_process() -> ControlProcess:
    """The process that the operator started, asked by one of its workers."""
    parent = os.getppid()
    # Ansible imports an action plugin before it forks the first worker for it. What was read then stays the same
    # also where somebody sets the clock during the run.
    if parent == _AT_IMPORT.pid:
        return _AT_IMPORT
    return describe_process(parent)


def run_id(process: ControlProcess | None = None) -> str:
    """``20261122T235901Z-4711``: when the run started, and its pid. Sorts by time and is a safe file name."""
    process = process or run_process()
    moment = datetime.datetime.fromtimestamp(int(process.started_unix or 0), datetime.timezone.utc)
    return f"{moment:%Y%m%dT%H%M%SZ}-{process.pid}"


def operator() -> str:
    """``user@host`` of whoever runs Ansible; behind sudo the user who called it."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{control_host()}"


def control_host() -> str:
    """The name of the control node, for people."""
    return socket.gethostname()


def control_identity() -> str | None:
    """The control node's boot and pid namespace: equal only where a pid means the same process. Null: unknown."""
    boot = _read("/proc/sys/kernel/random/boot_id")
    if boot:
        try:
            return f"{boot} {os.readlink('/proc/self/ns/pid')}"
        except OSError:
            return None
    return _command("sysctl", "-n", "kern.bootsessionuuid")


def is_running(pid: int, started: str | None) -> bool | None:
    """Whether that very process still runs on this control node. Null where it can't be told."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return None
    except OSError:
        pass  # it is somebody else's
    # Killed, and not yet fetched by its parent.
    if re.match(r"\s*[ZX]", (_read(f"/proc/{pid}/stat") or "").rpartition(")")[2]):
        return False
    now = describe_process(pid)
    if started is None or now.started is None:
        return None
    return now.started == started


def describe_process(pid: int) -> ControlProcess:
    """Pid and start of a process on this machine."""
    stat = _read(f"/proc/{pid}/stat")
    if stat:
        # The name before it may have blanks and parentheses; the start is field 22 (proc_pid_stat(5)).
        fields = stat.rpartition(")")[2].split()
        boot = re.search(r"(?m)^btime (\d+)", _read("/proc/stat") or "")
        if len(fields) > 19 and fields[19].isdigit():
            ticks = int(fields[19])
            started_unix = int(boot.group(1)) + ticks / os.sysconf("SC_CLK_TCK") if boot else None
            return ControlProcess(pid, str(ticks), started_unix)
    text = _command("ps", "-o", "lstart=", "-p", str(pid))
    if text:
        try:
            moment = datetime.datetime.strptime(" ".join(text.split()), _LSTART_FORMAT)
        except ValueError:
            return ControlProcess(pid, text, None)
        return ControlProcess(pid, text, moment.replace(tzinfo=datetime.timezone.utc).timestamp())
    return ControlProcess(pid, None, None)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as content:
            return content.read().strip()
    except OSError:
        return None


def _command(*argv: str) -> str | None:
    """What a command prints; null where it is not there or fails. For control nodes without /proc."""
    environment: dict[str, t.Any] = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


_AT_IMPORT = describe_process(os.getpid())
