# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Temporary files of saves and rewrites: whose they are, and whether anybody still writes to them.

The pid in such a name is a pid of the server's own pid namespace. Names by version (rdb.c, aof.c, replication.c):
``temp-PID.rdb`` is a save (the child's pid; the server's own for a foreground save), ``temp-PID-N.rdb`` KeyDB's (the
server's pid), ``temp-TIME.PID.rdb`` a replica that receives a full sync, ``temp-rewriteaof-PID.aof`` and
``temp-rewriteaof-bg-PID.aof`` an AOF rewrite; since 7.0 ``appendonlydir/temp-NAME.incr|manifest`` without a pid.
"""

from __future__ import annotations

import os
import re
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._access import REMOTE_TYPES
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import parse_boot_time, parse_stat
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

REPORTED_FILES_LIMIT = 200
PROCESS_LIMIT = 20000
OPEN_FILES_LIMIT = 200000
SEARCH_SECONDS = 2.0
# Starts are known to a hundredth of a second after boot, the time of boot to a second.
CLOCK_SLACK_SECONDS = 2.0

_NAMES = (
    (re.compile(r"temp-(\d{1,10})\.rdb"), "rdb_child"),
    (re.compile(r"temp-(\d{1,10})-\d{1,20}\.rdb"), "rdb_child"),
    (re.compile(r"temp-\d{9,12}\.(\d{1,10})\.rdb"), "rdb_replica_sync"),
    (re.compile(r"temp-rewriteaof-(?:bg-)?(\d{1,10})\.aof"), "aof_rewrite"),
)
_AOF_DIRECTORY_NAME = re.compile(r"temp-.+\.(?:incr|manifest)", re.DOTALL)


class TempFile(t.NamedTuple):
    """A temporary file as the directory shows it. ``pid`` is None where the name has none."""

    name: str
    kind: str
    pid: int | None
    status: os.stat_result

    @property
    def base_name(self) -> str:
        """The last part of the name, as a link in /proc ends with it."""
        return self.name.rpartition("/")[2]


class Server(t.NamedTuple):
    """What has to be known of the server. Children are (pid in its namespace, pid, start)."""

    pid: int
    pid_in_namespace: int | None
    started_unix: float | None
    children: list[tuple[int | None, int, float | None]]


class OpenFiles(t.NamedTuple):
    """Which processes hold the files open, by the files' device and inode; complete: every process was looked at."""

    holders: dict[tuple[int, int], set[int]]
    complete: bool


def parse_name(name: str, in_aof_directory: bool = False) -> tuple[str, int | None] | None:
    """(kind, pid or None) of a temporary file's name; None for any other name."""
    if in_aof_directory:
        return ("aof_rewrite", None) if _AOF_DIRECTORY_NAME.fullmatch(name) else None
    for pattern, kind in _NAMES:
        match = pattern.fullmatch(name)
        if match:
            return kind, int(match.group(1))
    return None


def server_from_process(pid: int, process: dict[str, t.Any] | None) -> Server:
    """The server out of a PROCESS block (docs/evidence.md)."""
    if process is None:
        return Server(pid, None, None, [])
    children = [
        (child.get("pid_in_namespace"), child["pid"], child.get("started_unix"))
        for child in process.get("children") or []
    ]
    return Server(pid, process.get("pid_in_namespace"), process.get("started_unix"), children)


def find_open_files(system: System, files: t.Sequence[TempFile], first: t.Sequence[int]) -> OpenFiles:
    """Who has these files open, out of /proc/*/fd; bounded in processes, descriptors and time.

    :param first: processes to look at before the others.
    """
    wanted = {os.fsencode(file.base_name): [] for file in files}
    for file in files:
        wanted[os.fsencode(file.base_name)].append((file.status.st_dev, file.status.st_ino))
    holders: dict[tuple[int, int], set[int]] = {}
    complete = True
    looked_at = 0
    deadline = time.monotonic() + SEARCH_SECONDS
    everybody = [int(name) for name in system.list_directory("/proc") if name.isdigit()]
    order = list(dict.fromkeys([*first, *everybody]))
    for pid in order[:PROCESS_LIMIT]:
        if looked_at > OPEN_FILES_LIMIT or time.monotonic() > deadline:
            return OpenFiles(holders, False)
        try:
            descriptors = os.listdir(system.path(f"/proc/{pid}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            complete = False
            continue
        looked_at += len(descriptors)
        for descriptor in descriptors:
            identity = _wanted_identity(system, f"/proc/{pid}/fd/{descriptor}", wanted)
            if identity is not None:
                holders.setdefault(identity, set()).add(pid)
    return OpenFiles(holders, complete and len(order) <= PROCESS_LIMIT)


def _wanted_identity(system: System, link: str, wanted: dict[bytes, list[tuple[int, int]]]) -> tuple[int, int] | None:
    """Device and inode of an open file, if its name is among the wanted ones and it is one of them.

    The link is read first: that touches no file system, which a stat of somebody's file on a dead server would.
    """
    try:
        target = os.fsencode(system.read_link(link))
        candidates = wanted.get(target.rpartition(b"/")[2])
        if not candidates:
            return None
        path = system.path(link) if system.root == "/" else system.path(os.fsdecode(target))
        status = os.stat(path)
    except OSError:
        return None
    identity = (status.st_dev, status.st_ino)
    return identity if identity in candidates else None


class NamespacePids:
    """Which processes live in the server's pid namespace, by their pid in it."""

    def __init__(self, system: System, server: Server) -> None:
        self._system = system
        self._server = server
        self._namespace = self._namespace_of(server.pid)
        self._same_as_collector = self._namespace is not None and self._namespace == self._namespace_of("self")
        self._by_pid: dict[int, int] | None = None
        if self._namespace is None and server.pid_in_namespace == server.pid:
            self._same_as_collector = True

    def _namespace_of(self, process: int | str) -> str | None:
        try:
            return self._system.read_link(f"/proc/{process}/ns/pid")
        except OSError:
            return None

    def find(self, pid_in_namespace: int) -> tuple[bool, int | None]:
        """(known, pid as the collector sees it or None where no such process lives)."""
        if self._same_as_collector:
            return True, pid_in_namespace if self._is_process(pid_in_namespace) else None
        if self._namespace is None:
            return False, None
        if self._by_pid is None:
            self._by_pid = self._map_namespace()
        return True, self._by_pid.get(pid_in_namespace)

    def _is_process(self, pid: int) -> bool:
        """A process and not a thread of one: /proc shows threads by their id as well."""
        status = self._system.try_read_text(f"/proc/{pid}/status") or ""
        return _status_field(status, "Tgid") == [str(pid)] and not _has_ended(status)

    def _map_namespace(self) -> dict[int, int]:
        found = {}
        for name in self._system.list_directory("/proc"):
            if name.isdigit() and self._namespace_of(name) == self._namespace:
                status = self._system.try_read_text(f"/proc/{name}/status") or ""
                inner = _status_field(status, "NSpid")
                if inner and inner[-1].isdigit() and not _has_ended(status):
                    found[int(inner[-1])] = int(name)
        return found


def _status_field(status: str, field: str) -> list[str]:
    for line in status.splitlines():
        name, _separator, value = line.partition(":")
        if name == field:
            return value.split()
    return []


def _has_ended(status: str) -> bool:
    """Whether all that is left of a process is its entry: its parent has not fetched its exit status yet."""
    return _status_field(status, "State")[:1] in (["Z"], ["X"])


def process_start_and_parent(system: System, pid: int) -> tuple[float | None, int | None]:
    """(start since the epoch, parent's pid) from /proc/PID/stat and the time of boot; None where unknown."""
    status = parse_stat(system.try_read_text(f"/proc/{pid}/stat") or "")
    if status is None:
        return None, None
    boot_unix = parse_boot_time(system.try_read_text("/proc/stat") or "")
    started_unix = None if boot_unix is None else boot_unix + status.start_ticks / os.sysconf("SC_CLK_TCK")
    return started_unix, status.parent_pid


class HolderFinder:
    """Answers for each temporary file: holder and open of docs/evidence.md.

    ``none`` is said only where every process could be looked at, for it is what makes a file an orphan. The collector's
    pid namespace is taken for the machine: what runs outside of it is out of sight.
    """

    def __init__(
        self,
        system: System,
        server: Server,
        files: t.Sequence[TempFile],
        file_system_type: str | None,
    ) -> None:
        self._system = system
        self._server = server
        self._pids = NamespacePids(system, server)
        self._remote = file_system_type in REMOTE_TYPES or (file_system_type or "").startswith("fuse")
        self._open_files = find_open_files(system, files, [server.pid, *(child[1] for child in server.children)])

    @property
    def complete(self) -> bool:
        """Whether nobody who may have the files open was out of sight."""
        return self._open_files.complete and not self._remote

    def answer(self, file: TempFile) -> tuple[str, bool | None]:
        """(holder, open)."""
        holders = self._open_files.holders.get((file.status.st_dev, file.status.st_ino), set())
        is_open = True if holders else (False if self.complete else None)
        if holders:
            return self._kind_of_holder(holders), True
        if file.pid is None:
            return ("none" if self.complete else "unknown"), is_open
        holder, started_unix = self._by_name(file.pid)
        if holder == "unknown":
            return "unknown", is_open
        if holder is None or self._is_older(file, started_unix):
            return ("none" if self.complete else "unknown"), is_open
        return holder, is_open

    def _is_older(self, file: TempFile, started_unix: float | None) -> bool:
        """Whether the file was last written before the process that now has its pid came to be (pids come again)."""
        return started_unix is not None and file.status.st_mtime < started_unix - CLOCK_SLACK_SECONDS

    def _kind_of_holder(self, holders: set[int]) -> str:
        if self._server.pid in holders:
            return "server"
        children = {pid for _inner, pid, _started in self._server.children}
        for pid in holders:
            if pid in children or process_start_and_parent(self._system, pid)[1] == self._server.pid:
                return "live_child"
        return "other_process"

    def _by_name(self, pid_in_namespace: int) -> tuple[str | None, float | None]:
        """(holder or None where no process has that pid, its start)."""
        if pid_in_namespace == self._server.pid_in_namespace:
            return "server", self._server.started_unix
        for inner, _pid, started_unix in self._server.children:
            if inner == pid_in_namespace:
                return "live_child", started_unix
        known, pid = self._pids.find(pid_in_namespace)
        if not known:
            return "unknown", None
        if pid is None:
            return None, None
        started_unix, parent = process_start_and_parent(self._system, pid)
        return ("live_child" if parent == self._server.pid else "other_process"), started_unix


def describe_temp_files(
    system: System, server: Server, files: list[TempFile], file_system_type: str | None, gaps: Gaps
) -> list[dict[str, t.Any]]:
    """The list ``temp_files`` of docs/evidence.md: the largest ones, sorted by name."""
    if not files:
        return []
    reported = sorted(files, key=lambda file: file.status.st_size, reverse=True)[:REPORTED_FILES_LIMIT]
    finder = HolderFinder(system, server, reported, file_system_type)
    described = []
    for file in sorted(reported, key=lambda file: file.name):
        holder, is_open = finder.answer(file)
        described.append(
            {
                "name": clean_text(file.name),
                "kind": file.kind,
                "pid": file.pid,
                "size_bytes": file.status.st_size,
                "modified_unix": file.status.st_mtime,
                "uid": file.status.st_uid,
                "holder": holder,
                "open": is_open,
            }
        )
    if any(entry["holder"] == "unknown" for entry in described):
        gaps.add(
            "holders of temporary files",
            "other hosts may have them open" if file_system_type in REMOTE_TYPES else "not every process could be seen",
            "Run as root on the host that the server runs on.",
        )
    return described


def temp_file_of(name: str, status: os.stat_result, in_aof_directory: str = "") -> TempFile | None:
    """A directory entry as a temporary file, None where it is none (a name alone does not make one).

    :param in_aof_directory: name of the AOF directory that the entry was found in.
    """
    parsed = parse_name(name, bool(in_aof_directory))
    if parsed is None or not stat.S_ISREG(status.st_mode):
        return None
    return TempFile(os.path.join(in_aof_directory, name), parsed[0], parsed[1], status)
