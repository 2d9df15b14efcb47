# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine and a server are like at one moment, seen without the code under test, and what differs between two.

Differences are told in the words of ``_changes.py``, so that they can be held against what a run says that it changed.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import stat
import struct
import typing as t
from pathlib import Path

from ansible_collections.redisops.persistence.plugins.module_utils import _changes

from .bench import HUGE_PAGES, OVERCOMMIT
from .resp import ReplyError
from .servers import Server, process_state

GET_FLAGS = 0x80086601
"""FS_IOC_GETFLAGS of linux/fs.h on 64 bits."""
FLAG_LETTERS = ((0x10, "i"), (0x20, "a"))
KEPT_CONTENT_BYTES = 64 * 1024
LIMITS = {"Max processes": "nproc", "Max file size": "fsize"}
CGROUP_LIMITS = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max", "pids.max")}
CGROUP1_UNLIMITED_BYTES = 1 << 62
HOST_DIRECTORIES = (
    "/etc/cron.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/tmpfiles.d",
    "/etc/tuned",
    "/root/.ssh",
    "/usr/lib/sysctl.d",
    "/var/spool/cron",
)
HOST_FILES = ("/", "/etc", "/root", "/etc/crontab", "/etc/passwd", "/etc/rc.local", "/etc/shadow", "/etc/sysctl.conf")

READING = frozenset(
    """
    acl|dryrun acl|getuser acl|whoami auth client|setinfo command config|get hello info lastsave ping role select
    """.split()
)
"""Commands that change nothing. What a run in check mode may send is among these."""
FORBIDDEN = frozenset("acl config|resetstat debug flushall flushdb module save shutdown".split())
"""Commands, or the first words of such, that no remediation ever sends."""
ASKED_ONLY = frozenset(("acl|list", "module|list"))
"""What changes nothing all the same; the users are compared with the file before it is rewritten."""
RECORDING = {"slowlog-log-slower-than": "0", "slowlog-max-len": "1000"}
"""Settings with which a server keeps every command that it is sent, also those that MONITOR does not show."""

Change = tuple[t.Optional[str], str, t.Any, t.Any]
"""Address (None: the host), what, before, after."""


class Entry(t.NamedTuple):
    """One name in a directory. ``content``: the bytes of a small file, the digest of a large one, a link's target."""

    kind: str
    uid: int
    gid: int
    mode: int
    size: int
    modified_ns: int
    attributes: str
    content: t.Any


@dataclasses.dataclass(frozen=True)
class HostState:
    settings: dict[str, str]
    files: dict[str, Entry]


@dataclasses.dataclass(frozen=True)
class ServerState:
    """``config`` and ``info`` are empty where the server does not answer."""

    files: dict[str, Entry]
    config: dict[str, str]
    info: dict[str, str]
    limits: dict[str, t.Any]
    groups: dict[tuple[str, str], t.Any]
    process: tuple[int, str]


# Files


def kind_of(status: os.stat_result) -> str:
    for test, name in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link")):
        if test(status.st_mode):
            return name
    return "other"


def attributes_of(path: str) -> str:
    """Immutable and append-only as letters."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        flags = struct.unpack("i", fcntl.ioctl(descriptor, GET_FLAGS, struct.pack("i", 0)))[0]
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return "".join(letter for flag, letter in FLAG_LETTERS if flags & flag)


def content_of(path: str, size: int) -> t.Any:
    with open(path, "rb") as stream:
        return stream.read() if size <= KEPT_CONTENT_BYTES else hashlib.file_digest(stream, "sha256").hexdigest()


def entry_of(path: str) -> Entry:
    status = os.lstat(path)
    kind = kind_of(status)
    attributes, content = "", None
    if kind in ("file", "directory"):
        attributes = attributes_of(path)
    if kind == "file":
        content = content_of(path, status.st_size)
    elif kind == "link":
        content = os.readlink(path)
    return Entry(
        kind,
        status.st_uid,
        status.st_gid,
        stat.S_IMODE(status.st_mode),
        status.st_size if kind == "file" else 0,
        status.st_mtime_ns,
        attributes,
        content,
    )


def tree(*roots: str) -> dict[str, Entry]:
    """Every name below these, links not followed; what is not there is left out."""
    found: dict[str, Entry] = {}
    for root in roots:
        paths = [root]
        for directory, directories, files in os.walk(root):
            paths += [os.path.join(directory, name) for name in directories + files]
        for path in paths:
            if os.path.lexists(path):
                found[path] = entry_of(path)
    return found


# The machine


def host_state() -> HostState:
    """What remediation may change of the machine, and what it never may."""
    settings = {
        _changes.sysctl(f"vm.{name}"): (OVERCOMMIT / name).read_text().strip()
        for name in ("overcommit_memory", "overcommit_ratio", "overcommit_kbytes")
    }
    if HUGE_PAGES.exists():
        settings[_changes.huge_pages()] = HUGE_PAGES.read_text().split("[")[1].split("]")[0]
    settings["mounts"] = "\n".join(sorted(mounts_of_the_system()))
    files = tree(*HOST_DIRECTORIES)
    files.update((path, entry_of(path)) for path in HOST_FILES if os.path.lexists(path))
    return HostState(settings, files)


def mounts_of_the_system() -> list[str]:
    """Mount points and their options, without those of labs (several can run at once)."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [f"{fields[1]} {fields[3].split(',')[0]}" for fields in lines if "redisops-lab-" not in fields[1]]


# A server


def limits_of(pid: int) -> dict[str, t.Any]:
    """Soft limits by the name that a change uses."""
    limits: dict[str, t.Any] = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        name, soft = line[:26].strip(), line[26:].split()[0]
        limits[LIMITS.get(name, name)] = int(soft) if soft.isdigit() else soft
    return limits


def groups_of(pid: int) -> dict[tuple[str, str], t.Any]:
    """Limits of memory and processes of every control group that the process is in, by controller and path."""
    found: dict[tuple[str, str], t.Any] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        for controller, (first, second) in CGROUP_LIMITS.items():
            if controllers and controller not in controllers.split(","):
                continue
            root = Path("/sys/fs/cgroup", controller if controllers else "")
            name = first if controllers else second
            for group in [Path(path), *Path(path).parents]:
                file = root / str(group).lstrip("/") / name
                if file.exists():
                    found[controller, str(group)] = group_limit(file.read_text().strip())
    return found


def group_limit(text: str) -> t.Any:
    return "unlimited" if text == "max" or int(text) >= CGROUP1_UNLIMITED_BYTES else int(text)


def answers(server: Server, *arguments: str) -> t.Any:
    """A reply, or nothing where the server is not there or refuses."""
    if process_state(server.pid) in (None, "T", "Z"):
        return None
    try:
        return server.call(*arguments)
    except (OSError, ReplyError):
        server.reconnect()
        return None


def server_state(server: Server) -> ServerState:
    pairs = answers(server, "CONFIG", "GET", "*") or []
    text = answers(server, "INFO", "persistence") or ""
    process = Path(f"/proc/{server.pid}")
    is_there = server.pid and process.exists()
    return ServerState(
        files=tree(str(server.base)),
        config=dict(zip(pairs[::2], pairs[1::2])),
        info=dict(line.split(":", 1) for line in text.splitlines() if ":" in line),
        limits=limits_of(server.pid) if is_there else {},
        groups=groups_of(server.pid) if is_there else {},
        process=(server.pid, process.joinpath("stat").read_text().rpartition(")")[2].split()[19] if is_there else ""),
    )


def states_of(servers: t.Iterable[Server]) -> dict[str, ServerState]:
    return {server.address: server_state(server) for server in servers}


# Commands


def forget_commands(server: Server) -> None:
    answers(server, "SLOWLOG", "RESET")


def commands_sent(server: Server) -> list[str]:
    """What others have sent since :func:`forget_commands`, as ``config|get`` or ``bgsave``."""
    entries = answers(server, "SLOWLOG", "GET", "1000") or []
    return [words for words in map(command_words, (entry[3] for entry in entries)) if not words.startswith("slowlog")]


def forbidden_commands(server: Server) -> list[str]:
    """What was sent although it never may be."""
    return [
        words
        for words in commands_sent(server)
        if words not in READING | ASKED_ONLY and (words in FORBIDDEN or words.partition("|")[0] in FORBIDDEN)
    ]


def command_words(arguments: list[str]) -> str:
    first = arguments[0].lower()
    with_subcommand = first in ("acl", "client", "config", "debug", "module", "slowlog") and len(arguments) > 1
    return f"{first}|{arguments[1].lower()}" if with_subcommand else first


def digest_of(server: Server) -> str | None:
    """One text for all keys and values: the server's own digest where it gives one, else that of a full scan.

    None where the server does not answer.
    """
    size = answers(server, "DBSIZE")
    if size is None:
        return None
    own = answers(server, "DEBUG", "DIGEST")
    return f"{size} keys, {own or scan_digest(server)}"


def scan_digest(server: Server) -> str:
    """Every key of database 0 with its serialized value."""
    values = []
    cursor = "0"
    while True:
        cursor, keys = server.call("SCAN", cursor, "COUNT", "1000")
        for key in keys:
            values.append((key, server.call("DUMP", key), server.call("PTTL", key) >= 0))
        if cursor == "0":
            return f"scan {len(set(values))} {hashlib.sha256(repr(sorted(set(values))).encode()).hexdigest()}"


# Differences


def file_changes(before: dict[str, Entry], after: dict[str, Entry]) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    """Differences of two trees by name; times are left to :func:`untouched`."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            yield one_sided(path, old, new)
            continue
        if old.kind != new.kind:
            yield one_sided(path, old, None)
            yield one_sided(path, None, new)
            continue
        if (old.uid, old.gid) != (new.uid, new.gid):
            yield _changes.owner(path), f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"
        if old.mode != new.mode:
            yield _changes.mode(path), f"{old.mode:04o}", f"{new.mode:04o}"
        if old.attributes != new.attributes:
            yield _changes.attributes(path), old.attributes, new.attributes
        if old.content != new.content:
            yield _changes.file_content(path), as_text(old), as_text(new)


def one_sided(path: str, old: Entry | None, new: Entry | None) -> tuple[str, t.Any, t.Any]:
    """A name that came or went."""
    present = t.cast(Entry, old or new)
    if present.kind == "directory":
        return _changes.directory(path), old and "present", new and "present"
    if old is not None and os.path.basename(path).startswith("temp-"):
        return _changes.temporary_file(path), old.size, None
    return _changes.file_content(path), as_text(old), as_text(new)


def as_text(entry: Entry | None) -> t.Any:
    if entry is None:
        return None
    return entry.content.decode("utf-8", "replace") if isinstance(entry.content, bytes) else entry.content


def server_changes(server: Server, before: ServerState, after: ServerState) -> set[Change]:
    """All that differs of one server, but for its own log and for what a save leaves behind."""
    found: set[Change] = set()

    def add(what: str, old: t.Any, new: t.Any) -> None:
        found.add((server.address, what, old, new))

    saved = before.info.get("rdb_last_save_time") != after.info.get("rdb_last_save_time") or wrote_dump(
        server, before, after
    )
    if saved:
        add(_changes.SAVE, before.info.get("rdb_last_bgsave_status"), after.info.get("rdb_last_bgsave_status"))
    for what, old, new in file_changes(before.files, after.files):
        if what.endswith(f" {server.log_path}") or saved and what == _changes.file_content(str(server.dump)):
            continue
        if what == _changes.file_content(str(server.config_path)):
            add(_changes.configuration_file(str(server.config_path)), "as at the start", "running values")
            continue
        add(what, old, new)
    for name in before.config.keys() | after.config.keys():
        if before.config.get(name) != after.config.get(name):
            add(_changes.parameter(name), before.config.get(name), after.config.get(name))
    for name, value in before.limits.items():
        if after.limits.get(name) != value:
            add(_changes.process_limit(name), value, after.limits.get(name))
    for (controller, path), value in before.groups.items():
        if after.groups.get((controller, path)) != value:
            add(_changes.control_group(controller, path), value, after.groups.get((controller, path)))
    if before.process != after.process:
        add("process", str(before.process), str(after.process))
    return found


def wrote_dump(server: Server, before: ServerState, after: ServerState) -> bool:
    old, new = before.files.get(str(server.dump)), after.files.get(str(server.dump))
    return new is not None and new.kind == "file" and (old is None or old.modified_ns != new.modified_ns)


def host_changes(before: HostState, after: HostState) -> set[Change]:
    """All that differs of the machine."""
    found: set[Change] = {(None, *change) for change in file_changes(before.files, after.files)}
    for name, value in before.settings.items():
        if after.settings[name] != value:
            found.add((None, name, value, after.settings[name]))
    return found


def changes_between(
    servers: t.Iterable[Server],
    hosts: tuple[HostState, HostState],
    states: tuple[dict[str, ServerState], dict[str, ServerState]],
) -> set[Change]:
    found = host_changes(*hosts)
    for server in servers:
        found |= server_changes(server, states[0][server.address], states[1][server.address])
    return found


def untouched(server: Server, before: ServerState, after: ServerState) -> list[str]:
    """What differs although nothing may, times of files included; empty where all is as it was."""
    differences = [
        f"{what}: {old!r} is now {new!r}" for _address, what, old, new in server_changes(server, before, after)
    ]
    for path in before.files.keys() & after.files.keys():
        if before.files[path].modified_ns != after.files[path].modified_ns:
            differences.append(f"{path} was written to")
    for name in ("rdb_last_bgsave_status", "rdb_saves", "rdb_bgsave_in_progress", "rdb_last_save_time"):
        if before.info.get(name) != after.info.get(name):
            differences.append(f"{name}: {before.info.get(name)} is now {after.info.get(name)}")
    return differences
