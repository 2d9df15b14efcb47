# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Pure parsers of the text files of /proc/PID (proc(5))."""

from __future__ import annotations

import re
import typing as t

# Numbers of include/uapi/linux/capability.h, in order.
CAPABILITY_NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

# First column of /proc/PID/limits (fs/proc/base.c) and the name that the evidence uses.
LIMIT_NAMES = {
    "Max processes": "nproc",
    "Max file size": "fsize",
    "Max open files": "nofile",
    "Max cpu time": "cpu",
    "Max address space": "as",
    "Max data size": "data",
    "Max locked memory": "memlock",
    "Max core file size": "core",
}
_LIMIT = re.compile(r"(?m)^(Max [a-z ]+?) {2,}(unlimited|\d+) +(unlimited|\d+)")

_MAPPING = r"^([0-9a-f]+)-([0-9a-f]+) ([-r][-w][-x][-ps]) "
_MAPS = re.compile(f"(?m){_MAPPING}")
_SMAPS = re.compile(rf"(?m){_MAPPING}|^AnonHugePages: +(\d+) kB|^VmFlags:(.*)$")


class Stat(t.NamedTuple):
    """What is used of /proc/PID/stat; times in clock ticks."""

    command: str
    state: str
    parent_pid: int
    user_ticks: int
    system_ticks: int
    threads: int
    start_ticks: int


class MemoryMappings(t.NamedTuple):
    """Sums over the mappings of a process, in bytes; None where the file read doesn't say."""

    private_writable_bytes: int
    largest_private_mapping_bytes: int
    accounted_bytes: int | None
    anonymous_huge_pages_bytes: int | None


def parse_stat(text: str) -> Stat | None:
    """/proc/PID/stat; None where it is not one. The command may hold spaces and parentheses."""
    head, closing, tail = text.rpartition(")")
    fields = tail.split()
    if not closing or len(fields) < 20:
        return None
    command = head.partition("(")[2]
    # The fields after the command start with the third of proc(5), the state.
    return Stat(
        command=command,
        state=fields[0],
        parent_pid=int(fields[1]),
        user_ticks=int(fields[11]),
        system_ticks=int(fields[12]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


def parse_fields(text: str) -> dict[str, str]:
    """Lines ``Name:  value`` (/proc/PID/status, /proc/PID/io, /proc/meminfo) as a dict."""
    fields = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip()] = value.strip()
    return fields


def field_integer(fields: dict[str, str], name: str) -> int | None:
    """A field that is a plain number."""
    value = fields.get(name, "")
    return int(value) if value.isdigit() else None


def field_integers(fields: dict[str, str], name: str) -> list[int]:
    """A field that is a list of numbers (``Uid``, ``Groups``, ``NSpid``)."""
    return [int(word) for word in fields.get(name, "").split() if word.isdigit()]


def field_bytes(fields: dict[str, str], name: str) -> int | None:
    """A field in kB, in bytes."""
    number, _space, unit = fields.get(name, "").partition(" ")
    return int(number) * 1024 if number.isdigit() and unit == "kB" else None


def parse_limits(text: str) -> dict[str, dict[str, int | str]]:
    """/proc/PID/limits: ``{nproc: {soft, hard}, ..}``, bytes, seconds or counts, or ``unlimited``."""
    limits: dict[str, dict[str, int | str]] = {}
    for label, soft, hard in _LIMIT.findall(text):
        if label in LIMIT_NAMES:
            limits[LIMIT_NAMES[label]] = {"soft": _limit_value(soft), "hard": _limit_value(hard)}
    return limits


def _limit_value(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def parse_capabilities(mask: str) -> list[str] | None:
    """A mask of /proc/PID/status as names; one that this list doesn't know is ``CAP_<number>``."""
    try:
        bits = int(mask, 16)
    except ValueError:
        return None
    names = []
    for number in range(bits.bit_length()):
        if bits >> number & 1:
            names.append(CAPABILITY_NAMES[number] if number < len(CAPABILITY_NAMES) else f"CAP_{number}")
    return names


def parse_maps(text: str) -> MemoryMappings:
    """/proc/PID/maps. Which mappings are accounted for, it doesn't say."""
    total = largest = 0
    for start, end, permissions in _MAPS.findall(text):
        if _is_private_writable(permissions):
            size = int(end, 16) - int(start, 16)
            total += size
            largest = max(largest, size)
    return MemoryMappings(total, largest, None, None)


def parse_smaps(text: str) -> MemoryMappings:
    """/proc/PID/smaps. ``ac`` in VmFlags (VM_ACCOUNT) marks what fork is charged for (kernel/fork.c, dup_mmap)."""
    total = largest = accounted = huge = size = 0
    for match in _SMAPS.finditer(text):
        start, end, permissions, huge_kilobytes, flags = match.groups()
        if start is not None:
            size = int(end, 16) - int(start, 16)
            if _is_private_writable(permissions):
                total += size
                largest = max(largest, size)
        elif huge_kilobytes is not None:
            huge += int(huge_kilobytes) * 1024
        elif "ac" in flags.split():
            accounted += size
    return MemoryMappings(total, largest, accounted, huge)


def _is_private_writable(permissions: str) -> bool:
    return permissions[1] == "w" and permissions[3] == "p"


def parse_boot_time(text: str) -> int | None:
    """When the machine started, from /proc/stat: seconds since the epoch."""
    match = re.search(r"(?m)^btime (\d+)", text)
    return int(match.group(1)) if match else None


def parse_namespace(link: str) -> int | None:
    """The inode in a link of /proc/PID/ns, ``mnt:[4026531841]``."""
    match = re.fullmatch(r"[a-z_]+:\[(\d+)\]", link)
    return int(match.group(1)) if match else None


def parse_environment_variable(environment: bytes, name: str) -> str | None:
    """One variable of /proc/PID/environ."""
    # Not split: a server that sets its title leaves thousands of NULs here.
    _before, found, rest = (b"\0" + environment).partition(b"\0" + name.encode() + b"=")
    return rest.partition(b"\0")[0].decode("utf-8", errors="backslashreplace") if found else None


def parse_memory_policy(text: str) -> str | None:
    """The policy of the first mapping in /proc/PID/numa_maps, without its nodes: default, bind, interleave, .."""
    words = text.split("\n", 1)[0].split()
    # `prefer (many):0` and `weighted interleave:0` are two words.
    return re.split(r"[:=\s(]", words[1])[0] if len(words) > 1 else None


def map_id_into_namespace(id_map: str, outside_id: int) -> int | None:
    """An id of the host as a user namespace has it (lines ``inside outside count`` of /proc/PID/uid_map)."""
    for line in id_map.splitlines():
        fields = [int(word) for word in line.split() if word.isdigit()]
        if len(fields) == 3 and fields[1] <= outside_id < fields[1] + fields[2]:
            return fields[0] + outside_id - fields[1]
    return None


def find_user_name(passwd: str, uid: int) -> str | None:
    """The name of ``uid`` in the text of a passwd(5) file."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    return None
