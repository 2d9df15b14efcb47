# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Looking a path up below a root directory, one component at a time.

As the kernel does for a process that lives in that root: a symbolic link, absolute or with ``..``, never leads out of
it. Nothing is opened but O_PATH handles, so no device, FIFO or automount is woken.
"""

from __future__ import annotations

import errno
import os
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._access import ACL_ATTRIBUTE, AclEntry, parse_acl

# The kernel's own limits: MAXSYMLINKS, and half of PATH_MAX for one-letter components.
SYMBOLIC_LINK_LIMIT = 40
COMPONENT_LIMIT = 2048


class Step(t.NamedTuple):
    """One directory (or the last file) on the way: its path below the root, stat, and ACL."""

    path: str
    status: os.stat_result
    acl: list[AclEntry]


class Walk:
    """A look-up. ``handle`` is an O_PATH descriptor of where the path leads, None where it leads nowhere."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.handle: int | None = None
        self.error: OSError | None = None

    def close(self) -> None:
        """Let the handle go."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of where the path leads."""
        if self.handle is None:
            return None
        return self.steps[-1].status.st_dev, self.steps[-1].status.st_ino


def open_directory(path: str) -> int:
    """An O_PATH handle of a directory; links are followed, magic links of /proc included. Raises OSError."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def reopen_path(handle: int) -> str:
    """A path that leads to an O_PATH handle's file, for the calls that don't take such a handle.

    It is the collector's own descriptor, so it never lies below a recorded machine's root.
    """
    return f"/proc/self/fd/{handle}"


def read_acl(handle: int) -> list[AclEntry]:
    """The access ACL of an open file; empty where it has none or its file system knows none."""
    try:
        return parse_acl(os.getxattr(reopen_path(handle), ACL_ATTRIBUTE))
    except OSError:
        return []


def walk(root: str, path: str) -> Walk:
    """Look ``path`` up below ``root``. Never raises: an error is part of the answer."""
    result = Walk()
    stack: list[tuple[str, int]] = []
    try:
        stack.append(("/", open_directory(root)))
        result.steps.append(_step("/", stack[-1][1]))
        _descend(stack, [part for part in path.split("/") if part not in ("", ".")], result)
        result.handle = stack.pop()[1]
    except OSError as error:
        result.error = error
    finally:
        for _name, handle in stack:
            os.close(handle)
    return result


def _step(path: str, handle: int) -> Step:
    return Step(path, os.stat(handle), read_acl(handle))


def _descend(stack: list[tuple[str, int]], parts: list[str], result: Walk) -> None:
    """Go down part by part; ``stack`` holds the directories that were entered. Raises OSError."""
    links = components = 0
    while parts:
        part = parts.pop(0)
        components += 1
        if components > COMPONENT_LIMIT:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if part == "..":
            if len(stack) > 1:
                os.close(stack.pop()[1])
                del result.steps[-1]
            continue
        parent_path, parent = stack[-1]
        handle = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        stack.append((os.path.join(parent_path, part), handle))
        status = os.stat(handle)
        if not stat.S_ISLNK(status.st_mode):
            result.steps.append(_step(stack[-1][0], handle))
            continue
        links += 1
        if links > SYMBOLIC_LINK_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink("", dir_fd=handle)
        os.close(stack.pop()[1])
        if target.startswith("/"):
            while len(stack) > 1:
                os.close(stack.pop()[1])
            del result.steps[1:]
        parts[:0] = [name for name in target.split("/") if name not in ("", ".")]
