# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What /proc says of one server and its children (PROCESS of docs/evidence.md)."""

from __future__ import annotations

import errno
import os
import pwd
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _proc_text
from ansible_collections.redisops.persistence.plugins.module_utils._command_line import parse_title
from ansible_collections.redisops.persistence.plugins.module_utils._namespaces import describe_namespaces
from ansible_collections.redisops.persistence.plugins.module_utils._process_table import (
    children_of,
    count_threads_of_uid,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text, to_utf8

# Reading smaps walks the page tables under the process's memory lock: larger servers feel it.
SMALL_SERVER_BYTES = 1024**3
MAPPINGS_LIMIT_BYTES = 32 * 1024 * 1024
ENVIRONMENT_LIMIT_BYTES = 256 * 1024
# Enough for the first line of numa_maps, which names the policy of the process.
MEMORY_POLICY_LIMIT_BYTES = 512
CHILDREN_LIMIT = 32
REMEDY = "Run as root (become: true)."

# Titles of the children: Redis (all versions), Valkey 8.0 and newer, KeyDB. The template may put words before it.
_CHILD_KINDS = {
    "rdb-bgsave": "rdb_save",
    "rdb-to-slaves": "rdb_to_replicas",
    "rdb-to-replicas": "rdb_to_replicas",
    "aof-rewrite": "aof_rewrite",
    "module-fork": "module_fork",
}
_CHILD_TITLE = re.compile(rf"(?:^|\s)(?:redis|valkey|keydb)-({'|'.join(_CHILD_KINDS)})(?=\s|$)")

_REFUSED = (errno.EACCES, errno.EPERM)


class ProcessFiles:
    """The files of one process. What is refused is remembered by name, for one gap in the end."""

    def __init__(self, system: System, pid: int) -> None:
        self.system = system
        self.pid = pid
        self.refused: list[str] = []

    def text(self, name: str, what: str | None = None, limit_bytes: int = 65536) -> str | None:
        """A file as text; None where it can't be read."""
        data = self.data(name, what, limit_bytes)
        return None if data is None else to_utf8(data)

    def data(self, name: str, what: str | None = None, limit_bytes: int = 65536) -> bytes | None:
        """The same as bytes. ``what`` names in plain words what is missing where the kernel refuses it."""
        try:
            return self.system.read_bytes(f"/proc/{self.pid}/{name}", limit_bytes)
        except OSError as error:
            self.note(error, what)
            return None

    def integer(self, name: str) -> int | None:
        """A file that holds one number."""
        try:
            return int(self.text(name) or "")
        except ValueError:
            return None

    def note(self, error: OSError, what: str | None) -> None:
        """Remember a refusal; a file that this kernel doesn't have is none."""
        if what is not None and error.errno in _REFUSED and what not in self.refused:
            self.refused.append(what)


def collect_process(system: System, pid: int, gaps: Gaps, deep: bool = False) -> dict[str, t.Any] | None:
    """PROCESS of docs/evidence.md, or None for a process that isn't there (any more).

    :param deep: walk the page tables of a large server too.
    """
    files = ProcessFiles(system, pid)
    stat = _read_stat(files)
    if stat is None:
        return None
    status = _proc_text.parse_fields(files.text("status", "status") or "")
    process = _identity(files, stat, status)
    process.update(_credentials(files, status))
    process.update(_memory(files, status, deep, gaps))
    real_uid = process["uid"]["real"]
    version = kernel_version(system)
    process.update(
        threads=stat.threads,
        uid_threads=None if real_uid is None else count_threads_of_uid(system, pid, real_uid, version, gaps),
        open_files=_count_open_files(files),
        limits=_proc_text.parse_limits(files.text("limits", "resource limits") or ""),
        oom_score_adj=files.integer("oom_score_adj"),
        oom_score=files.integer("oom_score"),
        numa=_numa(files, status, process["memory_detail"] == "smaps"),
        namespaces=describe_namespaces(system, pid, lambda error: files.note(error, "namespaces")),
        children=collect_children(system, pid),
        timezone=_timezone(files),
    )
    process["user"] = _user_name(files, process)
    now = _read_stat(files)
    if now is None or now.start_ticks != stat.start_ticks:
        return None
    if files.refused:
        gaps.add(f"process: {', '.join(files.refused)}", "Permission denied: the process is another user's", REMEDY)
    return process


def collect_children(system: System, pid: int) -> list[dict[str, t.Any]]:
    """The children of a process, oldest pid first; those that end meanwhile are left out."""
    children = []
    for child_pid in children_of(system, pid)[:CHILDREN_LIMIT]:
        files = ProcessFiles(system, child_pid)
        stat = _read_stat(files)
        if stat is None or stat.parent_pid != pid:
            continue
        status = _proc_text.parse_fields(files.text("status") or "")
        child = _identity(files, stat, status)
        ticks = stat.user_ticks + stat.system_ticks
        children.append(
            {
                "pid": child_pid,
                "pid_in_namespace": child["pid_in_namespace"],
                "command": child["command"],
                "title": child["title"],
                "state": child["state"],
                "started_unix": child["started_unix"],
                "kind": child_kind(child["title"]),
                "oom_score_adj": files.integer("oom_score_adj"),
                "cpu_seconds": round(ticks / ticks_per_second(), 2),
                "wait_channel": _wait_channel(files),
                "kernel_stack": None,
                "written_bytes": _written_bytes(files),
            }
        )
    return children


def child_kind(title: str) -> str:
    """What a child does, by its title. With ``set-proc-title no`` the title is the server's: unknown."""
    match = _CHILD_TITLE.search(title)
    return _CHILD_KINDS[match.group(1)] if match else "unknown"


def ticks_per_second() -> int:
    """The unit of the times in /proc/PID/stat."""
    return os.sysconf("SC_CLK_TCK")


def kernel_version(system: System) -> tuple[int, int] | None:
    """(6, 18) from /proc/sys/kernel/osrelease."""
    match = re.match(r"(\d+)\.(\d+)", system.try_read_text("/proc/sys/kernel/osrelease") or "")
    return (int(match.group(1)), int(match.group(2))) if match else None


def _read_stat(files: ProcessFiles) -> _proc_text.Stat | None:
    return _proc_text.parse_stat(files.text("stat") or "")


def _identity(files: ProcessFiles, stat: _proc_text.Stat, status: dict[str, str]) -> dict[str, t.Any]:
    boot_unix = _proc_text.parse_boot_time(files.system.try_read_text("/proc/stat") or "")
    started = None if boot_unix is None else round(boot_unix + stat.start_ticks / ticks_per_second(), 2)
    # One pid for each namespace from the reader's down to the process's own; not there before 4.1.
    pids = _proc_text.field_integers(status, "NSpid")
    return {
        "pid": files.pid,
        "pid_in_namespace": pids[-1] if pids else None,
        "parent_pid": stat.parent_pid,
        "command": stat.command,
        "title": parse_title(files.data("cmdline") or b"") or stat.command,
        "started_unix": started,
        "state": stat.state,
    }


def _credentials(files: ProcessFiles, status: dict[str, str]) -> dict[str, t.Any]:
    no_new_privileges = _proc_text.field_integer(status, "NoNewPrivs")
    return {
        "uid": _real_and_effective(status, "Uid"),
        "gid": _real_and_effective(status, "Gid"),
        "groups": _proc_text.field_integers(status, "Groups"),
        "user": None,
        "capabilities_effective": _proc_text.parse_capabilities(status.get("CapEff", "")),
        "no_new_privileges": None if no_new_privileges is None else no_new_privileges == 1,
        "seccomp_mode": _proc_text.field_integer(status, "Seccomp"),
        "security_label": _security_label(files),
    }


def _real_and_effective(status: dict[str, str], name: str) -> dict[str, int | None]:
    ids = _proc_text.field_integers(status, name)
    return {"real": ids[0], "effective": ids[1]} if len(ids) > 1 else {"real": None, "effective": None}


def _security_label(files: ProcessFiles) -> str | None:
    label = files.text("attr/current", "security label") or ""
    return label.replace("\0", "").strip() or None


def _memory(files: ProcessFiles, status: dict[str, str], deep: bool, gaps: Gaps) -> dict[str, t.Any]:
    resident = _proc_text.field_bytes(status, "VmRSS")
    walk = deep or (resident is not None and resident < SMALL_SERVER_BYTES)
    mappings = _read_mappings(files, "smaps" if walk else "maps", gaps)
    thp_enabled = _proc_text.field_integer(status, "THP_enabled")
    return {
        "thp_enabled": None if thp_enabled is None else thp_enabled == 1,
        "anonymous_huge_pages_bytes": mappings.anonymous_huge_pages_bytes if mappings else None,
        "resident_bytes": resident,
        "swapped_bytes": _proc_text.field_bytes(status, "VmSwap"),
        "virtual_bytes": _proc_text.field_bytes(status, "VmSize"),
        "data_bytes": _proc_text.field_bytes(status, "VmData"),
        "page_tables_bytes": _proc_text.field_bytes(status, "VmPTE"),
        "private_writable_bytes": mappings.private_writable_bytes if mappings else None,
        "accounted_bytes": mappings.accounted_bytes if mappings else None,
        "largest_private_mapping_bytes": mappings.largest_private_mapping_bytes if mappings else None,
        "memory_detail": "smaps" if walk else "maps",
    }


def _read_mappings(files: ProcessFiles, name: str, gaps: Gaps) -> _proc_text.MemoryMappings | None:
    text = files.text(name, "memory mappings", MAPPINGS_LIMIT_BYTES)
    if not text:  # refused, or a process that is about to end has none
        return None
    if len(text) >= MAPPINGS_LIMIT_BYTES:
        gaps.add(
            "process: memory mappings",
            f"/proc/{files.pid}/{name} is larger than {MAPPINGS_LIMIT_BYTES} bytes",
            "None: the server has more mappings than are worth reading; look at VmData instead.",
        )
        return None
    return _proc_text.parse_smaps(text) if name == "smaps" else _proc_text.parse_maps(text)


def _count_open_files(files: ProcessFiles) -> int | None:
    try:
        return len(os.listdir(files.system.path(f"/proc/{files.pid}/fd")))
    except OSError as error:
        files.note(error, "open files")
        return None


def _numa(files: ProcessFiles, status: dict[str, str], walk: bool) -> dict[str, t.Any]:
    # Like smaps, numa_maps walks the page tables of every mapping that it prints.
    text = files.text("numa_maps", "memory policy", MEMORY_POLICY_LIMIT_BYTES) if walk else None
    return {
        "policy": _proc_text.parse_memory_policy(text or ""),
        "memory_nodes_allowed": status.get("Mems_allowed_list"),
        "cpus_allowed": status.get("Cpus_allowed_list"),
    }


def _timezone(files: ProcessFiles) -> str | None:
    environment = files.data("environ", "time zone", ENVIRONMENT_LIMIT_BYTES)
    return _proc_text.parse_environment_variable(environment or b"", "TZ") or None


def _user_name(files: ProcessFiles, process: dict[str, t.Any]) -> str | None:
    """The name of the effective uid, as the process's own root knows it where that is not the host's."""
    uid = process["uid"]["effective"]
    if uid is None:
        return None
    if process["namespaces"]["mount"]["is_host"] is False:
        name = _user_name_inside(files, uid)
        if name is not None:
            return name
    name = _proc_text.find_user_name(files.system.try_read_text("/etc/passwd") or "", uid)
    if name is None and files.system.root == "/":
        try:
            return clean_text(pwd.getpwuid(uid).pw_name)
        except KeyError:
            return None
    return name


def _user_name_inside(files: ProcessFiles, uid: int) -> str | None:
    inside = _proc_text.map_id_into_namespace(files.text("uid_map") or "", uid)
    passwd = files.text("root/etc/passwd", None, 1024 * 1024)
    return None if inside is None or passwd is None else _proc_text.find_user_name(passwd, inside)


def _wait_channel(files: ProcessFiles) -> str | None:
    channel = (files.text("wchan") or "").strip()
    return channel if channel not in ("", "0") else None


def _written_bytes(files: ProcessFiles) -> int | None:
    """What the child has handed to write(2): it grows while a save gets on, on tmpfs too."""
    return _proc_text.field_integer(_proc_text.parse_fields(files.text("io") or ""), "wchar")
