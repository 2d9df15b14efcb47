# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""All processes of the host in one pass: who is whose child, and how many threads a user has."""

from __future__ import annotations

import re
import threading
import time
import typing as t
import weakref

from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import (
    INITIAL_NAMESPACE_INODES,
    in_own_pid_namespace,
    try_read_namespace,
)
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import (
    field_integer,
    field_integers,
    parse_fields,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

PROCESSES_LIMIT = 50000
SCAN_LIMIT_SECONDS = 3.0
# One pass serves all servers that are looked at side by side.
TABLE_AGE_LIMIT_SECONDS = 1.0
# Since 5.14 RLIMIT_NPROC counts the threads of a uid in each user namespace apart (kernel/ucount.c).
COUNTED_PER_USER_NAMESPACE_SINCE = (5, 14)


class ProcessEntry(t.NamedTuple):
    pid: int
    parent_pid: int
    real_uid: int
    threads: int
    effective_uid: int
    command: str


class ProcessTable:
    """All processes at one moment. ``complete`` is False where the pass was cut or a process could not be read."""

    def __init__(self, entries: list[ProcessEntry], complete: bool) -> None:
        self.entries = entries
        self.complete = complete
        # {uid: {inode of the user namespace, None where it can't be read: threads}}, counted once for each uid.
        self._threads_by_namespace: dict[int, dict[int | None, int]] = {}

    def threads_of(self, uid: int) -> int:
        """The threads of a real uid."""
        return sum(entry.threads for entry in self.entries if entry.real_uid == uid)

    def is_alone(self, pid: int, uid: int) -> bool:
        """Whether a process and its children are all that its real uid has."""
        return all(pid in (entry.pid, entry.parent_pid) for entry in self.entries if entry.real_uid == uid)

    def threads_in_user_namespace(self, system: System, uid: int, namespace: int) -> int:
        """The threads of a real uid in one user namespace; those that can't be told are taken to be in it."""
        counted = self._threads_by_namespace.get(uid)
        if counted is None:
            counted = {}
            for entry in self.entries:
                if entry.real_uid == uid:
                    inode = try_read_namespace(system, entry.pid, "user")
                    counted[inode] = counted.get(inode, 0) + entry.threads
            self._threads_by_namespace[uid] = counted
        return counted.get(namespace, 0) + counted.get(None, 0)


_tables: weakref.WeakKeyDictionary[System, tuple[float, ProcessTable]] = weakref.WeakKeyDictionary()
_tables_lock = threading.Lock()


def process_table(system: System) -> ProcessTable:
    """The table of now: at most :data:`TABLE_AGE_LIMIT_SECONDS` old."""
    with _tables_lock:
        known = _tables.get(system)
        if known is None or time.monotonic() - known[0] > TABLE_AGE_LIMIT_SECONDS:
            known = (time.monotonic(), scan_processes(system))
            _tables[system] = known
        return known[1]


def scan_processes(system: System) -> ProcessTable:
    """Read the status of every process, for a bounded time."""
    entries = []
    complete = True
    deadline = time.monotonic() + SCAN_LIMIT_SECONDS
    pids = [name for name in system.list_directory("/proc") if name.isdigit()]
    for name in pids[:PROCESSES_LIMIT]:
        if time.monotonic() > deadline:
            complete = False
            break
        try:
            fields = parse_fields(system.read_text(f"/proc/{name}/status"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
        except OSError:
            complete = False
            continue
        uids = field_integers(fields, "Uid")
        if uids:
            parent_pid = field_integer(fields, "PPid") or 0
            threads = field_integer(fields, "Threads") or 1
            command = clean_text(fields.get("Name", ""))
            entries.append(ProcessEntry(int(name), parent_pid, uids[0], threads, (uids + uids)[1], command))
    return ProcessTable(entries, complete and bool(pids) and len(pids) <= PROCESSES_LIMIT)


def children_of(system: System, pid: int) -> list[int]:
    """The pids of the children of a process: from the table, and those born since from the kernel's own list."""
    children = {entry.pid for entry in process_table(system).entries if entry.parent_pid == pid}
    for thread in system.list_directory(f"/proc/{pid}/task"):
        listed = system.try_read_text(f"/proc/{pid}/task/{thread}/children") or ""
        children.update(int(word) for word in listed.split() if word.isdigit())
    return sorted(children)


def count_threads_of_uid(
    system: System, pid: int, uid: int, kernel_version: tuple[int, int] | None, gaps: Gaps
) -> int | None:
    """The threads that the kernel counts against the process limit of a process of this real uid.

    None, with a gap, where the collector can't see all that count. A service with PrivateUsers= (Debian's units have
    it) has a user namespace of its own: its threads count for themselves, however many the uid has beside it.
    """
    table = process_table(system)
    apart = (kernel_version or (0, 0)) >= COUNTED_PER_USER_NAMESPACE_SINCE
    namespace = try_read_namespace(system, pid, "user") if apart else None
    why = _why_incomplete(system, table, namespace)
    if why is None and apart and namespace is None and not table.is_alone(pid, uid):
        why = "the server's user namespace can't be read, and other processes of its uid may be in another one"
    if why is not None:
        gaps.add(
            "process.uid_threads (how many threads the server's user has)",
            why,
            "Run as root (become: true) on the host itself, not in a container.",
        )
        return None
    if namespace is None:
        return table.threads_of(uid)
    return table.threads_in_user_namespace(system, uid, namespace)


def _why_incomplete(system: System, table: ProcessTable, namespace: int | None) -> str | None:
    """Why threads may be missing. ``namespace``: the server's user namespace, where those of others don't count."""
    if hides_processes(system.try_read_text("/proc/self/mountinfo") or "") and not _is_root(system):
        return "/proc is mounted with hidepid: the processes of other users are hidden"
    if not table.complete:
        return "not every process could be read"
    counted_in = try_read_namespace(system, "self", "user") if namespace is None else namespace
    if in_own_pid_namespace(system) and counted_in == INITIAL_NAMESPACE_INODES["user"]:
        return "the collector runs in a pid namespace: processes of the same uid outside it are not visible"
    return None


def hides_processes(mountinfo: str) -> bool:
    """Whether the last mount on /proc hides processes from users (hidepid=1, 2, 4 or their names)."""
    options = ""
    for line in mountinfo.splitlines():
        head, _separator, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) > 5 and fields[4] == "/proc" and tail.startswith("proc "):
            options = f"{fields[5]},{tail.rsplit(' ', 1)[-1]}"
    value = re.search(r"(?:^|,)hidepid=(\w+)", options)
    return value is not None and value.group(1) not in ("0", "off")


def _is_root(system: System) -> bool:
    uids = field_integers(parse_fields(system.try_read_text("/proc/self/status") or ""), "Uid")
    return len(uids) > 1 and uids[1] == 0
