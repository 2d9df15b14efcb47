# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What CONFIG REWRITE would lose, seen before it is sent; what it did to the file, seen after it.

The server writes every running value to a new file and renames that over the old one (config.c:rewriteConfig). Seen on
Redis 6.2, 7.0 and Valkey 9.1: comments and ``rename-command`` lines stay; the ``dir`` line goes where the running
``dir`` is empty; edits that are not in force are undone; values of included files, of ACL users and of a master set at
run time are copied into the file; a link becomes a file; the mode becomes 0644 less the server's umask.

The file is looked at through one handle of its directory, held from before the rewrite: what is put back can only be
what lay there, whoever may swap names above it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import secrets
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._config_drift import (
    DIRECTIVES,
    LAUNCH_NAMES,
    Drift,
    clean_sentence,
    file_settings,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import TOTAL_BYTES_LIMIT, parse_lines
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import in_force, is_secret, kind_name
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import walk
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

NEW_FILE_MODE = 0o644
"""config.c:rewriteConfigOverwriteFile, less the server's umask."""
NEVER_MADE_PERMANENT = frozenset({"replicaof"})
"""A master is given by whoever manages replication; what was set at run time may be a Sentinel's or an intruder's."""
START_TOLERANCE_SECONDS = 0.2
"""The start of a process is counted in hundredths of a second, and its file may be written just before."""

_PASSWORD_RULE = re.compile(r"[>#]")


class FileState(t.NamedTuple):
    """A configuration file at one moment. ``changed_unix``: of its content, name or mode, whichever is latest."""

    content: bytes
    mode: int
    uid: int
    gid: int
    link_count: int
    changed_unix: float
    directory_mode: int


class ConfigPlace:
    """A name in a directory that is held open."""

    def __init__(self, handle: int, name: str) -> None:
        self._handle = handle
        self._name = name

    def close(self) -> None:
        os.close(self._handle)

    def is_link(self) -> bool:
        """Whether the name leads elsewhere. Raises OSError."""
        return stat.S_ISLNK(os.stat(self._name, dir_fd=self._handle, follow_symlinks=False).st_mode)

    def read(self) -> FileState:
        """The file itself, never what a link leads to. Raises OSError."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self._name, flags, dir_fd=self._handle), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            content = file.read(TOTAL_BYTES_LIMIT + 1)
        if len(content) > TOTAL_BYTES_LIMIT:
            raise OSError(f"larger than {TOTAL_BYTES_LIMIT} bytes")
        return FileState(
            content,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_nlink,
            max(status.st_mtime, status.st_ctime),
            stat.S_IMODE(os.stat(self._handle).st_mode),
        )

    def put_back(self, before: FileState) -> None:
        """The file with content, owner and mode as they were. Raises OSError."""
        temporary = f".{self._name[:100]}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=self._handle)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(before.content)
                file.flush()
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, before.uid, before.gid)
                os.fchmod(descriptor, before.mode)
                os.fsync(descriptor)
            os.rename(temporary, self._name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._handle)
            raise


def open_place(system: System, pid: int, path: str) -> ConfigPlace | None:
    """The file that a server calls ``path``, in its own root directory; None where its directory can't be reached."""
    looked_up = walk(system.path(f"/proc/{pid}/root"), os.path.dirname(path))
    if looked_up.handle is None:
        return None
    handle, looked_up.handle = looked_up.handle, None
    return ConfigPlace(handle, os.path.basename(path))


def server_umask(system: System, pid: int) -> int | None:
    """None where it can't be read (before Linux 4.7)."""
    text = parse_fields(system.try_read_text(f"/proc/{pid}/status", 65536) or "").get("Umask", "")
    return int(text, 8) if re.match(r"[0-7]{1,4}\Z", text) else None


def process_start_unix(system: System, pid: int) -> float | None:
    """When a process started, by the clock that files are dated with; to about a fiftieth of a second."""
    fields = (system.try_read_text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    uptime = (system.try_read_text("/proc/uptime") or "").split()
    try:
        # Field 22 of proc_pid_stat(5); the name before it may have blanks.
        return system.clock() - (float(uptime[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (IndexError, ValueError):
        return None


def parsed(content: bytes) -> list[list[str]]:
    """The lines of the file itself, includes as they stand there."""
    return parse_lines(content.decode("utf-8", errors="surrogateescape"))


# Before --------------------------------------------------------------------------------------------------------------


def why_directory_would_go(running: t.Mapping[str, str]) -> str | None:
    """Why a rewrite would take the ``dir`` line out of the file.

    :param running: all parameters, as CONFIG GET gives them.
    """
    directory = running.get("dir")
    if directory is None or directory.startswith("/"):
        return None
    return (
        "The running dir is empty (the data directory was deleted or unmounted under the server): CONFIG REWRITE would "
        "take the dir line out of the file, and the next start would look for its dump elsewhere. Put the directory "
        "right first."
    )


def why_lines_would_change(
    drift: Drift,
    file: FileState,
    started_unix: float | None,
    own_in_file: t.Mapping[str, str],
) -> str | None:
    """Why a rewrite would undo or freeze lines that are not ours, whoever asks for it.

    :param own_in_file: {our parameter: what the file had when we set it}.
    """
    edited = [
        name
        for name, (written, _running) in drift.own.items()
        if written is not None and name in own_in_file and not in_force(name, own_in_file[name], written)
    ]
    if edited:
        return f"Somebody has changed the file since: {clean_sentence(edited)}. A rewrite would undo that."
    if any(line[0] == "include" for line in parsed(file.content)):
        return (
            "The file includes others: a rewrite would copy their values into it, and later changes of the included "
            "files would have no effect."
        )
    frozen = [name for name in drift.foreign if name in NEVER_MADE_PERMANENT or is_secret(name) or " " in name]
    if frozen:
        return f"It was set at run time, and would become permanent: {clean_sentence(frozen)}."
    if not drift.foreign:
        return None
    if started_unix is None or file.changed_unix > started_unix + START_TOLERANCE_SECONDS:
        return (
            f"The file was changed after the start of the server, and differs: {clean_sentence(drift.foreign)}. "
            "These may be edits that are not in force yet, which a rewrite would undo. Bring them into force (CONFIG "
            "SET, or a restart) or write the running values into the file by hand."
        )
    return None


WHY_NO_LINK = "The file is a symbolic link: a rewrite would put a file of its own in the link's place."


def why_file_would_suffer(file: FileState, umask: int | None) -> str | None:
    """Why the new file would be another kind of file than the old one."""
    if file.link_count > 1:
        return "The file has another name (a hard link): a rewrite would part the two."
    mode = NEW_FILE_MODE & ~(0 if umask is None else umask)
    is_opened = mode & ~file.mode & 0o044 and (file.directory_mode & 0o011)
    if is_opened and holds_secret(parsed(file.content)):
        return (
            f"The file holds passwords and has mode {file.mode:04o}: a rewrite makes that {mode:04o}, so that others "
            "could read them. Give the server a umask of 0077 (UMask= of its unit) first, or edit the file by hand."
        )
    return None


def holds_secret(lines: t.Iterable[list[str]]) -> bool:
    """Whether a file has a password, or the hash of one."""
    return any(
        (is_secret(line[0]) and any(line[1:]))
        or (line[0] == "user" and any(_PASSWORD_RULE.match(rule) for rule in line[2:]))
        or (line[0] == "sentinel" and len(line) > 1 and is_secret(line[1].replace("auth-pass", "passw")))
        for line in lines
    )


# After ---------------------------------------------------------------------------------------------------------------


def lost_lines(before: bytes, after: bytes, allowed: t.Container[str]) -> list[str]:
    """Names of what a rewrite has lost or changed that it was not meant to; [] where all is as it was.

    :param allowed: parameters (in one spelling) whose lines may differ. Values are compared, and not kept.
    """
    lost: list[str] = []
    lines_before, lines_after = parsed(before), parsed(after)
    old, new = file_settings(lines_before), file_settings(lines_after)
    for name, value in old.items():
        if name in allowed or name in LAUNCH_NAMES or name == "sentinel":
            continue
        if name not in new and any(_is_same(name, value, new[other]) for other in new.keys() - old.keys()):
            continue  # written by a newer name of it
        if name not in new or not _is_same(name, value, new[name]):
            lost.append(name)
    for directive in (*sorted(DIRECTIVES - {"user"}), "sentinel"):
        kept = collections.Counter(tuple(line) for line in lines_after if line[0] == directive)
        if collections.Counter(tuple(line) for line in lines_before if line[0] == directive) - kept:
            lost.append(directive)
    users_after = {line[1] for line in lines_after if line[0] == "user" and len(line) > 1}
    if {line[1] for line in lines_before if line[0] == "user" and len(line) > 1} - users_after:
        lost.append("user")
    if collections.Counter(_comments(before)) - collections.Counter(_comments(after)):
        lost.append("comments")
    return lost


def _is_same(name: str, old: str, new: str) -> bool:
    if old == new or in_force(name, old, new):
        return True
    # A relative path is made absolute: the server has been there since its start.
    return kind_name(name) == "dir" and not old.startswith("/") and new.startswith("/")


def _comments(content: bytes) -> list[bytes]:
    return [line.strip() for line in content.split(b"\n") if line.strip().startswith(b"#")]
