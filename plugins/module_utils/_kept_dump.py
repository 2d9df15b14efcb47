# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The file in the dump's place, kept beside under another name before a save replaces it.

A save renames its temporary file over the dump: that replaces the name, not the file. A second name (hard link) keeps
it at no cost; where none can be made, a copy does. The directory is opened once, as the server's working directory, and
everything is done below that handle: a path could lead elsewhere by now. Nothing that is there is ever replaced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._dump import HEADER_BYTES, parse_rdb_header
from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import device_name, file_type, raw_names
from ansible_collections.redisops.persistence.plugins.module_utils._own_touch import (
    changed_ns,
    changed_unix,
    note_touch,
)
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import reopen_path
from ansible_collections.redisops.persistence.plugins.module_utils._save_guard import size_text

NAME_LIMIT_BYTES = 255
CHUNK_BYTES = 1024 * 1024
SAME_NAME_LIMIT = 5

NO_LINKS = frozenset(
    {errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EXDEV, errno.EINVAL, errno.ENOENT}
)
"""No second name can be made: the file system knows none, the kernel forbids it (protected_hardlinks), the file is
immutable, or it has as many as can be."""


class Seen(t.NamedTuple):
    """The file as it was judged; any difference means that it is another one, or was written since."""

    name: str
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    is_regular: bool


class Kept(t.NamedTuple):
    """What was kept: ``method`` is ``link`` or ``copy``; ``device`` and ``inode`` are those of the kept file.

    :ivar changed_ns: when anybody but us has last changed the original (``_own_touch``); None for a copy.
    """

    name: str
    method: str
    device: int
    inode: int
    original: Seen
    changed_ns: int | None = None


class CannotKeep(Exception):
    """The file can't be kept beside; the text is a sentence for an operator."""


class HasChanged(Exception):
    """The file in the dump's place is not the one that was judged."""


def look_at_dump(directory: int, name: str) -> tuple[Seen | None, dict[str, t.Any]]:
    """(what tells the file from another, the fields of ``data_directory.dump`` that change with it).

    :param directory: a handle of the directory (O_PATH is enough). :param name: ``dbfilename`` as the server says it.
    :return: (None, ...) where nothing is there. Raises OSError where it can't be looked at.
    """
    handle, raw_name = _open(directory, name)
    if handle is None:
        return None, {"exists": False, "type": None, "size_bytes": None, "header": None}
    try:
        status = os.stat(handle)
        seen = _seen(raw_name, status)
        header = parse_rdb_header(_first_bytes(handle)) if seen.is_regular else None
    finally:
        os.close(handle)
    return seen, {
        "exists": True,
        "type": file_type(status.st_mode),
        "size_bytes": status.st_size,
        "modified_unix": status.st_mtime,
        "changed_unix": changed_unix(status),
        "device": device_name(status.st_dev),
        "inode": status.st_ino,
        "link_count": status.st_nlink,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "header": header,
    }


def is_unchanged(directory: int, name: str, seen: Seen | None) -> bool:
    """Whether the very file that was judged (None: none) is still in the dump's place. Raises OSError."""
    handle, raw_name = _open(directory, name)
    if handle is None:
        return seen is None
    try:
        return _seen(raw_name, os.stat(handle)) == seen
    finally:
        os.close(handle)


def kept_name(name: str, now_unix: float, run: str) -> str:
    """``dump.rdb.kept-20261125T170000Z-4711``; a long name is cut so that it stays one."""
    suffix = f".kept-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_unix))}-{run}"
    return os.fsdecode(os.fsencode(name)[: NAME_LIMIT_BYTES - len(os.fsencode(suffix))]) + suffix


def keep(directory: int, seen: Seen, name: str, new_dump_bytes: int | None) -> Kept:
    """Give the file a second name, or copy it. Raises HasChanged, and CannotKeep where nothing was kept.

    :param seen: the file that was judged. :param name: what to call the kept one, see :func:`kept_name`.
    :param new_dump_bytes: how large the next dump may be.
    """
    if not seen.is_regular:
        raise CannotKeep("What is in the dump's place is no ordinary file, and can't be kept beside. Move it away.")
    try:
        with _judged_file(directory, seen) as handle:
            return _keep(directory, handle, seen, name, new_dump_bytes)
    except OSError as error:
        raise CannotKeep(f"The file in the dump's place can't be kept beside: {error.strerror}.") from None


def hold(directory: int, seen: Seen, name: str) -> Kept | None:
    """A second name for a file that a save may replace, until the new one has been looked at; None where none can be.

    It costs nothing and asks for no room: a save has the old file and the new one on disk anyway. Raises HasChanged.
    """
    try:
        with _judged_file(directory, seen) as handle:
            return _link(directory, handle, seen, name)
    except (OSError, CannotKeep):
        return None


@contextlib.contextmanager
def _judged_file(directory: int, seen: Seen) -> t.Iterator[int]:
    """A handle of the very file that was judged. Raises HasChanged, and OSError."""
    handle, raw_name = _open(directory, seen.name)
    if handle is None:
        raise HasChanged
    try:
        if _seen(raw_name, os.stat(handle)) != seen:
            raise HasChanged
        yield handle
    finally:
        os.close(handle)


def let_go(directory: int, kept: Kept) -> bool:
    """Remove the second name of a file that a new one has replaced which holds as much. Whether it is gone."""
    try:
        beside = os.stat(kept.name, dir_fd=directory, follow_symlinks=False)
        if (beside.st_dev, beside.st_ino) != (kept.device, kept.inode):
            return False
        os.unlink(kept.name, dir_fd=directory)
    except OSError:
        return False
    return True


def give_up(directory: int, kept: Kept) -> bool:
    """Remove what was kept where the original is still in place, as nothing was replaced. Whether it is gone.

    Nothing else is removed: neither a file that somebody put under that name, nor the last copy of anything.
    """
    try:
        original = os.stat(kept.original.name, dir_fd=directory, follow_symlinks=False)
        beside = os.stat(kept.name, dir_fd=directory, follow_symlinks=False)
        if (original.st_dev, original.st_ino) != (kept.original.device, kept.original.inode):
            return False
        if (beside.st_dev, beside.st_ino) != (kept.device, kept.inode):
            return False
        os.unlink(kept.name, dir_fd=directory)
        if kept.changed_ns is not None:
            note_touch(kept.changed_ns, os.stat(kept.original.name, dir_fd=directory, follow_symlinks=False))
    except OSError:
        return False
    return True


def why_no_room(directory: int, copy_bytes: int, new_dump_bytes: int | None) -> str | None:
    """Why the file can't be kept for want of space; None where it can.

    What is kept is not freed by the save. So there must be room for the new dump, and for the one after it: a server
    that can't save any more has not been helped.
    """
    if new_dump_bytes is None:
        return "How large the new dump will be is not known, so neither is whether the old one can be kept beside it."
    status = os.fstatvfs(directory)
    if not status.f_blocks:
        # Some network and FUSE file systems don't say.
        return None
    free = status.f_bavail * status.f_frsize
    needed = copy_bytes + 2 * new_dump_bytes
    if free >= needed:
        return None
    return (
        f"There is no room to keep the file in the dump's place: {size_text(free)} are free, and {size_text(needed)} "
        "are needed for it, the new dump and the one after that. Make room, or move the file elsewhere."
    )


def _keep(directory: int, handle: int, seen: Seen, name: str, new_dump_bytes: int | None) -> Kept:
    problem = why_no_room(directory, 0, new_dump_bytes)
    if problem is not None:
        raise CannotKeep(problem)
    for number in range(SAME_NAME_LIMIT):
        wanted = name if number == 0 else f"{name}.{number}"
        try:
            return _link(directory, handle, seen, wanted)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        problem = why_no_room(directory, seen.size_bytes, new_dump_bytes)
        if problem is not None:
            raise CannotKeep(problem)
        with contextlib.suppress(FileExistsError):
            return _copy(directory, handle, seen, wanted)
    raise CannotKeep(f"The names that the file could be kept under ({name} and others) are all taken.")


def _link(directory: int, handle: int, seen: Seen, name: str) -> Kept:
    """A second name for the open file itself, whatever its first name leads to by now. Raises OSError."""
    before_ns = changed_ns(os.stat(handle))
    os.link(reopen_path(handle), name, dst_dir_fd=directory, follow_symlinks=True)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if (status.st_dev, status.st_ino) != (seen.device, seen.inode):
        raise CannotKeep(f"What was kept as {name} was replaced by somebody at once: nothing is kept safely here.")
    return Kept(name, "link", status.st_dev, status.st_ino, seen, before_ns)


def _copy(directory: int, handle: int, seen: Seen, name: str) -> Kept:
    """A copy with the original's owner, mode and time, on disk and compared. Raises OSError, CannotKeep, HasChanged."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    source = os.open(reopen_path(handle), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        target = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            kept = os.fstat(target)
            try:
                _fill(source, target, seen)
                _sync_directory(directory)
            except BaseException:
                _remove_own(directory, name, kept)
                raise
        finally:
            os.close(target)
    finally:
        os.close(source)
    return Kept(name, "copy", kept.st_dev, kept.st_ino, seen)


def _fill(source: int, target: int, seen: Seen) -> None:
    original = os.fstat(source)
    made = os.fstat(target)
    digest = hashlib.sha256()
    while True:
        chunk = os.read(source, CHUNK_BYTES)
        if not chunk:
            break
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]
    if (original.st_uid, original.st_gid) != (made.st_uid, made.st_gid):
        os.fchown(target, original.st_uid, original.st_gid)
    # After the owner: a change of owner may clear bits. No set-uid bit is ever given.
    os.fchmod(target, stat.S_IMODE(original.st_mode) & 0o777)
    os.utime(target, ns=(original.st_atime_ns, original.st_mtime_ns))
    os.fsync(target)
    if _seen(seen.name, os.fstat(source)) != seen:
        raise HasChanged
    if _digest_of(target) != digest.digest():
        raise CannotKeep("The copy of the file in the dump's place does not hold what was written to it.")


def _digest_of(handle: int) -> bytes:
    digest = hashlib.sha256()
    os.lseek(handle, 0, os.SEEK_SET)
    for chunk in iter(lambda: os.read(handle, CHUNK_BYTES), b""):
        digest.update(chunk)
    return digest.digest()


def _sync_directory(directory: int) -> None:
    opened = os.open(reopen_path(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove_own(directory: int, name: str, made: os.stat_result) -> None:
    """Remove what was begun, if that is what has the name."""
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (status.st_dev, status.st_ino) == (made.st_dev, made.st_ino):
            os.unlink(name, dir_fd=directory)


def _open(directory: int, name: str) -> tuple[int | None, str]:
    """(an O_PATH handle of the entry itself, its name as the os functions take it); (None, name) where none is."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    for candidate in raw_names(name):
        with contextlib.suppress(FileNotFoundError):
            return os.open(candidate, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), candidate
    return None, name


def _seen(name: str, status: os.stat_result) -> Seen:
    return Seen(name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, stat.S_ISREG(status.st_mode))


def _first_bytes(handle: int) -> bytes:
    """The beginning of an ordinary file; none where it can't be read."""
    try:
        opened = os.open(reopen_path(handle), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(opened, HEADER_BYTES)
    except OSError:
        return b""
    finally:
        os.close(opened)
