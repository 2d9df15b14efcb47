# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The namespaces of a process, and whether the collector itself runs in a container."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import parse_namespace
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

# Name in the evidence and name of the link in /proc/PID/ns.
NAMESPACE_LINKS = {"mount": "mnt", "pid": "pid", "user": "user", "network": "net", "cgroup": "cgroup"}

# Inodes of the machine's first namespaces: fixed in every kernel (include/linux/proc_ns.h, PROC_*_INIT_INO), ...
INITIAL_NAMESPACE_INODES = {"pid": 0xEFFFFFFC, "user": 0xEFFFFFFD, "cgroup": 0xEFFFFFFB}
# ... and fixed since 6.17 (include/uapi/linux/nsfs.h, enum init_ns_ino). No older kernel gives these numbers away.
RECENT_INITIAL_NAMESPACE_INODES = {"mount": 0xEFFFFFF8, "network": 0xEFFFFFF9}

# systemd's CONTAINER_INTERFACE and Podman's mark are made when the container starts, Docker's lies in the image's root.
LIVE_CONTAINER_MARKS = ("/run/systemd/container", "/run/.containerenv")
CONTAINER_MARKS = (*LIVE_CONTAINER_MARKS, "/.dockerenv")


def read_namespace(system: System, pid: int | str, name: str) -> int | None:
    """The inode of a process's namespace. Raises OSError where the link can't be read."""
    return parse_namespace(system.read_link(f"/proc/{pid}/ns/{NAMESPACE_LINKS[name]}"))


def try_read_namespace(system: System, pid: int | str, name: str) -> int | None:
    """The same; None where the link can't be read."""
    try:
        return read_namespace(system, pid, name)
    except OSError:
        return None


def describe_namespaces(system: System, pid: int, note: t.Callable[[OSError], None]) -> dict[str, dict[str, t.Any]]:
    """The namespaces of a process; ``note`` hears why one could not be read.

    ``is_host`` means: the same as that of the first process that the collector sees. Where that one is not
    readable, the collector's own namespace and the fixed inodes decide; else it stays None.
    """
    namespaces = {}
    for name in NAMESPACE_LINKS:
        try:
            inode = read_namespace(system, pid, name)
        except OSError as error:
            note(error)
            inode = None
        namespaces[name] = {"inode": inode, "is_host": _is_of_host(system, name, inode)}
    return namespaces


def _is_of_host(system: System, name: str, inode: int | None) -> bool | None:
    if inode is None:
        return None
    host_inode = try_read_namespace(system, 1, name)
    if host_inode is not None:
        return inode == host_inode
    own_inode = try_read_namespace(system, "self", name)
    if inode == own_inode:
        return True
    if in_own_pid_namespace(system) is not False:
        return None
    if name in INITIAL_NAMESPACE_INODES:
        return inode == INITIAL_NAMESPACE_INODES[name]
    initial = RECENT_INITIAL_NAMESPACE_INODES[name]
    return inode == initial if initial in (inode, own_inode) else None


def in_own_pid_namespace(system: System) -> bool | None:
    """Whether the collector sees only the processes of a pid namespace below the machine's."""
    inode = try_read_namespace(system, "self", "pid")
    return None if inode is None else inode != INITIAL_NAMESPACE_INODES["pid"]


def collector_in_container(system: System) -> bool:
    """Whether the collector runs in a container.

    Nearly every container has a pid namespace of its own. One that shares the host's (``--pid=host``) is told by the
    marks that the engines leave, if its mounts are not the first process's; a mark alone can be a left-over of the
    image that a machine was made from.
    """
    if in_own_pid_namespace(system):
        return True
    if not any(system.exists(mark) for mark in CONTAINER_MARKS):
        return False
    mounts_of_first = try_read_namespace(system, 1, "mount")
    if mounts_of_first is not None:
        return mounts_of_first != try_read_namespace(system, "self", "mount")
    return any(system.exists(mark) for mark in LIVE_CONTAINER_MARKS)
