# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether root alone decides what a path leads to: the file, every directory above it, and every link on the way.

In a sticky directory that everybody may write to (``/tmp``) nobody but root can rename or replace what is root's.
"""

from __future__ import annotations

import errno
import os
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import (
    COMPONENT_LIMIT,
    SYMBOLIC_LINK_LIMIT,
    open_directory,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import clean_text

_WRITE_BY_OTHERS = 0o022


class Entry(t.NamedTuple):
    """One thing on the way, as stat(2) sees it. The group bits of a file with an ACL are its mask."""

    path: str
    uid: int
    mode: int


class Visit(t.NamedTuple):
    """All that was passed on the way to a file, in order, and which file that is."""

    entries: list[Entry]
    device: int
    inode: int


def why_others_can_change(entries: t.Iterable[Entry]) -> str | None:
    """Who else but root decides what the last entry is, in words; None where only root does. Pure."""
    for entry in entries:
        if entry.uid != 0:
            return f"{entry.path} belongs to uid {entry.uid}"
        if stat.S_ISLNK(entry.mode):
            continue
        is_sticky = stat.S_ISDIR(entry.mode) and bool(entry.mode & stat.S_ISVTX)
        if entry.mode & _WRITE_BY_OTHERS and not is_sticky:
            return f"{entry.path} can be written by others than root (mode {stat.S_IMODE(entry.mode):04o})"
    return None


def visit(root: str, path: str) -> Visit:
    """Look ``path`` up below ``root``, as :func:`_path_walk.walk` does, and keep the links too. Raises OSError."""
    handles = [open_directory(root)]
    paths = ["/"]
    entries = [_entry("/", os.stat(handles[0]))]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    links = components = 0
    try:
        while parts:
            part = parts.pop(0)
            components += 1
            if components > COMPONENT_LIMIT:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            if part == "..":
                if len(handles) > 1:
                    os.close(handles.pop())
                    paths.pop()
                continue
            handle = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handles[-1])
            handles.append(handle)
            paths.append(os.path.join(paths[-1], part))
            status = os.stat(handle)
            entries.append(_entry(paths[-1], status))
            if not stat.S_ISLNK(status.st_mode):
                continue
            links += 1
            if links > SYMBOLIC_LINK_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink("", dir_fd=handle)
            kept = 1 if target.startswith("/") else len(handles) - 1
            while len(handles) > kept:
                os.close(handles.pop())
                paths.pop()
            parts[:0] = [name for name in target.split("/") if name not in ("", ".")]
        found = os.stat(handles[-1])
        return Visit(entries, found.st_dev, found.st_ino)
    finally:
        for handle in handles:
            os.close(handle)


def _entry(path: str, status: os.stat_result) -> Entry:
    return Entry(clean_text(path), status.st_uid, status.st_mode)
