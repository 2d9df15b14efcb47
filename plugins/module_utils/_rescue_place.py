# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Directories for copies of a dataset: which may be one, opened so that nothing can be swapped, and their free space.

A path is entered one component at a time and no component may be a symbolic link, so that the path that was judged is
the directory that is written to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _forbidden_places, _proc_text
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import grade_name
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

SHARED_MEMORY = "/dev/shm"
"""Memory that looks like a directory: often the only place that can be written on a host in trouble."""

MEMORY_TYPES = ("tmpfs", "ramfs")
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def why_forbidden(path: str) -> str | None:
    """Why no dataset may be put into a directory of this path; None where it may."""
    if not path.startswith("/"):
        return f"{clean_text(path)!r} is not an absolute path"
    if any(character in path for character in "\0\n\r"):
        return "the path has a line break or a null byte in it"
    if ".." in path.split("/"):
        return f"{clean_text(path)} goes up (..)"
    normal = "/" + posixpath.normpath(path).lstrip("/")
    if normal == SHARED_MEMORY or normal.startswith(SHARED_MEMORY + "/"):
        return None
    what = _forbidden_places.why_forbidden(normal)
    if what is not None:
        return f"{clean_text(normal)} is {what}, where no dataset belongs"
    return None


def why_no_name(name: str) -> str | None:
    """Why this can't be the name of a copy; None where it can."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._:@,+=\[\]-]{0,199}", name):
        return (
            f"{clean_text(name)!r} is no name for a copy: letters, digits and . _ - : @ , + = [ ] only, "
            "at most 200, not beginning with a sign"
        )
    if grade_name(name) is not None:
        return f"{name!r} is a name that intruders use"
    return None


class Place:
    """An open directory. ``missing``: the components that are not there yet, where it was not to be made."""

    def __init__(self, path: str, handle: int, missing: t.Sequence[str]) -> None:
        self.path = path
        self.handle = handle
        self.missing = tuple(missing)

    def close(self) -> None:
        """Let the directory go."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_place(system: System, path: str, create: bool, what: str = "the directory") -> Place:
    """Open a directory. What is missing of it is made with mode 0700 where ``create``.

    Without ``create`` the last directory that is there is opened, and ``missing`` says what lacks.

    :raises Refused: where no dataset may be put there, where a component is a link, or where it can't be opened.
    """
    reason = why_forbidden(path)
    if reason is not None:
        raise Refused(f"{what.capitalize()} can't be used: {reason}.")
    normal = "/" + posixpath.normpath(path).lstrip("/")
    parts = [part for part in normal.split("/") if part]
    handle = os.open(system.path("/"), _OPEN_DIRECTORY)
    entered = ""
    try:
        for index, part in enumerate(parts):
            deeper = _enter(handle, part, f"{entered}/{part}", create)
            if deeper is None:
                return Place(normal, handle, parts[index:])
            os.close(handle)
            handle = deeper
            entered = f"{entered}/{part}"
        _check_last(handle, normal)
    except OSError as error:
        os.close(handle)
        raise Refused(f"{what.capitalize()} can't be used: {clean_text(entered)}: {error.strerror}.") from None
    except Refused:
        os.close(handle)
        raise
    return Place(normal, handle, ())


def _enter(parent: int, part: str, path: str, create: bool) -> int | None:
    """The component below an open directory; None where it is not there and not to be made."""
    try:
        return os.open(part, _OPEN_DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refused(_no_directory(parent, part, path)) from None
        raise OSError(error.errno, f"{part}: {error.strerror}") from None
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=parent)
        return os.open(part, _OPEN_DIRECTORY, dir_fd=parent)
    except OSError as error:
        raise Refused(f"{clean_text(path)} can't be made: {error.strerror}.") from None


def _no_directory(parent: int, part: str, path: str) -> str:
    try:
        target = os.readlink(part, dir_fd=parent)
    except OSError:
        return f"{clean_text(path)} is not a directory."
    return f"{clean_text(path)} is a symbolic link (to {clean_text(target)}): name the directory itself."


def _check_last(handle: int, path: str) -> None:
    mode = os.fstat(handle).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise Refused(f"{clean_text(path)} can be changed by everybody (mode {stat.S_IMODE(mode):04o}).")


def same_directory(handle: int, path: str) -> bool:
    """Whether an open directory is what a path leads to (magic links of /proc are followed)."""
    try:
        other = os.stat(path)
    except OSError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)


def free_bytes(system: System, handle: int) -> int:
    """Bytes that an ordinary user may still write. A file system in memory has no more than the memory available."""
    space = os.fstatvfs(handle)
    free = space.f_bavail * space.f_frsize
    if filesystem_type(system, handle) in MEMORY_TYPES:
        memory = _proc_text.parse_fields(system.try_read_text("/proc/meminfo") or "")
        available = _proc_text.field_bytes(memory, "MemAvailable")
        if available is not None:
            free = min(free, available)
    return free


def filesystem_type(system: System, handle: int) -> str | None:
    """The type of the file system that an open directory is on; None where mountinfo does not tell."""
    device = os.fstat(handle).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in (system.try_read_text("/proc/self/mountinfo") or "").splitlines():
        left, dash, right = line.partition(" - ")
        if dash and left.split(" ")[2:3] == [wanted]:
            return right.split(" ")[0]
    return None


def why_not_writable(handle: int, path: str) -> str | None:
    """Why nothing can be written into an open directory, as far as looking tells; None where it can."""
    if os.fstatvfs(handle).f_flag & os.ST_RDONLY:
        return f"{clean_text(path)} is on a file system that is mounted read-only"
    if not os.access(f"/proc/self/fd/{handle}", os.W_OK | os.X_OK):
        return f"{clean_text(path)} can't be written by uid {os.geteuid()}"
    return None


def status_below(directory: int, name: str) -> os.stat_result | None:
    """What has that name in an open directory, links not followed; None where nothing has. Raises OSError."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
