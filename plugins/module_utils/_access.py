# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether a process with given credentials may do something to a file: mode bits, POSIX ACL and capabilities.

Pure: everything is handed in. What else may refuse (read-only mounts, attributes, security modules) is not looked at.
"""

from __future__ import annotations

import stat
import struct
import typing as t

READ, WRITE, SEARCH = 4, 2, 1

ACL_ATTRIBUTE = "system.posix_acl_access"

# linux/posix_acl_xattr.h and linux/posix_acl.h
_ACL_VERSION = 2
_USER_OBJECT, _USER, _GROUP_OBJECT, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

# File systems whose server decides, whatever the mode bits say here.
REMOTE_TYPES = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "glusterfs", "lustre", "ncpfs"})


class AclEntry(t.NamedTuple):
    """One entry of a POSIX ACL: a tag of linux/posix_acl.h, rwx bits, and the user or group id where it has one."""

    tag: int
    permissions: int
    identifier: int


class FileModes(t.NamedTuple):
    """What stat(2) and the ACL say of one file. ``acl`` is empty where the file has none."""

    uid: int
    gid: int
    mode: int
    acl: list[AclEntry]


class IdRange(t.NamedTuple):
    """Ids of the collector's user namespace that a process's user namespace knows: ``first`` and how many."""

    first: int
    count: int


class Credentials(t.NamedTuple):
    """Whom the kernel sees.

    :param capabilities: effective ones by name; None where they are unknown.
    :param uid_ranges: ids that the process's user namespace maps; None for the initial one, which maps all.
    """

    uid: int
    gid: int
    groups: frozenset[int]
    capabilities: frozenset[str] | None
    uid_ranges: list[IdRange] | None = None
    gid_ranges: list[IdRange] | None = None

    @property
    def in_initial_user_namespace(self) -> bool:
        """Whether capabilities count for the whole machine."""
        return self.uid_ranges is None and self.gid_ranges is None


class Decision(t.NamedTuple):
    """The answer (None: unknown), what gave it in words, and whether a capability had to."""

    allowed: bool | None
    reason: str
    by_capability: bool = False


def parse_acl(value: bytes) -> list[AclEntry]:
    """The extended attribute ``system.posix_acl_access``; empty where it is not one that this code knows."""
    if len(value) < 4 or struct.unpack_from("<I", value)[0] != _ACL_VERSION:
        return []
    usable = len(value) - (len(value) - 4) % 8
    return [AclEntry(*struct.unpack_from("<HHI", value, offset)) for offset in range(4, usable, 8)]


def parse_id_map(text: str, column: int) -> list[IdRange] | None:
    """The content of /proc/PID/uid_map or gid_map (user_namespaces(7)).

    :param column: 0 where the reader is in the same user namespace, 1 where it is not: that column is then in the
        ids of the reader's namespace.
    :return: None where every id is mapped.
    """
    ranges = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and all(field.isdigit() for field in fields):
            ranges.append(IdRange(int(fields[column]), int(fields[2])))
    return None if any(entry.first == 0 and entry.count >= 0xFFFFFFFF for entry in ranges) else ranges


def is_mapped(identifier: int, ranges: list[IdRange] | None) -> bool:
    """Whether a user namespace knows an id."""
    return ranges is None or any(entry.first <= identifier < entry.first + entry.count for entry in ranges)


def format_mode(mode: int) -> str:
    """``0755``: the permission bits, set-id and sticky bits included."""
    return f"{stat.S_IMODE(mode):04o}"


def _spell(permissions: int) -> str:
    return "".join(letter if permissions & bit else "-" for letter, bit in (("r", READ), ("w", WRITE), ("x", SEARCH)))


def granted_permissions(credentials: Credentials, file: FileModes, wanted: int) -> tuple[int, str]:
    """The rwx bits that apply and which entry they are from, as fs/namei.c ``acl_permission_check`` decides.

    With an ACL the answer depends on what is wanted: of several group entries any one that has all of it will do.
    """
    mode = file.mode
    if credentials.uid == file.uid:
        return (mode >> 6) & 7, "owner bits"
    # An ACL is not consulted when the group bits (its mask) are all clear.
    if file.acl and mode & stat.S_IRWXG:
        return _acl_permissions(credentials, file, wanted)
    if credentials.gid == file.gid or file.gid in credentials.groups:
        return (mode >> 3) & 7, "group bits"
    return mode & 7, "other bits"


def _acl_permissions(credentials: Credentials, file: FileModes, wanted: int) -> tuple[int, str]:
    """fs/posix_acl.c ``posix_acl_permission``, for one who is not the owner."""
    mask = next((entry.permissions for entry in file.acl if entry.tag == _MASK), 7)
    for entry in file.acl:
        if entry.tag == _USER and entry.identifier == credentials.uid:
            return entry.permissions & mask, f"ACL entry of user {entry.identifier}{_mask_note(entry, mask, wanted)}"
    groups = credentials.groups | {credentials.gid}
    matching = [
        entry
        for entry in file.acl
        if (entry.tag == _GROUP_OBJECT and file.gid in groups) or (entry.tag == _GROUP and entry.identifier in groups)
    ]
    for entry in matching:
        if entry.permissions & wanted == wanted:
            return entry.permissions & mask, _group_name(entry, file) + _mask_note(entry, mask, wanted)
    if matching:
        return matching[0].permissions & mask, _group_name(matching[0], file)
    other = next((entry.permissions for entry in file.acl if entry.tag == _OTHER), 0)
    return other, "ACL entry of others"


def _group_name(entry: AclEntry, file: FileModes) -> str:
    return f"ACL entry of group {file.gid if entry.tag == _GROUP_OBJECT else entry.identifier}"


def _mask_note(entry: AclEntry, mask: int, wanted: int) -> str:
    cut = entry.permissions & wanted & ~mask
    return f", cut by the ACL mask {_spell(mask)}" if cut else ""


def may_access_directory(credentials: Credentials, directory: FileModes, wanted: int) -> Decision:
    """Whether the process may search, read or write in a directory (``wanted``: a sum of the constants above)."""
    granted, source = granted_permissions(credentials, directory, wanted)
    missing = wanted & ~granted
    description = (
        f"uid {credentials.uid}, gid {credentials.gid} has {_spell(granted)} by the {source}"
        f" of owner {directory.uid}:{directory.gid} mode {format_mode(directory.mode)}"
    )
    if not missing:
        return Decision(True, description)
    helpful = {"CAP_DAC_OVERRIDE"} if wanted & WRITE else {"CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"}
    if credentials.capabilities is None:
        return Decision(None, f"{description}; its capabilities are unknown")
    held = sorted(helpful & credentials.capabilities)
    needed = f"{description}; {_spell(wanted)} is needed"
    if not held:
        return Decision(False, needed)
    if is_mapped(directory.uid, credentials.uid_ranges) and is_mapped(directory.gid, credentials.gid_ranges):
        return Decision(True, f"{description}; {held[0]} overrides it", by_capability=True)
    return Decision(False, f"{needed}; {held[0]} does not count: its user namespace does not map the owner")


def trust_decision(decision: Decision, file_system_type: str | None, credentials: Credentials) -> Decision:
    """The same decision, made unknown where another machine or a program has the last word.

    An export that squashes root refuses what the mode bits allow; FUSE leaves the check to its program.
    """
    if file_system_type is None:
        return decision
    if file_system_type.startswith("fuse"):
        return Decision(None, f"{decision.reason}; a FUSE program decides by itself")
    if file_system_type in REMOTE_TYPES and decision.allowed and (credentials.uid == 0 or decision.by_capability):
        return Decision(None, f"{decision.reason}; but the file server may not honour root")
    return decision
