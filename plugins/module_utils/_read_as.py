# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Opening the files that a server names with the server's own eyes.

Any local user can run a process that is called redis-server, and name any file in its configuration. Root must not
read for it what it could not read itself. So a child process takes on the server's user, groups and root directory,
opens what it is asked for, and hands the descriptor back. There is one child for all servers of one identity.

Without root nothing is gained by that: we are somebody already, and files are opened as they are. A recorded tree of a
test has no processes either.

The child is forked while other threads may run. It therefore does nothing but system calls through :mod:`os` and
:mod:`socket`, which take no lock that another thread could have held, and leaves with ``os._exit``.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import re
import select
import signal
import socket
import stat
import struct
import threading
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import parse_capabilities, parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._system import READ_LIMIT_BYTES, System

OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
ANSWER_SECONDS = 5.0
"""How long the child may take for one file: a dead file server must not hold up the host."""

IDLE_SECONDS = 60.0
"""After so long without a question the child ends by itself (its asker may have become a daemon)."""

END_SECONDS = 1.0
CHILD_LIMIT = 16
PATH_LIMIT_BYTES = 4096
READ_CAPABILITIES = ("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH")
ACL_ATTRIBUTE = "system.posix_acl_access"

_PLACE = re.compile(r"/proc/(\d{1,10})/(root|cwd)(/.*|)\Z", re.DOTALL)
_DESCRIPTOR = re.compile(r"/proc/(\d{1,10})/fd/(\d{1,10})\Z")
_ANSWER = struct.Struct("=i")
_READY, _NOT_REGULAR = 0, -1


class NotARegularFile(OSError):
    """The path is there and is not a regular file (a terminal, a pipe, a directory)."""


class Identity(t.NamedTuple):
    """As whom a process reads, with the ids of this host.

    :ivar root: (device, inode, mount namespace) of its root directory; None where that is ours.
    :ivar may_read_all: whether it is root with the capabilities that make mode bits meaningless.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    root: tuple[int, int, int] | None
    may_read_all: bool


def reads_as_others(system: System) -> bool:
    """Whether we can become somebody else, and so have to."""
    return system.root == "/" and os.geteuid() == 0


def open_regular(system: System, path: str) -> int:
    """A descriptor of a regular file, opened so that nothing can make it wait, and as its server would open it.

    :param path: below ``/proc/PID/root``, ``/proc/PID/cwd`` or ``/proc/PID/fd`` for what a server names; any other
        path is our own. Raises OSError, :class:`NotARegularFile` among them.
    """
    handle = _open(system, path)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotARegularFile(0, "it is not a regular file")
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_file(system: System, path: str, limit_bytes: int = READ_LIMIT_BYTES) -> bytes:
    """At most ``limit_bytes`` of the start of such a file. Raises OSError."""
    handle = open_regular(system, path)
    try:
        # Files that the kernel makes up (/proc, /sys) have no size.
        wanted = min(limit_bytes, os.fstat(handle).st_size) if reads_as_others(system) else limit_bytes
        parts: list[bytes] = []
        while wanted > 0:
            part = os.read(handle, min(wanted, READ_LIMIT_BYTES))
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
    finally:
        os.close(handle)
    return b"".join(parts)


def list_directory(system: System, path: str) -> list[tuple[str, os.stat_result]]:
    """``[(name, lstat)]`` of a directory, by name; empty where it can't be read."""
    try:
        handle = _open(system, path)
    except OSError:
        return []
    found = []
    try:
        for name in sorted(os.listdir(handle)):
            with contextlib.suppress(OSError):
                found.append((name, os.stat(name, dir_fd=handle, follow_symlinks=False)))
    except OSError:
        return []
    finally:
        os.close(handle)
    return found


def _open(system: System, path: str) -> int:
    if not reads_as_others(system):
        return os.open(system.path(path), OPEN_FLAGS)
    descriptor = _DESCRIPTOR.match(path)
    if descriptor:
        return _open_descriptor(int(descriptor.group(1)), path)
    place = _PLACE.match(path)
    if place is None:
        return os.open(path, OPEN_FLAGS)
    return _open_named(int(place.group(1)), place.group(2), place.group(3))


def _open_named(pid: int, base: str, rest: str) -> int:
    """A path that starts at a process's root or working directory."""
    with contextlib.ExitStack() as opened:
        process = _handle(opened, f"/proc/{pid}", os.O_DIRECTORY)
        identity = _identity(process)
        # The process may end meanwhile: its directory in /proc stays the same one, and answers no more.
        start = _handle(opened, base, os.O_PATH | os.O_DIRECTORY, process)
        root = None
        if identity.root is not None:
            root = _handle(opened, "root", os.O_RDONLY | os.O_DIRECTORY, process)
        path = rest if base == "root" else rest.lstrip("/")
        if identity.may_read_all and root is None:
            return os.open(path or "/", OPEN_FLAGS, dir_fd=start)
        return _CHILDREN.ask(identity, root, path or ("/" if base == "root" else "."), start if base == "cwd" else None)


def _handle(opened: contextlib.ExitStack, path: str, flags: int, directory: int | None = None) -> int:
    handle = os.open(path, flags | os.O_CLOEXEC, dir_fd=directory)
    opened.callback(os.close, handle)
    return handle


def _open_descriptor(pid: int, path: str) -> int:
    """What a process has open. Its user must be able to read the file, or have been handed it by root.

    Service managers open ``append:/var/log/x.log`` for a server that could not open it itself.
    """
    with contextlib.ExitStack() as opened:
        process = _handle(opened, f"/proc/{pid}", os.O_DIRECTORY)
        identity = _identity(process)
        name = path.partition(f"/proc/{pid}/")[2]
        handle = os.open(name, OPEN_FLAGS, dir_fd=process)
        opened.callback(os.close, handle)
        if not (identity.may_read_all or is_readable(handle, identity) or _is_roots(handle, process, name)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return os.dup(handle)


def is_readable(handle: int, identity: Identity) -> bool:
    """Whether the mode bits of an open file let somebody read it. An ACL is not looked into: it means no."""
    status = os.fstat(handle)
    if status.st_uid == identity.uid:
        return bool(status.st_mode & stat.S_IRUSR)
    with contextlib.suppress(OSError):
        if os.getxattr(handle, ACL_ATTRIBUTE):
            return False
    if status.st_gid == identity.gid or status.st_gid in identity.groups:
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


def _is_roots(handle: int, process: int, name: str) -> bool:
    """Whether only root can have opened a file for the process, to be written to: it and all above it are root's."""
    number = name.rpartition("/")[2]
    information = _read_at(process, f"fdinfo/{number}")
    flags = re.search(r"^flags:\s*([0-7]{1,12})$", information, re.MULTILINE)
    if flags is None or int(flags.group(1), 8) & os.O_ACCMODE == os.O_RDONLY:
        return False
    path = os.readlink(name, dir_fd=process)
    status = os.fstat(handle)
    try:
        named = os.lstat(path)
    except OSError:
        return False
    if (named.st_dev, named.st_ino) != (status.st_dev, status.st_ino) or status.st_nlink != 1:
        return False
    while True:
        if named.st_uid != 0 or named.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or stat.S_ISLNK(named.st_mode):
            return False
        parent = os.path.dirname(path)
        if parent == path:
            return True
        path = parent
        named = os.lstat(path)


# --- who is it --------------------------------------------------------------------------------------------------------


def _read_at(directory: int, name: str) -> str:
    handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(handle, 65536).decode("ascii", errors="replace")
    finally:
        os.close(handle)


def _identity(process: int) -> Identity:
    """Of the process whose directory in /proc is open. Raises OSError where it can't be told, or changes."""
    text = _read_at(process, "status")
    program = os.stat("exe", dir_fd=process)
    if program.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise PermissionError(errno.EPERM, "its program changes the user that runs it")
    root, own_root = os.stat("root", dir_fd=process), os.stat("/")
    namespace, own_namespace = os.stat("ns/mnt", dir_fd=process), os.stat("/proc/self/ns/mnt")
    is_ours = os.path.samestat(root, own_root) and os.path.samestat(namespace, own_namespace)
    fields, after = parse_fields(text), parse_fields(_read_at(process, "status"))
    names = ("Uid", "Gid", "Groups", "CapEff")
    if [fields.get(name) for name in names] != [after.get(name) for name in names]:
        raise PermissionError(errno.EPERM, "its user changes while it is looked at")
    return identity_from_status(fields, None if is_ours else (root.st_dev, root.st_ino, namespace.st_ino))


def identity_from_status(fields: t.Mapping[str, str], root: tuple[int, int, int] | None = None) -> Identity:
    """From the fields of /proc/PID/status. Raises OSError where one is missing."""
    uids, gids = _numbers(fields, "Uid"), _numbers(fields, "Gid")
    if len(uids) != 4 or len(gids) != 4:
        raise PermissionError(errno.EPERM, "its user is not known")
    uid, gid = _least(uids), _least(gids)
    capabilities = parse_capabilities(fields.get("CapEff") or "")
    may_read_all = uid == 0 and capabilities is not None and any(name in capabilities for name in READ_CAPABILITIES)
    return Identity(uid, gid, tuple(sorted(_numbers(fields, "Groups"))), root, may_read_all)


def _numbers(fields: t.Mapping[str, str], name: str) -> list[int]:
    return [int(word) for word in (fields.get(name) or "").split() if word.isdigit() and len(word) <= 10]


def _least(identifiers: t.Sequence[int]) -> int:
    """Of the real, effective, saved and file system's id the one with the fewest rights: who ran a set-id program."""
    if identifiers[0] != 0:
        return identifiers[0]
    return max(identifiers)


# --- messages ---------------------------------------------------------------------------------------------------------


def _send(channel: socket.socket, data: bytes, handle: int | None = None) -> None:
    """One message, with an open file. (``socket.send_fds`` imports, which a forked child must not.)"""
    rights = [] if handle is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _ANSWER.pack(handle))]
    channel.sendmsg([data], rights)


def _receive(channel: socket.socket, limit_bytes: int) -> tuple[bytes, int | None]:
    """One message and the open file that came with it; no bytes where the other side is gone."""
    space = socket.CMSG_SPACE(_ANSWER.size)
    data, rights, _flags, _address = channel.recvmsg(limit_bytes, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(content) == _ANSWER.size:
            return data, int(_ANSWER.unpack(content)[0])
    return data, None


# --- the child, as seen from here -------------------------------------------------------------------------------------


class _Child:
    """A process that opens files as somebody."""

    def __init__(self, identity: Identity, root: int | None) -> None:
        """Raises OSError where there is no process to be had."""
        self.lock = threading.Lock()
        self.hung = False
        self.used = 0.0
        own, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = own
        if identity.uid == 0 and not identity.may_read_all:
            import ctypes  # noqa: F401  # the child must not import
        try:
            self._pid = os.fork()
        except OSError:
            own.close()
            others.close()
            raise
        if self._pid == 0:
            _be(others, identity, root)
        others.close()
        self.owner = os.getpid()
        own.settimeout(ANSWER_SECONDS)
        try:
            self._answer()
        except BaseException:
            self.end()
            raise

    def ask(self, path: bytes, directory: int | None) -> int:
        """A descriptor. Raises OSError; ETIMEDOUT where there was no answer, and then for good."""
        try:
            _send(self._channel, path, directory)
            handle = self._answer()
        except TimeoutError as error:
            self.hung = True
            self.end()
            text = f"{os.strerror(errno.ETIMEDOUT)} (not opened within {ANSWER_SECONDS:g} seconds)"
            raise TimeoutError(errno.ETIMEDOUT, text) from error
        if handle is None:
            raise OSError(errno.EPROTO, "the reading process handed over no file")
        return handle

    def _answer(self) -> int | None:
        """Raises OSError: the child's own, or that of a child that is gone."""
        try:
            data, handle = _receive(self._channel, _ANSWER.size)
        except socket.timeout as error:  # an alias of TimeoutError from 3.10 on
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
        if len(data) != _ANSWER.size:
            raise ConnectionResetError(errno.ECONNRESET, "the reading process has ended")
        number = int(_ANSWER.unpack(data)[0])
        if number == _NOT_REGULAR:
            raise NotARegularFile(0, "it is not a regular file")
        if number != 0:
            raise OSError(number, os.strerror(number))
        return handle

    def end(self) -> None:
        """End it and wait for it, so that nothing is left of it; one that hangs in the kernel is left to init."""
        self._channel.close()
        if self.owner_is_gone():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            try:
                if os.waitpid(self._pid, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            time.sleep(0.001)

    def owner_is_gone(self) -> bool:
        """Whether this is a copy of us that was forked off: the child is not its own."""
        return getattr(self, "owner", os.getpid()) != os.getpid()


class _Children:
    """The children of this process, one for each identity; the longest unused one makes room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: dict[tuple[int, Identity], _Child] = {}

    def ask(self, identity: Identity, root: int | None, path: str, directory: int | None) -> int:
        """A descriptor. Raises OSError."""
        name = os.fsencode(path)
        if len(name) >= PATH_LIMIT_BYTES or b"\0" in name:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        for is_last in (False, True):
            child = self._child(identity, root)
            with child.lock:
                if child.hung:
                    raise TimeoutError(errno.ETIMEDOUT, "an earlier file of the same user was not opened in time")
                try:
                    return child.ask(name, directory)
                except (ConnectionError, BrokenPipeError):
                    self._forget(identity, child)
                    if is_last:
                        raise
        raise AssertionError("unreachable")

    def _child(self, identity: Identity, root: int | None) -> _Child:
        key = (os.getpid(), identity)
        with self._lock:
            child = self._children.get(key)
            if child is None:
                self._make_room()
                child = self._children[key] = _Child(identity, root)
            child.used = time.monotonic()
            return child

    def _make_room(self) -> None:
        idle = [key for key, child in self._children.items() if not child.hung and not child.lock.locked()]
        if len(self._children) >= CHILD_LIMIT and idle:
            oldest = min(idle, key=lambda key: self._children[key].used)
            self._children.pop(oldest).end()

    def _forget(self, identity: Identity, child: _Child) -> None:
        with self._lock:
            if self._children.get((os.getpid(), identity)) is child:
                del self._children[(os.getpid(), identity)]
        child.end()

    def end_all(self) -> None:
        """End all of them."""
        with self._lock:
            children, self._children = list(self._children.values()), {}
        for child in children:
            if not child.hung:
                child.end()


_CHILDREN = _Children()
atexit.register(_CHILDREN.end_all)


def end_children() -> None:
    """End the processes that read for us; the next file makes new ones."""
    _CHILDREN.end_all()


# --- the child itself -------------------------------------------------------------------------------------------------


def _be(channel: socket.socket, identity: Identity, root: int | None) -> t.NoReturn:
    """The life of the child: it never returns, and never runs what its parent would have run."""
    try:
        gc.disable()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(channel.fileno(), root)
        try:
            _become(identity, root)
        except OSError as error:
            channel.send(_ANSWER.pack(error.errno or errno.EPERM))
            os._exit(1)
        channel.send(_ANSWER.pack(_READY))
        while select.select([channel], [], [], IDLE_SECONDS)[0]:
            data, directory = _receive(channel, PATH_LIMIT_BYTES)
            if not data:
                break
            _answer(channel, data, directory)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _close_all_but(*kept: int | None) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _become(identity: Identity, root: int | None) -> None:
    """Raises OSError where anything of us is left."""
    if root is not None:
        os.fchdir(root)
        os.chroot(".")
        os.close(root)
    os.chdir("/")
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    if identity.uid == 0:
        if not identity.may_read_all:
            _give_up_capabilities()
        return
    if set(os.getresuid()) != {identity.uid} or set(os.getresgid()) != {identity.gid}:
        raise PermissionError(errno.EPERM, "not all ids have changed")
    for way_back in (lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([])):
        try:
            way_back()
        except PermissionError:
            continue
        raise PermissionError(errno.EPERM, "the way back is open")


def _give_up_capabilities() -> None:
    """All of them: root without them reads what mode bits let it read. (capset(2), version 3 of its structures.)"""
    import ctypes

    header = struct.pack("=Ii", 0x20080522, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _answer(channel: socket.socket, path: bytes, directory: int | None) -> None:
    handle = None
    try:
        handle = os.open(path, OPEN_FLAGS, dir_fd=directory)
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            _send(channel, _ANSWER.pack(0), handle)
        else:
            channel.send(_ANSWER.pack(_NOT_REGULAR))
    except OSError as error:
        channel.send(_ANSWER.pack(error.errno or errno.EIO))
    finally:
        for opened in (handle, directory):
            if opened is not None:
                os.close(opened)
