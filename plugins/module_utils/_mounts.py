# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Mounts as /proc/PID/mountinfo lists them (proc(5), proc_pid_mountinfo(5)).

Mount ids are unique on the whole machine, not only in one mount namespace: the id that a file descriptor has tells
exactly which of several mounts of one file system a process came through.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System

# A busy container host has ten thousand mounts of about 300 bytes.
READ_LIMIT_BYTES = 8 * 1024 * 1024

_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(t.NamedTuple):
    """One line of mountinfo. Paths are file names as Python's os functions take them."""

    mount_id: int
    device: str
    file_system_root: str
    mount_point: str
    options: list[str]
    type: str
    source: str
    super_options: list[str]


def unescape(field: bytes) -> str:
    """The name in a field of mountinfo: space, tab, newline, backslash and hash are written as octal escapes."""
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match.group(1), 8) & 0xFF]), field))


def parse_line(line: bytes) -> Mount | None:
    """One line of mountinfo, or None where it is not one (the end of a file that was cut)."""
    before, separator, after = line.partition(b" - ")
    head = before.split(b" ")
    tail = after.split(b" ")
    if not separator or len(head) < 6 or len(tail) < 3 or not head[0].isdigit():
        return None
    return Mount(
        mount_id=int(head[0]),
        device=head[2].decode("ascii", errors="replace"),
        file_system_root=unescape(head[3]),
        mount_point=unescape(head[4]),
        options=unescape(head[5]).split(","),
        type=unescape(tail[0]),
        source=unescape(tail[1]),
        super_options=unescape(tail[2]).split(","),
    )


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies in it."""
    return directory == "/" or path == directory or path.startswith(directory + "/")


class MountTable:
    """The mounts of one process, in the order in which they were listed. Lines are parsed only when asked for."""

    def __init__(self, content: bytes) -> None:
        self._lines = [line for line in content.split(b"\n") if line]

    def __bool__(self) -> bool:
        """Whether any mount is listed: none is where the table could not be read."""
        return bool(self._lines)

    def by_id(self, mount_id: int) -> Mount | None:
        """The mount with that id, or None where it is not (or no longer) part of this namespace."""
        start = b"%d " % mount_id
        for line in self._lines:
            if line.startswith(start):
                return parse_line(line)
        return None

    def containing(self, path: str) -> Mount | None:
        """The mount that a look-up of ``path`` ends in, or None where no listed mount is above it.

        The mounts are crossed one after the other as the look-up would, so one that lies hidden below a later mount
        is not taken, however long its mount point is.
        """
        above: dict[int, tuple[int, str, bytes]] = {}
        for line in self._lines:
            fields = line.split(b" ", 5)
            if len(fields) == 6 and fields[0].isdigit() and fields[1].isdigit():
                mount_point = unescape(fields[4])
                if is_below(path, mount_point):
                    above[int(fields[0])] = (int(fields[1]), mount_point, line)
        # The root's own parent is not listed; nor is that of any mount of a process that was chrooted.
        reached = [mount_id for mount_id, (parent_id, *_others) in above.items() if parent_id not in above]
        current = None
        while reached:
            current = min(reached, key=lambda mount_id: len(above[mount_id][1]))
            reached = [mount_id for mount_id, (parent_id, *_others) in above.items() if parent_id == current]
            reached = [mount_id for mount_id in reached if mount_id != current]
        return parse_line(above[current][2]) if current is not None else None


def place_on_device(mount: Mount, path: str) -> tuple[str, str]:
    """(device, path inside its file system): equal for two paths exactly when they lead to the same place on a disk."""
    rest = path[len(mount.mount_point) :] if mount.mount_point != "/" else path
    parts = [part for part in f"{mount.file_system_root}/{rest}".split("/") if part]
    return mount.device, "/" + "/".join(parts)


def read_mounts(system: System, process: int | str) -> MountTable | None:
    """The mounts of a process (``"self"``: the collector's own); None where they can't be read."""
    try:
        return MountTable(system.read_bytes(f"/proc/{process}/mountinfo", READ_LIMIT_BYTES))
    except OSError:
        return None
