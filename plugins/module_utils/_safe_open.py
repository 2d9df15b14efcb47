# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Opening the one directory that is to be changed, and knowing that it is that one.

A path is looked at when a plan is made and used later. In between it can be renamed, mounted over or replaced by a
link. So the directory is opened once, by the server's own working directory or part by part without following a link;
it must have the device and inode that were seen; and where it really lies is asked of the open descriptor.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import (
    DELETED_SUFFIX,
    device_name,
    mount_id_of,
    raw_names,
)
from ansible_collections.redisops.persistence.plugins.module_utils._forbidden_places import (
    check_pattern,
    is_allowed,
    why_forbidden,
)
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._mounts import (
    READ_LIMIT_BYTES,
    Mount,
    MountTable,
    is_below,
    parse_line,
    place_on_device,
    read_mounts,
)
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import open_directory, reopen_path
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import why_not_the_same
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

PATH_LIMIT_BYTES = 4096


class PlaceRequest(t.NamedTuple):
    """Which directory is meant.

    :param pid: the server's, as the machine counts; None: there is no server, the path is the machine's own.
    :param path: as the server sees it, absolute, as clean text.
    :param device: ``253:1``; None (like ``inode``): not known.
    """

    pid: int | None
    started_unix: float | None
    path: str
    device: str | None
    inode: int | None


class Place:
    """An open directory.

    :ivar handle: an O_PATH descriptor.
    :ivar path: where it is for the server. :ivar real_path: where it is in the server's mount namespace (a server in
        a chroot sees another path). Names as the os functions take them.
    :ivar other_paths: where the machine's own mount table shows the same directory.
    """

    def __init__(self, handle: int, path: str, real_path: str, mount: Mount, other_paths: list[str]) -> None:
        self.handle = handle
        self.path = path
        self.real_path = real_path
        self.mount = mount
        self.other_paths = other_paths

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.handle)

    def status(self) -> os.stat_result:
        """Of the directory, now."""
        return os.stat(self.handle)

    def below(self, name: str) -> list[str]:
        """All paths of an entry of the directory."""
        return [posixpath.join(path, name) for path in (self.path, self.real_path, *self.other_paths)]


def verify_process(system: System, pid: int, started_unix: float | None) -> None:
    """Raise Refused where the process is gone, or is another one that has its pid now."""
    problem = why_not_the_same(system, pid, started_unix)
    if problem is not None:
        raise Refused(f"{problem}: diagnose again.")


def check_path(path: str) -> str:
    """The path without double slashes. Raises Refused for one that is not absolute, or leads up and down."""
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > PATH_LIMIT_BYTES:
        raise Refused(f"{path!r} is not an absolute path.")
    parts = [part for part in path.split("/") if part]
    if "." in parts or ".." in parts:
        raise Refused(f"{path!r} has a part that leads elsewhere: give the path where the directory is.")
    return "/" + "/".join(parts)


def open_place(system: System, request: PlaceRequest) -> Place:
    """Open the directory of a running server. Raises Refused where it is not the one that is meant, and OSError."""
    path = check_path(request.path)
    if request.pid is None:
        raise Refused("Without the server's process it is not known which directory is meant.")
    verify_process(system, request.pid, request.started_unix)
    handle = _open_working_directory(request, path)
    if handle is None:
        root = open_directory(f"/proc/{request.pid}/root")
        try:
            handle = open_below(root, path)
        finally:
            os.close(root)
    try:
        verify_identity(handle, request)
        # The links in /proc were those of this process only if it still is the same.
        verify_process(system, request.pid, request.started_unix)
    except BaseException:
        os.close(handle)
        raise
    return describe_place(system, request.pid, handle, path)


def _open_working_directory(request: PlaceRequest, path: str) -> int | None:
    """The server's working directory, if that is the one that is meant."""
    handle = open_directory(f"/proc/{request.pid}/cwd")
    try:
        if request.inode is not None and request.device is not None:
            is_meant = identity(handle) == (request.device, request.inode)
        else:
            is_meant = clean_text(_path_in_root(handle, request.pid)[1]) == path
    except BaseException:
        os.close(handle)
        raise
    if is_meant:
        return handle
    os.close(handle)
    return None


def identity(handle: int) -> tuple[str, int]:
    """(device, inode) as the evidence writes them."""
    status = os.stat(handle)
    return device_name(status.st_dev), status.st_ino


def verify_identity(handle: int, request: PlaceRequest) -> None:
    """Raise Refused where an open directory is not the one that was diagnosed."""
    device, inode = identity(handle)
    if request.device not in (None, device) or request.inode not in (None, inode):
        raise Refused(
            f"{request.path} is another directory now (device {device}, inode {inode}) than the one that was "
            f"diagnosed (device {request.device}, inode {request.inode}): diagnose again."
        )


def open_below(root: int, path: str) -> int:
    """An O_PATH handle of a directory below another, no link followed. Raises Refused for a link, and OSError."""
    current = os.dup(root)
    done = ""
    try:
        for part in [part for part in path.split("/") if part]:
            following = _open_part(current, part, f"{done}/{part}")
            os.close(current)
            current = following
            done = f"{done}/{part}"
    except BaseException:
        os.close(current)
        raise
    return current


def _open_part(directory: int, name: str, path: str) -> int:
    for candidate in raw_names(name):
        try:
            return os.open(candidate, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            if stat.S_ISLNK(os.stat(candidate, dir_fd=directory, follow_symlinks=False).st_mode):
                raise Refused(f"{path} is a symbolic link, and links are not followed.") from None
            raise Refused(f"{path} is not a directory.") from None
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _path_in_root(handle: int, pid: int | None) -> tuple[str, str]:
    """(path in the mount namespace, path as the process sees it) of an open directory."""
    real = os.readlink(reopen_path(handle))
    if pid is None:
        return real, real
    root_handle = open_directory(f"/proc/{pid}/root")
    try:
        root = os.readlink(reopen_path(root_handle))
    finally:
        os.close(root_handle)
    if root != "/" and is_below(real, root):
        return real, real[len(root) :] or "/"
    return real, real


def describe_place(system: System, pid: int | None, handle: int, path: str) -> Place:
    """What is known of an open directory. Raises Refused where it has no path, or another one than ``path``.

    The handle belongs to the answer then; it is closed where there is none.
    """
    try:
        return _describe_place(system, pid, handle, path)
    except BaseException:
        os.close(handle)
        raise


def _describe_place(system: System, pid: int | None, handle: int, path: str) -> Place:
    real, seen = _path_in_root(handle, pid)
    if os.stat(handle).st_nlink == 0 or (real.endswith(DELETED_SUFFIX) and clean_text(seen) != path):
        raise Refused(f"{path} has been deleted: what the server still has open can't be saved to.")
    if clean_text(seen) != path:
        raise Refused(f"The directory that was diagnosed as {path} is {clean_text(seen)} now: diagnose again.")
    mount_id = mount_id_of(handle)
    theirs = read_mounts(system, "self" if pid is None else pid)
    mount = theirs.by_id(mount_id) if theirs is not None and mount_id is not None else None
    inside = seen
    if mount is None and mount_id is not None:
        # A process that was chrooted below a mount point does not list the mount that it stands in.
        mount = (read_mounts(system, "self") or MountTable(b"")).by_id(mount_id)
        inside = real
    if mount is None or not is_below(inside, mount.mount_point):
        raise Refused(f"{path} is on a mount that is in no mount table: where it really lies is unknown.")
    return Place(handle, seen, real, mount, paths_on_machine(system, place_on_device(mount, inside)))


def paths_on_machine(system: System, place: tuple[str, str]) -> list[str]:
    """Where the machine's own mounts show a place on a device: a bind mount gives a directory more than one path."""
    device, inside = place
    found = []
    for line in system.read_bytes("/proc/self/mountinfo", READ_LIMIT_BYTES).split(b"\n"):
        mount = parse_line(line)
        if mount is None or mount.device != device or not is_below(inside, mount.file_system_root):
            continue
        root = "" if mount.file_system_root == "/" else mount.file_system_root
        found.append(posixpath.normpath(f"{mount.mount_point}/{inside[len(root) :]}").replace("//", "/"))
    return list(dict.fromkeys(found))


def check_not_forbidden(paths: t.Iterable[str]) -> None:
    """Raise Refused where one of a directory's paths is where nothing may be changed."""
    for path in dict.fromkeys(paths):
        what = why_forbidden(path)
        if what is not None:
            raise Refused(f"{clean_text(path)} is {what}: nothing is changed there, whatever is allowed.")


def check_allowed(path: str, allowed_dirs: t.Sequence[str]) -> None:
    """Raise Refused for a path outside the allow list, and for an entry that the list can't mean."""
    problems = [problem for problem in map(check_pattern, allowed_dirs) if problem is not None]
    if problems:
        raise Refused(f"The list of allowed directories is wrong: {'; '.join(problems)}.")
    if not is_allowed(clean_text(path), allowed_dirs):
        raise Refused(
            f"{clean_text(path)} is not among the allowed directories ({', '.join(allowed_dirs) or 'there are none'})."
        )
