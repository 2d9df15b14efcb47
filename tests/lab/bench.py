# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fault may do to the machine, each thing with its undoing.

A :class:`Bench` serves one test. Whatever it did is undone in reverse order when the test ends, also when it failed.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

from .servers import Server, ServerKind, until

LOCK_PATH = Path(tempfile.gettempdir()) / "redisops-kernel-settings.lock"
OVERCOMMIT = Path("/proc/sys/vm")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
JOURNALD = "/lib/systemd/systemd-journald"
FIRST_UID = 61_000
_uids = itertools.count(os.getpid() % 2000)


def is_root() -> bool:
    return os.geteuid() == 0


class Cgroup(t.NamedTuple):
    """A control group of the lab's own, in the version that this machine uses."""

    path: Path
    version: int
    controller: str

    def set_memory_limit(self, limit_bytes: int) -> None:
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        (self.path / name).write_text(str(limit_bytes))

    def memory_usage(self) -> int:
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        return int((self.path / name).read_text())

    def oom_kills(self) -> int:
        """How many processes of the group the kernel has killed."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in (self.path / name).read_text().splitlines():
            key, _separator, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def freeze_pids(self) -> None:
        """No process more than there are now."""
        (self.path / "pids.max").write_text((self.path / "pids.current").read_text())


def cgroup_parent(controller: str) -> tuple[Path, int] | None:
    """Where a group with that controller can be made, and the version of the tree."""
    first = Path("/sys/fs/cgroup") / controller
    if (first / "cgroup.procs").exists():
        return first, 1
    second = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        if controller in (second / "cgroup.subtree_control").read_text().split():
            return second, 2
    return None


class Bench:
    """Makes servers, and breaks what is around them."""

    def __init__(self, kind: ServerKind, base: Path, binary: Path) -> None:
        self.kind = kind
        self.base = base
        self.binary = binary
        self.servers: list[Server] = []
        self.journal: int | None = None
        # Settings of every server of this bench, unless its own say otherwise.
        self.config: dict[str, str] = {}
        self.exit = contextlib.ExitStack()
        self._number = itertools.count()
        self._servers = itertools.count()

    @property
    def server(self) -> Server:
        """The server that the test is about: the first one."""
        return self.servers[0]

    def close(self) -> None:
        """Undo everything: servers first, so that nothing holds a mount."""
        with contextlib.ExitStack() as last:
            last.callback(shutil.rmtree, self.base, ignore_errors=True)
            last.push(self.exit.pop_all())
            for server in self.servers:
                last.callback(server.stop)

    # Servers

    def new(self, *, root: bool = False, **options: t.Any) -> Server:
        """A server that is not started yet; it runs as a user of its own unless ``root``."""
        uid = None if root or not is_root() else FIRST_UID + next(_uids) % 4000
        if self.config:
            options["config"] = {**self.config, **(options.get("config") or {})}
        server = Server(self.kind, self.binary, self.base / f"server{next(self._servers)}", uid, **options)
        self.servers.append(server)
        return server

    def start(self, *, root: bool = False, keys: int = 20, value_bytes: int = 100, **options: t.Any) -> Server:
        """A started server with some keys in it, never saved yet."""
        server = self.new(root=root, **options)
        server.prepare()
        server.start()
        return server.fill(keys, value_bytes)

    def discard(self, server: Server) -> None:
        """A server that the test is not about after all."""
        server.stop()
        self.servers.remove(server)

    def own(self, path: Path, server: Server | None = None) -> None:
        """Give a path to the server's user."""
        uid = (server or self.server).uid
        if uid is not None:
            os.chown(path, uid, uid)

    # Mounts

    def mount(self, *arguments: str, target: Path) -> None:
        subprocess.run(["mount", *arguments, str(target)], check=True, capture_output=True)
        self.exit.callback(subprocess.run, ["umount", "--lazy", str(target)], check=False, capture_output=True)

    def tmpfs(self, target: Path, options: str, server: Server | None = None) -> None:
        """A tmpfs of the server's own, for instance ``size=1m`` or ``nr_inodes=3``."""
        uid = server.uid if server else None
        owner = "" if uid is None else f",uid={uid},gid={uid}"
        target.mkdir(exist_ok=True, parents=True)
        self.mount("-t", "tmpfs", "-o", f"mode=0755,{options}{owner}", "tmpfs", target=target)

    def start_on_tmpfs(self, options: str, **more: t.Any) -> Server:
        """A started server whose data directory is a tmpfs of its own."""
        keys, value_bytes = more.pop("keys", 20), more.pop("value_bytes", 100)
        server = self.new(**more)
        server.base.mkdir(exist_ok=True)
        self.tmpfs(server.directory, options, server)
        server.start()
        return server.fill(keys, value_bytes)

    # Attributes and rights

    def chattr(self, path: Path, letter: str) -> None:
        subprocess.run(["chattr", f"+{letter}", str(path)], check=True, capture_output=True)
        self.exit.callback(subprocess.run, ["chattr", f"-{letter}", str(path)], check=False, capture_output=True)

    def chmod(self, path: Path, mode: int) -> None:
        before = path.stat().st_mode & 0o7777
        path.chmod(mode)
        self.exit.callback(self._restore_mode, path, before)

    @staticmethod
    def _restore_mode(path: Path, mode: int) -> None:
        with contextlib.suppress(OSError):
            path.chmod(mode)

    # Limits and control groups

    def cgroup(self, controller: str, inside: Cgroup | None = None) -> Cgroup:
        """A new control group, at the top or inside another one of the lab's."""
        parent = (inside.path, inside.version) if inside else cgroup_parent(controller)
        assert parent is not None, f"no cgroup controller {controller}"
        if inside and inside.version == 2:
            (inside.path / "cgroup.subtree_control").write_text(f"+{controller}")
        path = parent[0] / f"redisops-lab-{os.getpid()}-{self.base.name}-{next(self._number)}"
        path.mkdir()
        self.exit.callback(self._remove_cgroup, path)
        return Cgroup(path, parent[1], controller)

    @staticmethod
    def _remove_cgroup(path: Path) -> None:
        def removed() -> bool:
            try:
                path.rmdir()
            except FileNotFoundError:
                return True
            except OSError:
                return False
            return True

        until(removed, f"{path} stays busy")

    def prlimit(self, server: Server, name: str, soft: int | str) -> None:
        """Change a soft limit of the running server, as its own user (root may lack CAP_SYS_RESOURCE)."""
        subprocess.run(
            ["prlimit", f"--pid={server.pid}", f"--{name}={soft}:"],
            check=True,
            capture_output=True,
            user=server.uid,
            group=server.uid,
            extra_groups=None if server.uid is None else [],
        )

    # The journal

    def start_journal(self) -> int:
        """A journal of the lab's own: systemd-journald in a mount namespace with an empty /run. Its pid."""
        script = (
            "mount -t tmpfs tmpfs /run\nmkdir -p /run/systemd/journal /run/log/journal\n"
            "if [ -d /var/log/journal ]; then mount -t tmpfs tmpfs /var/log/journal; fi\n"
            f"exec {JOURNALD}"
        )
        journald = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def end() -> None:
            journald.kill()
            journald.wait(10)

        self.exit.callback(end)
        socket_path = Path(f"/proc/{journald.pid}/root/run/systemd/journal/stdout")
        until(lambda: Path(f"/proc/{journald.pid}/comm").read_text().startswith("systemd-journal"), "no journald")
        until(socket_path.exists, "the journal does not listen")
        self.journal = journald.pid
        return journald.pid

    # The kernel

    @contextlib.contextmanager
    def inject(self, server: Server, *rules: str, consumed: int = 0) -> t.Iterator[None]:
        """Let system calls of the server and its children fail: rules of ``strace -e inject=``.

        ``consumed``: wait until the rules have struck that often (in the parent), before going on.
        """
        record = server.base / f"strace{next(self._number)}"
        calls = ",".join(rule.partition(":")[0] for rule in rules)
        command = ["strace", "-f", "-q", "-o", str(record), "-e", f"trace={calls}"]
        for rule in rules:
            command += ["-e", f"inject={rule}"]
        tracer = subprocess.Popen(
            [*command, "-p", str(server.pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            tasks = Path(f"/proc/{server.pid}/task")

            def traced() -> bool:
                if tracer.poll() is not None:
                    raise RuntimeError((tracer.stderr.read() if tracer.stderr else b"").decode())
                return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks.iterdir())

            until(traced, "strace does not attach")
            if consumed:
                until(lambda: record.read_text().count("(INJECTED)") >= consumed, "the server's own call did not come")
            yield
        finally:
            tracer.terminate()
            tracer.wait(10)
            if tracer.stderr:
                tracer.stderr.close()

    @contextlib.contextmanager
    def overcommit(self) -> t.Iterator[t.Callable[..., None]]:
        """The machine's overcommit setting, under the lock and put back at the end; yields a setter.

        The setter takes the mode and, for mode 2, the bytes that are to be left below the limit.
        """
        with kernel_lock():

            def change(mode: int, headroom_bytes: int | None = None) -> None:
                if headroom_bytes is None:
                    (OVERCOMMIT / "overcommit_memory").write_text(str(mode))
                    return
                # Committed_AS is only exact once mode 2 is in force (before, each processor keeps a large part of
                # it to itself), so the mode comes first, with a limit that refuses nobody.
                (OVERCOMMIT / "overcommit_kbytes").write_text(str(1 << 40))
                (OVERCOMMIT / "overcommit_memory").write_text(str(mode))
                limit_bytes = meminfo_bytes("Committed_AS") + headroom_bytes
                (OVERCOMMIT / "overcommit_kbytes").write_text(str(limit_bytes // 1024))

            yield change


def kernel_settings() -> dict[str, str]:
    """What the lab changes of the machine, as it is now: path and what to write to have it again."""
    settings = {str(HUGE_PAGES): HUGE_PAGES.read_text().split("[")[1].split("]")[0]} if HUGE_PAGES.exists() else {}
    settings[str(OVERCOMMIT / "overcommit_memory")] = (OVERCOMMIT / "overcommit_memory").read_text().strip()
    # The kernel sets either of these to 0 when the other one is written: only the one in force can be put back.
    for name in ("overcommit_ratio", "overcommit_kbytes"):
        value = (OVERCOMMIT / name).read_text().strip()
        if value != "0":
            settings[str(OVERCOMMIT / name)] = value
    return settings


@contextlib.contextmanager
def kernel_lock() -> t.Iterator[None]:
    """One lab at a time changes what belongs to the whole machine; it is put back at the end.

    What it was stands in the lock's file meanwhile: after a lab that was killed the next one puts it back first.
    """
    with LOCK_PATH.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        left = lock.read()
        put_back(json.loads(left) if left.startswith("{") else {})
        before = kernel_settings()
        lock.truncate(0)
        lock.write(json.dumps(before))
        lock.flush()
        try:
            yield
        finally:
            put_back(before)
            lock.truncate(0)


def put_back(settings: dict[str, str]) -> None:
    for path, value in settings.items():
        Path(path).write_text(value)


@contextlib.contextmanager
def huge_pages() -> t.Iterator[t.Callable[[str], t.Any]]:
    """The machine's policy of transparent huge pages: yields a setter."""
    with kernel_lock():
        yield HUGE_PAGES.write_text


def meminfo_bytes(name: str) -> int:
    """One line of /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        key, _separator, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)


def has_capability(bit: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & (1 << bit))
    return False


def missing_need(need: str) -> str | None:
    """Why something that a fault needs is not there, or None."""
    if need == "root":
        return None if is_root() else "needs root"
    if need == "strace":
        if not is_root():
            return "needs root (strace attaches to a server that is not its child)"
        return None if shutil.which("strace") else "needs strace"
    if need == "chattr":
        if not is_root() or not has_capability(9):
            return "needs root with CAP_LINUX_IMMUTABLE"
        return None if shutil.which("chattr") else "needs chattr"
    if need == "acl":
        return None if shutil.which("setfacl") else "needs setfacl"
    if need == "journald":
        if not is_root():
            return "needs root"
        return None if os.access(JOURNALD, os.X_OK) and shutil.which("systemd-cat") else "needs systemd's journald"
    if need == "kernel-settings":
        writable = is_root() and os.access("/proc/sys/vm/overcommit_memory", os.W_OK)
        return None if writable else "needs root and a writable /proc/sys"
    if need.startswith("cgroup"):
        controller = need.partition(":")[2]
        if not is_root():
            return "needs root"
        parent = cgroup_parent(controller)
        if parent is None:
            return f"needs the cgroup controller {controller}"
        if need.startswith("cgroup1") and parent[1] != 1:
            return "needs cgroup version 1"
        return None
    raise KeyError(need)
