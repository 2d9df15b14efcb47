# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine of the fleet: systemd as its first process, a root file system of its own, an SSH server.

A machine is a container of systemd-nspawn on a bridge that nothing else is on. All that it has lives in a mount
namespace, a pid namespace and control groups of its own, so that the end of its first process is the end of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import time
import typing as t
from pathlib import Path

from .tree import MissingTool, base_tree

NEEDED_TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "ssh": "openssh-client",
}
CGROUPS = Path("/sys/fs/cgroup")
BOOT_SECONDS = 60.0
COMMAND_SECONDS = 60.0
PREFIX = "rofleet"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

# $1: the tree's home, $2: size of the machine's own file system, $3: files to add, then the machine's command line.
# The names of the layers are relative, so that no path of this machine is seen from inside.
ASSEMBLE = """
cd "$1"; size="$2"; extra="$3"; state="$4"; shift 4
mount -t tmpfs -o "size=$size,mode=0755" tmpfs "$state"
mkdir "$state/upper" "$state/work" "$state/root"
mount -t overlay -o "lowerdir=tree,upperdir=$state/upper,workdir=$state/work" overlay "$state/root"
cp -a "$extra/." "$state/root/"
# With --keep-unit a machine that reboots is for its manager to start again: that is this loop.
while :; do
    status=0
    setpriv --pdeathsig KILL systemd-nspawn --directory="$state/root" "$@" || status=$?
    [ "$status" = 133 ] || exit "$status"
done
"""


def missing_need() -> str | None:
    """Why no machine can be booted here; None where one can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [package for tool, package in NEEDED_TOOLS.items() if shutil.which(tool) is None]
    return f"needs the Debian packages {', '.join(sorted(set(missing)))}" if missing else None


def wait_until(condition: t.Callable[[], t.Any], what: str, seconds: float = 20.0) -> t.Any:
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


def run_here(*argv: str) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingTool(f"{shlex.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def pid_is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Network:
    """A bridge with a private range that this machine has no route to; only the fleet is on it."""

    def __init__(self) -> None:
        self.name = f"{PREFIX}{os.getpid()}"[:15]
        self.range = free_range()
        self._next_host = 10

    def start(self) -> None:
        remove_stale_bridges()
        run_here("ip", "link", "add", self.name, "type", "bridge")
        run_here("ip", "address", "add", f"{self.range[1]}/{self.range.prefixlen}", "dev", self.name)
        run_here("ip", "link", "set", self.name, "up")

    def new_address(self) -> str:
        self._next_host += 1
        return str(self.range[self._next_host])

    def stop(self) -> None:
        with contextlib.suppress(MissingTool):
            run_here("ip", "link", "delete", self.name)


def free_range() -> ipaddress.IPv4Network:
    """A /24 of 10.0.0.0/8 that overlaps with nothing this machine routes."""
    routed = []
    for line in run_here("ip", "-4", "route", "show", "table", "all").splitlines():
        for word in line.split()[:2]:
            with contextlib.suppress(ValueError):
                routed.append(ipaddress.ip_network(word))
    while True:
        chosen = ipaddress.IPv4Network(f"10.{random.randrange(100, 250)}.{random.randrange(256)}.0/24")
        if not any(chosen.overlaps(known) for known in routed if known.version == 4):
            return chosen


def remove_stale_bridges() -> None:
    """Bridges of runs that were killed."""
    for path in Path("/sys/class/net").glob(f"{PREFIX}[0-9]*"):
        if not pid_is_alive(int(path.name[len(PREFIX) :])):
            with contextlib.suppress(MissingTool):
                run_here("ip", "link", "delete", path.name)


class Cgroups:
    """Control groups of the machine's own below those of the process that boots it, in every hierarchy it can use."""

    def __init__(self, name: str) -> None:
        self.paths: list[Path] = []
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _number, names, own = line.split(":", 2)
            for base in hierarchy_mounts(names):
                if (base / own.lstrip("/") / "cgroup.procs").exists():
                    self.paths.append(base / own.lstrip("/") / name)

    def make(self) -> None:
        for path in self.paths:
            for stale in path.parent.glob(f"{PREFIX}-[0-9]*-*"):
                if not pid_is_alive(int(stale.name.split("-")[1])):
                    remove_groups(stale)
            path.mkdir()

    def enter(self) -> None:
        """Move the calling process in."""
        for path in self.paths:
            (path / "cgroup.procs").write_text("0")

    def remove(self) -> None:
        for path in self.paths:
            wait_until(lambda path=path: remove_groups(path), f"{path} stays busy")


def hierarchy_mounts(names: str) -> list[Path]:
    """Where the hierarchy of a line of /proc/PID/cgroup is mounted; only those that systemd can use inside."""
    if names == "":
        return [path for path in (CGROUPS, CGROUPS / "unified") if (path / "cgroup.controllers").exists()]
    if names == "name=systemd":
        return [CGROUPS / "systemd"]
    return [CGROUPS / names] if names in ("pids", "memory") else []


def remove_groups(path: Path) -> bool:
    try:
        for directory, _names, _files in os.walk(path, topdown=False):
            os.rmdir(directory)
    except OSError:
        return not path.exists()
    return True


def is_cgroup_version_1() -> bool:
    return not (CGROUPS / "cgroup.controllers").exists()


def die_with_parent() -> None:
    """A run that is killed must not leave machines behind: the first process has the same bond to systemd-nspawn."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Machine:
    """A running machine. ``directory``: for its log and the files to add, on the machine that boots it.

    :param size: how large its own file system may grow, as tmpfs understands it.
    :param kernel_log: whether it sees the kernel's log, which is that of the machine that boots it.
    """

    def __init__(
        self, name: str, network: Network, directory: Path, key: Path, size: str = "1g", kernel_log: bool = False
    ) -> None:
        self.name = name
        self.address = network.new_address()
        self.key = key
        self.directory = directory
        self._network = network
        self._size = size
        self._more_options = ["--bind=/dev/kmsg", "--capability=CAP_SYSLOG"] if kernel_log else []
        self._cgroups = Cgroups(f"{PREFIX}-{os.getpid()}-{name}")
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None

    # Its life

    def start(self) -> Machine:
        if self._process is not None:
            raise RuntimeError(f"{self.name} has been started before")
        home = base_tree()
        extra, state = self.directory / "extra", self.directory / "state"
        extra.mkdir(parents=True, mode=0o755)
        state.mkdir()
        self._add_keys(extra, home / "tree")
        (extra / "etc").mkdir(mode=0o755)
        (extra / "etc" / "hostname").write_text(self.name + "\n")
        self._cgroups.make()
        network = f"{self.address}/{self._network.range.prefixlen}"
        argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", ASSEMBLE, "assemble"]
        argv += [str(home), self._size, str(extra), str(state)]
        # The network device on this machine is named after the container, so that another run's is another.
        argv += [
            f"--machine={PREFIX}{os.getpid()}-{self.name}",
            f"--hostname={self.name}",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
        ]
        argv += [f"--network-bridge={self._network.name}", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        argv += self._more_options
        argv += ["--kill-signal=SIGRTMIN+3", f"--setenv=FLEET_ADDRESS={network}", "/usr/local/sbin/fleet-init"]
        if is_cgroup_version_1():
            # Since version 256 systemd wants to be asked twice.
            argv += ["systemd.unified_cgroup_hierarchy=no", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
        with (self.directory / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._before_exec
            )
        return self

    def _before_exec(self) -> None:
        die_with_parent()
        self._cgroups.enter()

    def _add_keys(self, extra: Path, tree: Path) -> None:
        public = self.key.with_suffix(".pub").read_text()
        for user in ("deploy", "visitor"):
            known = (tree / "home" / user).stat()
            directory = extra / "home" / user / ".ssh"
            directory.mkdir(parents=True)
            (directory / "authorized_keys").write_text(public)
            (directory / "authorized_keys").chmod(0o600)
            for path in (directory.parent, directory, directory / "authorized_keys"):
                os.chown(path, known.st_uid, known.st_gid)
                if path.is_dir():
                    path.chmod(0o700)
        for path in (extra, extra / "home"):
            path.chmod(0o755)

    @property
    def leader(self) -> int:
        """The machine's first process, as this machine counts. It changes with a reboot."""
        if self._leader is None or not pid_is_alive(self._leader):
            self._leader = wait_until(self._find_leader, f"{self.name} has no first process: {self.console()}")
        return self._leader

    def _find_leader(self) -> int | None:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.name} does not run: {self.console()}")
        with contextlib.suppress(OSError):
            for nspawn in children_of(self._process.pid):
                for child in children_of(nspawn):
                    for line in Path(f"/proc/{child}/status").read_text().splitlines():
                        if line.startswith("NSpid:") and line.split()[-1] == "1":
                            return child
        return None

    def console(self) -> str:
        """The end of what it printed."""
        try:
            return (self.directory / "console.log").read_text(errors="replace")[-3000:]
        except OSError:
            return ""

    def wait_for_boot(self) -> Machine:
        """Until systemd has done what the boot asks for, and the SSH server answers."""

        def ready() -> bool:
            state = self.run("systemctl", "is-system-running", check=False).strip()
            return state in ("running", "degraded") and self._answers()

        wait_until(ready, f"{self.name} does not come up: {self.console()}", BOOT_SECONDS)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, 22), 1) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    def reboot(self) -> Machine:
        """Boot again, with everything on disk as it is."""
        before = self.leader
        self.run("systemctl", "reboot", "--force", check=False)
        wait_until(lambda: not pid_is_alive(before), f"{self.name} does not go down", BOOT_SECONDS)
        self._leader = None
        return self.wait_for_boot()

    def stop(self) -> None:
        """End it, whatever state it is in. Its mounts, processes and network end with its first process."""
        process = self._process
        if process is None:
            return
        try:
            with contextlib.suppress(RuntimeError, TimeoutError, ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        finally:
            self._process = None
            self._cgroups.remove()

    # Inside

    def run(self, *argv: str, check: bool = True, stdin: str | None = None, seconds: float = COMMAND_SECONDS) -> str:
        """A command as root in the machine, past SSH; what it printed, errors too."""
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "--", *argv],
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=seconds,
            check=False,
            cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {shlex.join(argv)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def shell(self, script: str, check: bool = True) -> str:
        return self.run("sh", "-ec", script, check=check)

    def path(self, path: str) -> Path:
        """A file of the machine, as this machine reaches it."""
        return Path(f"/proc/{self.leader}/root") / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of root's, with its directories."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        return self.path(path).read_text(errors="replace")

    def has_controller(self, name: str) -> bool:
        """Whether systemd in there can set limits of that kind."""
        if self.path(f"/sys/fs/cgroup/{name}/system.slice").exists():
            return True
        second = self.path("/sys/fs/cgroup/cgroup.controllers")
        return second.exists() and name in second.read_text().split()
