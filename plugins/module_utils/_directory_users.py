# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Who else uses a server's data directory, and whose files lie in it: among all processes of the host.

A directory is known by device and inode, so that it is found through other paths and mount namespaces too. One pass
over /proc serves all servers of the host: the working directory of every process, and the open files of those that
run neither as root nor as a kernel thread, or are servers themselves. What uses the directory from further down is told
by its path, within one mount namespace. The collector's pid namespace is taken for the machine, unless the directory is
on a volume of its own there, which other containers may have as well.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import typing as t
import weakref

from ansible_collections.redisops.persistence.plugins.module_utils._mounts import read_mounts
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import (
    in_own_pid_namespace,
    try_read_namespace,
)
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import reopen_path
from ansible_collections.redisops.persistence.plugins.module_utils._process_table import (
    TABLE_AGE_LIMIT_SECONDS,
    ProcessEntry,
    process_table,
)
from ansible_collections.redisops.persistence.plugins.module_utils._server_process import is_data_server
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

PASS_SECONDS = 2.0
DESCRIPTORS_LIMIT = 50000
ENTRIES_LIMIT = 2000
USERS_LIMIT = 50
EXAMPLES_LIMIT = 5
# The blocks where nothing could be looked at.
NOBODY_KNOWN: dict[str, t.Any] = {"complete": None, "processes": []}
NOTHING_KNOWN: dict[str, t.Any] = {"complete": None, "count": None, "examples": []}
_IDENTITY = tuple[int, int]


class WorkingDirectory(t.NamedTuple):
    """Where a process works. ``identity``: device and inode; None where its file system refuses to tell."""

    entry: ProcessEntry
    identity: _IDENTITY | None
    link: str


class OpenFile(t.NamedTuple):
    """A file that a process has open, as its link in /proc names it."""

    entry: ProcessEntry
    descriptor: str
    link: str


class Pass(t.NamedTuple):
    """One pass over /proc. ``complete``: False where it was cut, None where processes could not be looked into."""

    directories: list[WorkingDirectory]
    files: list[OpenFile]
    complete: bool | None


class Contents(t.NamedTuple):
    """What lies in a directory: names by device and inode, and who owns what. ``complete``: the listing was not cut."""

    names: dict[_IDENTITY, str]
    owners: list[tuple[str, int]]
    complete: bool


_passes: weakref.WeakKeyDictionary[System, tuple[float, Pass]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def look_at_processes(system: System) -> Pass:
    """The pass of now: at most a second old, so that the servers of a host share it."""
    with _lock:
        known = _passes.get(system)
        if known is None or time.monotonic() - known[0] > TABLE_AGE_LIMIT_SECONDS:
            known = (time.monotonic(), _look(system))
            _passes[system] = known
        return known[1]


def _look(system: System) -> Pass:
    """Working directories of all first: they are cheap, and say the most."""
    table = process_table(system)
    deadline = time.monotonic() + PASS_SECONDS
    complete: bool | None = True if table.complete else None
    directories = []
    for entry in table.entries:
        if time.monotonic() > deadline:
            return Pass(directories, [], False)
        try:
            link = system.read_link(f"/proc/{entry.pid}/cwd")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended, or is about to
        except OSError:
            complete = complete if _is_roots_own(system, entry) else None
            continue
        identity = _identity_of(system, f"/proc/{entry.pid}/cwd", link)
        if identity is None and not os.path.lexists(system.path(f"/proc/{entry.pid}/cwd")):
            continue
        directories.append(WorkingDirectory(entry, identity, link))
    files: list[OpenFile] = []
    looked_at = 0
    for entry in table.entries:
        if _is_roots_own(system, entry):
            continue
        try:
            descriptors = os.listdir(system.path(f"/proc/{entry.pid}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            complete = None
            continue
        looked_at += len(descriptors)
        if looked_at > DESCRIPTORS_LIMIT or time.monotonic() > deadline:
            return Pass(directories, files, False)
        for descriptor in descriptors:
            try:
                link = system.read_link(f"/proc/{entry.pid}/fd/{descriptor}")
            except OSError:
                continue
            if link.startswith("/") and not link.startswith(("/dev/", "/proc/", "/sys/")):
                files.append(OpenFile(entry, descriptor, link))
    return Pass(directories, files, complete)


def _is_roots_own(system: System, entry: ProcessEntry) -> bool:
    """Whether it is root's and no server: that stands against nothing, so that it need not be looked into.

    A first process with more capabilities than the collector can't be, by root either.
    """
    is_root = entry.effective_uid == entry.real_uid == 0
    return is_root and not is_data_server(system, entry.pid, entry.command)


def _identity_of(system: System, link_path: str, target: str) -> _IDENTITY | None:
    """Device and inode of what a link in /proc leads to; a recorded machine has an ordinary link there."""
    try:
        status = os.stat(link_path if system.root == "/" else system.path(target))
    except OSError:
        return None
    return status.st_dev, status.st_ino


def list_contents(directory: int) -> Contents:
    """What lies in an open directory. Raises OSError."""
    names: dict[_IDENTITY, str] = {}
    owners = []
    with os.scandir(reopen_path(directory)) as listed:
        for count, item in enumerate(listed):
            if count >= ENTRIES_LIMIT:
                return Contents(names, owners, False)
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISLNK(status.st_mode):
                names[(status.st_dev, status.st_ino)] = item.name
            owners.append((item.name, status.st_uid))
    return Contents(names, owners, True)


def describe_users(
    system: System, pid: int, server_uid: int | None, directory: int, path: str
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """(``users``, ``foreign_files``) of docs/evidence.md for the open data directory of a server. Raises OSError.

    :param path: the directory as the link in /proc names it.
    """
    contents = list_contents(directory)
    status = os.stat(directory)
    seen = look_at_processes(system)
    users = _Users(system, pid, (status.st_dev, status.st_ino), path, contents)
    for working in seen.directories:
        users.judge_working_directory(working)
    for file in seen.files:
        users.judge_open_file(file)
    complete = seen.complete if users.complete else None
    if complete and in_own_pid_namespace(system) and _is_volume(system, status.st_dev):
        complete = None
    processes = sorted(users.found.values(), key=lambda user: (not user["is_server"], user["pid"]))
    foreign = [(name, uid) for name, uid in contents.owners if uid not in (0, server_uid)]
    return (
        {
            "complete": False if complete and len(processes) > USERS_LIMIT else complete,
            "processes": processes[:USERS_LIMIT],
        },
        {
            "complete": None if server_uid is None else contents.complete,
            "count": len(foreign),
            "examples": [{"name": clean_text(name), "uid": uid} for name, uid in sorted(foreign)[:EXAMPLES_LIMIT]],
        },
    )


def _is_volume(system: System, device: int) -> bool:
    try:
        return os.stat(system.path("/")).st_dev != device
    except OSError:
        return True


class _Users:
    """Those who use one directory, by pid; neither the server and its children nor the collector."""

    def __init__(self, system: System, pid: int, identity: _IDENTITY, path: str, contents: Contents) -> None:
        self.system = system
        self.pid = pid
        self.identity = identity
        self.path = path
        self.contents = contents
        self.names = set(contents.names.values())
        self.namespace = try_read_namespace(system, pid, "mount")
        self.found: dict[int, dict[str, t.Any]] = {}
        self.complete = True

    def judge_working_directory(self, working: WorkingDirectory) -> None:
        if self._is_own(working.entry):
            return
        if working.identity is None:
            self.complete = self.complete and self._is_elsewhere(working)
        elif working.identity == self.identity or working.identity in self.contents.names:
            self._note(working.entry, "cwd", working.identity != self.identity)
        elif working.link.startswith(f"{self.path}/") and self._sees_the_same(working.entry):
            self._note(working.entry, "cwd", True)

    def judge_open_file(self, file: OpenFile) -> None:
        if self._is_own(file.entry) or file.entry.pid in self.found:
            return
        is_below = file.link.startswith(f"{self.path}/") and self._sees_the_same(file.entry)
        # The name first: it touches no file system, which a stat of somebody's file on a dead server would.
        if not is_below and os.path.basename(file.link) in self.names:
            link = f"/proc/{file.entry.pid}/fd/{file.descriptor}"
            is_below = _identity_of(self.system, link, file.link) in self.contents.names
        if is_below:
            self._note(file.entry, "open_file", True)

    def _is_own(self, entry: ProcessEntry) -> bool:
        return self.pid in (entry.pid, entry.parent_pid) or entry.pid == os.getpid()

    def _sees_the_same(self, entry: ProcessEntry) -> bool:
        """Whether a path means the same to both; taken to, where that can't be told."""
        theirs = try_read_namespace(self.system, entry.pid, "mount")
        return None in (theirs, self.namespace) or theirs == self.namespace

    def _is_elsewhere(self, working: WorkingDirectory) -> bool:
        """Whether a directory that does not answer lies on another device, as the process's mount table says."""
        mounts = read_mounts(self.system, working.entry.pid)
        mount = mounts.containing(working.link) if mounts else None
        device = f"{os.major(self.identity[0])}:{os.minor(self.identity[0])}"
        return mount is not None and mount.device != device

    def _note(self, entry: ProcessEntry, how: str, below: bool) -> None:
        self.found[entry.pid] = {
            "pid": entry.pid,
            "uid": entry.effective_uid,
            "command": entry.command,
            "is_server": is_data_server(self.system, entry.pid, entry.command),
            "how": how,
            "below": below,
        }
