# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Files on the control node: written whole or not at all, readable by their owner alone, where nobody else may write.

A directory is walked to name by name, by handle. A link that another user may have planted on the way, or a directory
that another user can write, is an error: what is written there would be written, or could be forged, by somebody else.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import grp
import json
import os
import pwd
import secrets
import stat
import typing as t

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


_LINK_LIMIT = 40
# With O_PATH a directory can be walked through that may be entered and not listed; only Linux has it.
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotOurs(OSError):
    """A place on the control node that another user may have planted, or can write. ``strerror`` says which and why."""

    def __init__(self, path: str, why: str) -> None:
        advice = "name a directory that only you and root can write"
        super().__init__(errno.EPERM, f"{path} {why}: {advice}")


class NotReadable(Exception):
    """A file that is not what it was taken for; the text names it and says why."""


def _trusted_users() -> frozenset[int]:
    """Who may own what we write to: root, ourselves, and whoever became root to run this."""
    users = {0, os.geteuid()}
    caller = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and caller.isascii() and caller.isdigit():
        users.add(int(caller))
    return frozenset(users)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _is_private_group(status: os.stat_result) -> bool:
    """Whether a group has no members but the directory's owner: many systems give each user such a one."""
    if status.st_gid == 0:
        return True
    try:
        owner = pwd.getpwuid(status.st_uid)
        members = set(grp.getgrgid(status.st_gid).gr_mem)
    except (KeyError, OverflowError):
        return False
    return owner.pw_gid == status.st_gid and members <= {owner.pw_name}


def _why_not_ours(status: os.stat_result, is_last: bool) -> str | None:
    """Why a directory can't be trusted, or None. In a sticky one nobody else can replace what is ours on the way."""
    if status.st_uid not in _trusted_users():
        return f"belongs to the user {_user_name(status.st_uid)}"
    by_group = bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status)
    if not by_group and not status.st_mode & stat.S_IWOTH:
        return None
    if status.st_mode & stat.S_ISVTX and not is_last:
        return None
    return "can be written by other users"


class _Walk:
    """A directory that is open, and its path. Links are followed where only root or we can have made them."""

    def __init__(self) -> None:
        self.descriptor = os.open("/", _WALK)
        self.path = "/"
        self.links = 0

    def enter(self, name: str, path: str) -> None:
        descriptor = os.open(name, _WALK, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor, self.path = descriptor, path

    def close(self) -> None:
        os.close(self.descriptor)


def open_directory(directory: str, create: bool = True) -> int:
    """A handle of a directory that only root and we can write, and the way to which nobody else may have laid.

    The caller closes it. Missing directories are made. Raises OSError, and :class:`NotOurs` for another user's place.
    """
    path = os.path.abspath(os.path.expanduser(directory))
    parts = collections.deque(path.split("/"))
    walk = _Walk()
    try:
        while parts:
            name = parts.popleft()
            if name not in ("", "."):
                parts.extendleft(reversed(_step(walk, name, not any(parts), create)))
        return walk.descriptor
    except BaseException:
        walk.close()
        raise


def _step(walk: _Walk, name: str, is_last: bool, create: bool) -> list[str]:
    """Enter one directory; the names to go on with where it is a link. Raises OSError."""
    if name == "..":
        walk.enter("..", os.path.dirname(walk.path))
        return []
    here = os.path.join(walk.path, name)
    try:
        status = os.stat(name, dir_fd=walk.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        if not create:
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, DIRECTORY_MODE, dir_fd=walk.descriptor)
        status = os.stat(name, dir_fd=walk.descriptor, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return _follow(walk, name, here, status)
    walk.enter(name, here)
    why = _why_not_ours(os.fstat(walk.descriptor), is_last)
    if why is not None:
        raise NotOurs(here, why)
    return []


def _follow(walk: _Walk, name: str, here: str, status: os.stat_result) -> list[str]:
    if status.st_uid not in _trusted_users():
        raise NotOurs(here, f"is a link that the user {_user_name(status.st_uid)} has made")
    walk.links += 1
    if walk.links > _LINK_LIMIT:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), here)
    target = os.readlink(name, dir_fd=walk.descriptor)
    if target.startswith("/"):
        walk.enter("/", "/")
    return target.split("/")


def check_directory(directory: str) -> None:
    """Raises NotOurs for a place that :func:`write_json` would refuse. Makes nothing; what is absent is no error."""
    with contextlib.suppress(FileNotFoundError):
        os.close(open_directory(directory, create=False))


def write_json(directory: str, name: str, document: t.Any) -> str:
    """Write ``document`` to ``directory/name`` through a temporary file. Returns the path.

    Raises OSError; :class:`NotOurs` where the directory, or the way to it, is another user's to change.
    """
    place = open_directory(directory)
    temporary = f".{secrets.token_hex(8)}.tmp"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, FILE_MODE, dir_fd=place)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
                os.fchmod(handle.fileno(), FILE_MODE)
                json.dump(document, handle, indent=1, ensure_ascii=True)
                handle.write("\n")
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, name, src_dir_fd=place, dst_dir_fd=place)
        except BaseException:
            os.unlink(temporary, dir_fd=place)
            raise
    finally:
        os.close(place)
    return os.path.join(os.path.abspath(os.path.expanduser(directory)), name)


def read_json(path: str, kind: str, limit_bytes: int | None = None) -> t.Any:
    """What a JSON file holds. ``kind`` is what it should be, ``an evidence file``. Raises NotReadable."""
    try:
        if limit_bytes is not None and os.path.getsize(path) > limit_bytes:
            raise NotReadable(f"{path}: too large for {kind}")
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except OSError as error:
        raise NotReadable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotReadable(f"{path}: not UTF-8 text, so not {kind}") from None
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"{path}: not JSON, so not {kind} ({error})") from None
