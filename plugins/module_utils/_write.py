# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Small configuration files of our own below /etc, replaced whole or not at all.

The directory must be one that only its owner can change, and that owner root or the module's own user: nobody else
can then swap what lies in it.
"""

from __future__ import annotations

import errno
import os
import posixpath
import secrets
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System

FILE_LIMIT_BYTES = 256 * 1024
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnFile(t.NamedTuple):
    """What is at a path: ``text`` is None where nothing is there, ``problem`` says why it can't be ours."""

    text: str | None
    problem: str | None


def read_own_file(system: System, path: str) -> OwnFile:
    """A file that may be ours: a regular one, not a link."""
    try:
        descriptor = os.open(system.path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return OwnFile(None, None)
    except OSError as error:
        what = "is a symbolic link" if error.errno == errno.ELOOP else f"can't be read: {error.strerror}"
        return OwnFile(None, f"{path} {what}")
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return OwnFile(None, f"{path} is not a regular file")
        data = handle.read(FILE_LIMIT_BYTES + 1)
    if len(data) > FILE_LIMIT_BYTES:
        return OwnFile(None, f"{path} is larger than {FILE_LIMIT_BYTES} bytes")
    try:
        return OwnFile(data.decode("utf-8"), None)
    except UnicodeDecodeError:
        return OwnFile(None, f"{path} is not UTF-8 text")


def why_not_writable(system: System, directory: str) -> str | None:
    """Why nothing can or must be written into a directory of ours; None where it can.

    One that is missing can be made where the directory above it is there.
    """
    if not os.path.lexists(system.path(directory)):
        directory = posixpath.dirname(directory)
    try:
        status = os.lstat(system.path(directory))
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return f"{directory} is a symbolic link"
    if not stat.S_ISDIR(status.st_mode):
        return f"{directory} is not a directory"
    if status.st_uid not in (0, os.geteuid()):
        return f"{directory} belongs to uid {status.st_uid}, who could swap what is written there"
    if stat.S_IMODE(status.st_mode) & 0o022:
        return f"{directory} can be changed by others than its owner (mode {stat.S_IMODE(status.st_mode):04o})"
    if os.statvfs(system.path(directory)).f_flag & os.ST_RDONLY:
        return f"{directory} is on a file system that is mounted read-only"
    if not os.access(system.path(directory), os.W_OK | os.X_OK):
        return f"{directory} can't be written by uid {os.geteuid()}"
    return None


def make_directory(system: System, directory: str) -> None:
    """A directory of mode 0755, whatever the umask is. Raises OSError."""
    os.mkdir(system.path(directory), 0o755)
    os.chmod(system.path(directory), 0o755)


def write_file(system: System, path: str, text: str, mode: int = 0o644) -> None:
    """Put a whole file in place, on the disk when this returns; what was there stays if it fails. Raises OSError."""
    directory, name = posixpath.split(path)
    # No *.conf and no *.start: nothing that reads these directories takes it for one of its files.
    temporary = f".{name}.{secrets.token_hex(8)}.tmp"
    directory_descriptor = os.open(system.path(directory), _DIRECTORY_FLAGS)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=directory_descriptor)
        in_place = False
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(text.encode("utf-8"))
                handle.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            os.rename(temporary, name, src_dir_fd=directory_descriptor, dst_dir_fd=directory_descriptor)
            in_place = True
        finally:
            if not in_place:
                os.unlink(temporary, dir_fd=directory_descriptor)
        os.fsync(directory_descriptor)
    finally:
        os.close(directory_descriptor)


def remove_file(system: System, path: str) -> None:
    """Take a file away, on the disk too when this returns. Raises OSError."""
    directory, name = posixpath.split(path)
    directory_descriptor = os.open(system.path(directory), _DIRECTORY_FLAGS)
    try:
        os.unlink(name, dir_fd=directory_descriptor)
        os.fsync(directory_descriptor)
    finally:
        os.close(directory_descriptor)
