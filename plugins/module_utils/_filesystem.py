# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The data directory as the server itself meets it (DATA_DIRECTORY of docs/evidence.md).

A save opens its temporary file relative to the server's working directory, so that directory is what counts, not the
setting ``dir``: it may have been deleted, mounted over or replaced since, and it lies in the server's own mount
namespace, where it may be read-only while it is writable on the host. /proc/PID/cwd leads there from outside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import stat
import struct
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._access import (
    SEARCH,
    WRITE,
    Credentials,
    Decision,
    FileModes,
    format_mode,
    may_access_directory,
    parse_id_map,
    trust_decision,
)
from ansible_collections.redisops.persistence.plugins.module_utils._bounded import BoundedCalls
from ansible_collections.redisops.persistence.plugins.module_utils._directory_users import (
    NOBODY_KNOWN,
    NOTHING_KNOWN,
    describe_users,
)
from ansible_collections.redisops.persistence.plugins.module_utils._dump import HEADER_BYTES, parse_rdb_header
from ansible_collections.redisops.persistence.plugins.module_utils._mounts import (
    Mount,
    MountTable,
    place_on_device,
    read_mounts,
)
from ansible_collections.redisops.persistence.plugins.module_utils._own_touch import changed_unix
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import (
    Step,
    Walk,
    open_directory,
    read_acl,
    reopen_path,
    walk,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files import (
    TempFile,
    describe_temp_files,
    server_from_process,
    temp_file_of,
)

# Everything that touches the data directory shares this budget; a dead file server costs it once.
TOUCH_SECONDS = 3.0
USERS_SECONDS = 6.0
ENTRIES_LIMIT = 10000
AOF_ENTRIES_LIMIT = 1000

DELETED_SUFFIX = " (deleted)"
RUN_AS_ROOT = "Run as root (become: true)."

# linux/fs.h
IMMUTABLE_FLAG, APPEND_FLAG = 0x10, 0x20
# These architectures encode the direction of an ioctl in other bits (their asm/ioctl.h).
_OTHER_IOCTL_ENCODING = ("ppc", "powerpc", "mips", "sparc", "alpha")

# File systems that keep a reserve for root, or for whom resuid= and resgid= name.
RESERVING_TYPES = frozenset({"ext2", "ext3", "ext4", "f2fs"})

_UNDECODABLE = re.compile(rb"\\x([89a-f][0-9a-f])")


class Attributes(t.NamedTuple):
    """What chattr(1) sets; None where it can't be read or the file system knows no such thing."""

    immutable: bool | None
    append_only: bool | None


def collect_data_directory(
    system: System, pid: int, process: dict[str, t.Any] | None, hints: dict[str, t.Any], gaps: Gaps
) -> dict[str, t.Any] | None:
    """The data directory of a server. Never raises for what can't be read: that is None, with a gap.

    :param process: the PROCESS block, for its credentials and children.
    :param hints: settings where known: dir, dbfilename, appendonly, appendfilename, appenddirname.
    :return: DATA_DIRECTORY of docs/evidence.md; None where not even a path is known.
    """
    reader = _Reader(system, pid, process, hints, gaps)
    try:
        return reader.collect()
    finally:
        reader.calls.close()


def get_flags_request(machine: str) -> int:
    """The number of the ioctl FS_IOC_GETFLAGS, ``_IOR('f', 1, long)``, on an architecture."""
    read_direction = 0x40000000 if machine.startswith(_OTHER_IOCTL_ENCODING) else 0x80000000
    return read_direction | struct.calcsize("l") << 16 | ord("f") << 8 | 1


def read_attributes(handle: int) -> Attributes:
    """The attributes of an O_PATH handle's file: a directory or a regular file, nothing else is opened."""
    try:
        if stat.S_IFMT(os.stat(handle).st_mode) not in (stat.S_IFDIR, stat.S_IFREG):
            return Attributes(None, None)
        opened = os.open(reopen_path(handle), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return Attributes(None, None)
    try:
        answer = fcntl.ioctl(opened, get_flags_request(platform.machine()), bytes(8))
    except OSError:
        return Attributes(None, None)
    finally:
        os.close(opened)
    # The kernel writes an int, whatever the request's number says.
    flags = struct.unpack_from("=i", answer)[0]
    return Attributes(bool(flags & IMMUTABLE_FLAG), bool(flags & APPEND_FLAG))


def read_rdb_header(handle: int, server_uid: int | None) -> dict[str, t.Any] | None:
    """What the first bytes of an O_PATH handle's file say (``parse_rdb_header``); None where it is not to be read.

    Only a regular file of the server's own user or of root is opened: the name may be a hard link to somebody else's.
    """
    try:
        status = os.stat(handle)
        if not stat.S_ISREG(status.st_mode) or server_uid is None or status.st_uid not in (server_uid, 0):
            return None
        opened = os.open(reopen_path(handle), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_rdb_header(os.pread(opened, HEADER_BYTES, 0))
    except OSError:
        return None
    finally:
        os.close(opened)


def mount_id_of(handle: int) -> int | None:
    """The mount that an open descriptor of the collector's own came through (proc_pid_fdinfo(5))."""
    try:
        with open(f"/proc/self/fdinfo/{handle}", encoding="ascii") as content:
            for line in content:
                name, _separator, value = line.partition(":")
                if name == "mnt_id":
                    return int(value)
    except (OSError, ValueError):
        pass
    return None


def may_use_reserve(credentials: Credentials, file_system_type: str | None, super_options: t.Sequence[str]) -> bool:
    """Whether the blocks kept from ordinary users are there for this process (ext4(5): resuid, resgid)."""
    if file_system_type not in RESERVING_TYPES:
        return False
    options = dict(option.partition("=")[::2] for option in super_options)
    if credentials.uid == _number(options.get("resuid"), 0):
        return True
    reserve_gid = _number(options.get("resgid"), 0)
    if reserve_gid != 0 and reserve_gid in credentials.groups | {credentials.gid}:
        return True
    return credentials.in_initial_user_namespace and "CAP_SYS_RESOURCE" in (credentials.capabilities or ())


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


def device_name(device: int) -> str:
    """``253:1``, as mountinfo writes it."""
    return f"{os.major(device)}:{os.minor(device)}"


def filesystem_entry(
    mount: Mount | None,
    status: os.stat_result | None,
    space: os.statvfs_result | None,
    credentials: Credentials | None,
    special_devices: tuple[int | None, int | None],
) -> dict[str, t.Any]:
    """FILESYSTEM of docs/evidence.md; what was not handed in is None.

    :param special_devices: the devices of ``/`` and of ``/var/log`` on the host.
    """
    entry: dict[str, t.Any] = {
        "device": device_name(status.st_dev) if status else (mount.device if mount else None),
        "inode": status.st_ino if status else None,
        "mount_point": clean_text(mount.mount_point) if mount else None,
        "mount_options": [clean_text(option) for option in mount.options] if mount else [],
        "super_options": [clean_text(option) for option in mount.super_options] if mount else [],
        "type": clean_text(mount.type) if mount else None,
        "source": clean_text(mount.source) if mount else None,
        "read_only": None,
        "super_read_only": None,
        "is_root_volume": None,
        "holds_logs": None,
    }
    if mount:
        # After an error ext4 refuses writes without turning the flag on since Linux 6.15 (emergency_ro).
        entry["super_read_only"] = bool({"ro", "emergency_ro", "shutdown"} & set(mount.super_options))
        entry["read_only"] = "ro" in mount.options or entry["super_read_only"]
    if space is not None:
        entry["read_only"] = bool(space.f_flag & os.ST_RDONLY) or bool(entry["read_only"])
    if status:
        root, logs = special_devices
        entry["is_root_volume"] = status.st_dev == root if root is not None else None
        entry["holds_logs"] = status.st_dev == logs if logs is not None else None
    reserve = bool(mount and credentials and may_use_reserve(credentials, mount.type, mount.super_options))
    entry.update(_space_fields(space, credentials, reserve))
    return entry


def _space_fields(
    space: os.statvfs_result | None, credentials: Credentials | None, reserve: bool
) -> dict[str, int | None]:
    names = ("total_bytes", "free_bytes", "available_bytes", "usable_bytes")
    names += ("inodes_total", "inodes_free", "inodes_usable")
    fields: dict[str, int | None] = dict.fromkeys(names)
    if space is None:
        return fields
    unit = space.f_frsize or space.f_bsize
    fields["total_bytes"] = space.f_blocks * unit
    fields["free_bytes"] = space.f_bfree * unit
    fields["available_bytes"] = space.f_bavail * unit
    if credentials is not None:
        fields["usable_bytes"] = fields["free_bytes"] if reserve else fields["available_bytes"]
    # btrfs and others make inodes as they need them and say 0.
    if space.f_files:
        fields["inodes_total"] = space.f_files
        fields["inodes_free"] = space.f_ffree
        fields["inodes_usable"] = space.f_ffree if reserve else space.f_favail
    return fields


def raw_names(text: str) -> list[str]:
    """A name that came as clean text, as the file system may know it: literally, or with its bytes put back."""
    literal = os.fsencode(text)
    restored = _UNDECODABLE.sub(lambda match: bytes([int(match.group(1), 16)]), literal)
    return [os.fsdecode(name) for name in dict.fromkeys((literal, restored))]


def file_type(mode: int) -> str:
    """``file``, ``directory``, ``symlink`` or ``other``."""
    return {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}.get(stat.S_IFMT(mode), "other")


def names_by_id(content: str) -> dict[int, str]:
    """The names in the text of /etc/passwd or /etc/group, by id; the first one counts."""
    names: dict[int, str] = {}
    for line in content.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            names.setdefault(int(fields[2]), fields[0])
    return names


class _Reader:
    """One collection. Every call that touches the data directory goes through ``self.calls``."""

    def __init__(
        self, system: System, pid: int, process: dict[str, t.Any] | None, hints: dict[str, t.Any], gaps: Gaps
    ) -> None:
        self.system = system
        self.pid = pid
        self.process = process
        self.hints = hints
        self.gaps = gaps
        self.calls = BoundedCalls(TOUCH_SECONDS)
        self.credentials = self._credentials()
        self.own_mounts = read_mounts(system, "self") or MountTable(b"")
        process_mounts = read_mounts(system, pid)
        if process_mounts is None:
            gaps.add("mounts of the server", f"/proc/{pid}/mountinfo can't be read", RUN_AS_ROOT)
        self.process_mounts = process_mounts or MountTable(b"")
        self.special_devices = (self._device_of("/"), self._device_of("/var/log"))
        self.type: str | None = None

    # -- what is known beforehand

    def _device_of(self, path: str) -> int | None:
        try:
            return self.calls.call(lambda: os.stat(self.system.path(path)).st_dev)
        except OSError:
            return None

    def _credentials(self) -> Credentials | None:
        if self.process is None:
            return None
        try:
            links = [self.system.read_link(f"/proc/{process}/ns/user") for process in (self.pid, "self")]
        except OSError:
            # Equal maps are no proof of one namespace, but full ones, the usual case, mean the same in either column.
            links = [self.system.try_read_text(f"/proc/{process}/uid_map") or "" for process in (self.pid, "self")]
        same_namespace = links[0] == links[1]
        maps = []
        for name in ("uid_map", "gid_map"):
            text = self.system.try_read_text(f"/proc/{self.pid}/{name}")
            maps.append(parse_id_map(text, 0 if same_namespace else 1) if text is not None else None)
        capabilities = self.process.get("capabilities_effective")
        try:
            return Credentials(
                uid=self.process["uid"]["effective"],
                gid=self.process["gid"]["effective"],
                groups=frozenset(self.process.get("groups") or ()),
                capabilities=None if capabilities is None else frozenset(capabilities),
                uid_ranges=maps[0],
                gid_ranges=maps[1],
            )
        except (KeyError, TypeError):
            return None

    def _root_path(self) -> str:
        """A path to the process's root directory. Raises OSError."""
        target = self.system.read_link(f"/proc/{self.pid}/root")
        return f"/proc/{self.pid}/root" if self.system.root == "/" else self.system.path(target)

    # -- the document

    def collect(self) -> dict[str, t.Any] | None:
        """The document, from the process's own working directory where it can be reached."""
        try:
            link = self.system.read_link(f"/proc/{self.pid}/cwd")
            root = self.system.read_link(f"/proc/{self.pid}/root")
        except OSError as error:
            remedy = RUN_AS_ROOT if error.errno in (errno.EACCES, errno.EPERM) else "Run the diagnosis again."
            self.gaps.add_error("the server's working directory", error, remedy)
            return self._collect_from_setting()
        document = self._empty_document(link, root)
        try:
            directory = self.calls.call(lambda: self._open_working_directory(link))
        except OSError as error:
            self._note("the data directory", error)
            document["path"] = clean_text(self._without_root(link, root))
            self._describe_from_mounts(document, self._without_root(link, root))
            return document
        try:
            self._describe_reached(document, directory, link, root)
        finally:
            if not self.calls.expired:
                os.close(directory)
        return document

    def _note(self, what: str, error: OSError) -> None:
        if error.errno == errno.ETIMEDOUT:
            remedy = "Look at the server of this file system (network, storage); processes in state D wait for it."
        elif error.errno in (errno.EACCES, errno.EPERM):
            remedy = RUN_AS_ROOT
        else:
            remedy = "Run the diagnosis again."
        self.gaps.add_error(what, error, remedy)

    def _empty_document(self, path: str | None, root: str | None) -> dict[str, t.Any]:
        return {
            "path": clean_text(path) if path is not None else None,
            "deleted": None,
            "configured": clean_text(str(self.hints["dir"])) if self.hints.get("dir") is not None else None,
            "root": clean_text(root) if root is not None else None,
            "process_view": None,
            "host_view": None,
            "lookup_view": None,
            "same_directory": None,
            "owner": {"uid": None, "gid": None, "mode": None, "user": None, "group": None, "changed_unix": None},
            "access_acl": None,
            "permission_chain": [],
            "access": {"writable": None, "searchable": None, "blocked_by": None, "reason": None},
            "sticky": None,
            "attributes": {"immutable": None, "append_only": None},
            "dump": self._empty_dump(),
            "users": dict(NOBODY_KNOWN),
            "foreign_files": dict(NOTHING_KNOWN),
            "temp_files": [],
            "temp_files_bytes": None,
            "temp_files_truncated": False,
            "entries_truncated": False,
            "aof": None,
        }

    def _empty_dump(self) -> dict[str, t.Any]:
        name = self.hints.get("dbfilename")
        return {
            "name": clean_text(str(name)) if name is not None else None,
            "exists": None,
            "type": None,
            "size_bytes": None,
            "modified_unix": None,
            "uid": None,
            "gid": None,
            "mode": None,
            "is_mount_point": None,
            "directory_empty": None,
            "attributes": {"immutable": None, "append_only": None},
            "changed_unix": None,
            "device": None,
            "inode": None,
            "link_count": None,
            "header": None,
        }

    @staticmethod
    def _without_root(path: str, root: str) -> str:
        """A path of the mount namespace as a process with another root directory (chroot) sees it."""
        if root != "/" and (path == root or path.startswith(root + "/")):
            return path[len(root) :] or "/"
        return path

    def _open_working_directory(self, link: str) -> int:
        if self.system.root == "/":
            return open_directory(f"/proc/{self.pid}/cwd")
        # A recorded machine has an ordinary link there, into the recorded tree.
        return open_directory(self.system.path(link))

    def _describe_reached(self, document: dict[str, t.Any], directory: int, link: str, root: str) -> None:
        """Fill the document from an open working directory. Each part that fails is a gap and stays None."""
        path = self._without_root(link, root)
        document["path"] = clean_text(path)
        # What the mount tables say needs no answer from the file system.
        mount = self._mount_of_handle(directory, path)
        document["process_view"] = filesystem_entry(mount, None, None, self.credentials, self.special_devices)
        try:
            status = self.calls.call(lambda: os.stat(directory))
            path = self._describe_paths(document, directory, status, link, root)
            self._describe_directory(document, directory, status, path)
            self._describe_users(document, directory, link)
            self._describe_contents(document, directory)
        except OSError as error:
            self._note("the data directory", error)

    def _describe_paths(
        self, document: dict[str, t.Any], directory: int, status: os.stat_result, link: str, root: str
    ) -> str:
        """The path, the three views and the permission chain. Returns the path as the process sees it."""
        identity = (status.st_dev, status.st_ino)
        seen_path = self._without_root(link, root)
        mount = self._mount_of_handle(directory, seen_path)
        if mount is None:
            seen_path = self._path_before_detached(seen_path)
        look_up = self._walk_in_root(seen_path)
        deleted = False
        if link.endswith(DELETED_SUFFIX) and (look_up is None or look_up.identity != identity):
            # Not a directory that is really called so: such a one is found, or (mounted over) still has its links.
            deleted = status.st_nlink < 2
        if deleted:
            if look_up is not None:
                look_up.close()
            seen_path = seen_path[: -len(DELETED_SUFFIX)]
            look_up = self._walk_in_root(seen_path)
        document["path"] = clean_text(seen_path)
        document["deleted"] = deleted
        self.type = mount.type if mount else None
        document["process_view"] = self._view(directory, status, mount)
        if look_up is not None:
            self._describe_look_up(document, look_up, identity, seen_path)
        host = self._host_walk(seen_path)
        if host is not None:
            document["host_view"] = self._view_of_walk(host, seen_path, self.own_mounts)
            host.close()
        if look_up is not None:
            look_up.close()
        return seen_path

    def _path_before_detached(self, link: str) -> str:
        """The path of a directory whose mount is in no mount table.

        After ``umount -l`` the server stays in a file system that has no path any more; the link in /proc is then
        relative to that file system. What is left is the setting.
        """
        if not self.process_mounts:
            return link
        self.gaps.add(
            "mount of the data directory",
            "the server's working directory is on a mount that was detached (umount -l)",
            "Mount it again and restart the server, or point the server to a directory that has a path.",
        )
        setting = str(self.hints.get("dir") or "")
        return raw_names(setting)[0] if setting.startswith("/") else link

    def _walk_in_root(self, path: str) -> Walk | None:
        try:
            root = self._root_path()
            return self.calls.call(lambda: walk(root, path))
        except OSError as error:
            self._note("the server's root directory", error)
            return None

    def _host_walk(self, path: str) -> Walk | None:
        try:
            return self.calls.call(lambda: walk(self.system.path("/"), path))
        except OSError as error:
            self._note("the data directory on the host", error)
            return None

    def _describe_look_up(
        self, document: dict[str, t.Any], look_up: Walk, identity: tuple[int, int], path: str
    ) -> None:
        document["lookup_view"] = self._view_of_walk(look_up, path, self.process_mounts)
        document["same_directory"] = self._is_same(look_up, identity)
        document["permission_chain"] = [self._chain_entry(step) for step in look_up.steps]

    @staticmethod
    def _is_same(look_up: Walk, identity: tuple[int, int]) -> bool | None:
        if look_up.identity is not None:
            return look_up.identity == identity
        if look_up.error is not None and look_up.error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        return None

    def _mount_of_handle(self, handle: int, path: str) -> Mount | None:
        """The very mount that a handle came through; by its path only where that can't be had."""
        if self.system.root == "/":
            mount_id = mount_id_of(handle)
            if mount_id is not None:
                # A process that was chrooted below a mount point does not list the mount that it stands in.
                return self.process_mounts.by_id(mount_id) or self.own_mounts.by_id(mount_id)
        return self.process_mounts.containing(path)

    def _view(self, handle: int, status: os.stat_result, mount: Mount | None) -> dict[str, t.Any]:
        try:
            space: os.statvfs_result | None = self.calls.call(lambda: os.statvfs(handle))
        except OSError as error:
            self._note("free space of the data directory", error)
            space = None
        return filesystem_entry(mount, status, space, self.credentials, self.special_devices)

    def _view_of_walk(self, result: Walk, path: str, mounts: MountTable) -> dict[str, t.Any] | None:
        handle = result.handle
        if handle is None:
            return None
        mount = None
        if self.system.root == "/":
            mount_id = mount_id_of(handle)
            if mount_id is not None:
                mount = mounts.by_id(mount_id) or self.own_mounts.by_id(mount_id)
        return self._view(handle, result.steps[-1].status, mount or mounts.containing(result.steps[-1].path))

    def _chain_entry(self, step: Step) -> dict[str, t.Any]:
        return {
            "path": clean_text(step.path),
            "uid": step.status.st_uid,
            "gid": step.status.st_gid,
            "mode": format_mode(step.status.st_mode),
            "access_acl": bool(step.acl),
            "search_allowed": self._decide(step, SEARCH).allowed,
        }

    def _decide(self, step: Step, wanted: int) -> Decision:
        if self.credentials is None:
            return Decision(None, "the server's credentials are unknown")
        status = step.status
        modes = FileModes(status.st_uid, status.st_gid, status.st_mode, step.acl)
        return may_access_directory(self.credentials, modes, wanted)

    def _describe_directory(
        self, document: dict[str, t.Any], directory: int, status: os.stat_result, path: str
    ) -> None:
        acl = self.calls.call(lambda: read_acl(directory))
        document["owner"] = self._owner(status)
        document["access_acl"] = bool(acl)
        document["sticky"] = bool(status.st_mode & stat.S_ISVTX)
        document["access"] = self._access(document["permission_chain"], Step(path, status, acl))
        attributes = self.calls.call(lambda: read_attributes(directory))
        document["attributes"] = attributes._asdict()

    def _owner(self, status: os.stat_result) -> dict[str, t.Any]:
        """Names come from the process's own /etc/passwd, for an id means another name in a container."""
        return {
            "uid": status.st_uid,
            "gid": status.st_gid,
            "mode": format_mode(status.st_mode),
            "user": self._name("passwd", status.st_uid),
            "group": self._name("group", status.st_gid),
            "changed_unix": status.st_ctime,
        }

    def _name(self, database: str, identifier: int) -> str | None:
        """A name out of /etc/passwd or /etc/group. Not through NSS: a directory service may hang."""
        try:
            content = self.calls.call(lambda: self._read_in_root(f"/etc/{database}"))
        except OSError:
            return None
        return names_by_id(content).get(identifier)

    def _read_in_root(self, path: str) -> str:
        """A regular file below the process's root; nothing there may be a FIFO that is waited for. Raises OSError."""
        try:
            root = self._root_path()
        except OSError:
            root = self.system.path("/")
        found = walk(root, path)
        try:
            if found.handle is None or not stat.S_ISREG(found.steps[-1].status.st_mode):
                raise found.error or OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            with open(reopen_path(found.handle), "rb") as content:
                return content.read(1024 * 1024).decode("utf-8", errors="backslashreplace")
        finally:
            found.close()

    def _access(self, chain: list[dict[str, t.Any]], directory: Step) -> dict[str, t.Any]:
        """Write access is the directory's own affair: a save starts from the open working directory.

        Its parents' search bits matter for a restart and for CONFIG SET dir: ``searchable`` says that of the path.
        """
        decision = self._decide(directory, WRITE | SEARCH)
        search = self._decide(directory, SEARCH)
        if self.credentials is not None:
            decision = trust_decision(decision, self.type, self.credentials)
            search = trust_decision(search, self.type, self.credentials)
        access: dict[str, t.Any] = {
            "writable": decision.allowed,
            "searchable": search.allowed,
            "blocked_by": None,
            "reason": decision.reason,
        }
        blocking = [
            entry for entry in chain if entry["search_allowed"] is False and entry["path"] != clean_text(directory.path)
        ]
        if decision.allowed is False:
            access["blocked_by"] = clean_text(directory.path)
        elif blocking and self.credentials is not None:
            entry = blocking[0]
            access["blocked_by"] = entry["path"]
            access["reason"] = (
                f"uid {self.credentials.uid}, gid {self.credentials.gid} may not search it: owner {entry['uid']}:"
                f"{entry['gid']} mode {entry['mode']}; the running server does not have to, a restart would"
            )
        if blocking:
            access["searchable"] = False
        return access

    # -- who uses it, and what is in it

    def _describe_users(self, document: dict[str, t.Any], directory: int, link: str) -> None:
        uid = self.credentials.uid if self.credentials else None
        # A budget of its own: the pass over all processes may wait for that of another server.
        calls = BoundedCalls(USERS_SECONDS)
        try:
            document["users"], document["foreign_files"] = calls.call(
                lambda: describe_users(self.system, self.pid, uid, directory, link)
            )
        except OSError as error:
            self._note("who else uses the data directory", error)
            return
        finally:
            calls.close()
        if document["users"]["complete"] is None:
            self.gaps.add(
                "who else uses the data directory",
                "not every process of the host could be looked into",
                RUN_AS_ROOT,
            )

    def _describe_contents(self, document: dict[str, t.Any], directory: int) -> None:
        try:
            document["dump"] = self.calls.call(lambda: self._dump(directory))
        except OSError as error:
            self._note("the dump file", error)
        try:
            document["aof"] = self.calls.call(lambda: self._aof(directory))
        except OSError as error:
            self._note("the AOF files", error)
        try:
            files, truncated = self.calls.call(lambda: self._list_temp_files(directory))
        except OSError as error:
            self._note("entries of the data directory", error)
            return
        server = server_from_process(self.pid, self.process)
        try:
            document["temp_files"] = self.calls.call(
                lambda: describe_temp_files(self.system, server, files, self.type, self.gaps)
            )
        except OSError as error:
            self._note("holders of temporary files", error)
        document["temp_files_bytes"] = sum(file.status.st_size for file in files)
        document["temp_files_truncated"] = len(document["temp_files"]) < len(files)
        document["entries_truncated"] = truncated

    def _dump(self, directory: int) -> dict[str, t.Any]:
        """The block ``dump``. Raises OSError where the directory does not answer."""
        dump = self._empty_dump()
        text = self.hints.get("dbfilename")
        if text is None:
            self.gaps.add("the dump file", "its name (dbfilename) is not known", "Let the ACL user run CONFIG GET.")
            return dump
        if text == "" or "/" in str(text):
            # An empty name is no file; Redis refuses one with a slash, and it would lead elsewhere.
            dump["exists"] = False if text == "" else None
            return dump
        for name in raw_names(str(text)):
            try:
                handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            except FileNotFoundError:
                dump["exists"] = False
                continue
            try:
                dump.update(self._describe_dump(handle, directory))
            finally:
                os.close(handle)
            break
        return dump

    def _describe_dump(self, handle: int, directory: int) -> dict[str, t.Any]:
        status = os.stat(handle)
        mount_ids = (mount_id_of(handle), mount_id_of(directory))
        return {
            "exists": True,
            "type": file_type(status.st_mode),
            "size_bytes": status.st_size,
            "modified_unix": status.st_mtime,
            "uid": status.st_uid,
            "gid": status.st_gid,
            "mode": format_mode(status.st_mode),
            "is_mount_point": None if None in mount_ids else mount_ids[0] != mount_ids[1],
            "directory_empty": self._is_empty(handle) if stat.S_ISDIR(status.st_mode) else None,
            "attributes": read_attributes(handle)._asdict(),
            "changed_unix": changed_unix(status),
            "device": device_name(status.st_dev),
            "inode": status.st_ino,
            "link_count": status.st_nlink,
            "header": read_rdb_header(handle, self.credentials.uid if self.credentials else None),
        }

    @staticmethod
    def _is_empty(handle: int) -> bool | None:
        try:
            with os.scandir(reopen_path(handle)) as entries:
                return next(entries, None) is None
        except OSError:
            return None

    def _list_temp_files(self, directory: int) -> tuple[list[TempFile], bool]:
        """(temporary files, whether the listing was cut). Raises OSError."""
        files, truncated = self._scan(directory, "")
        name = self.hints.get("appenddirname")
        if name and "/" not in str(name):
            for candidate in raw_names(str(name)):
                try:
                    handle = os.open(candidate, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                except OSError:
                    continue
                try:
                    files += self._scan(handle, candidate)[0]
                except OSError as error:
                    self._note("entries of the AOF directory", error)
                finally:
                    os.close(handle)
                break
        return files, truncated

    @staticmethod
    def _scan(directory: int, in_aof_directory: str) -> tuple[list[TempFile], bool]:
        files = []
        with os.scandir(reopen_path(directory)) as entries:
            for count, entry in enumerate(entries):
                if count >= ENTRIES_LIMIT:
                    return files, True
                # The cheap test first: a directory may hold thousands of other files.
                if not entry.name.startswith("temp-"):
                    continue
                try:
                    file = temp_file_of(entry.name, entry.stat(follow_symlinks=False), in_aof_directory)
                except FileNotFoundError:
                    continue
                if file is not None:
                    files.append(file)
        return files, False

    def _aof(self, directory: int) -> dict[str, t.Any] | None:
        """The AOF: the directory since 7.0, one file before. None where its name is not known."""
        for hint in ("appenddirname", "appendfilename"):
            text = self.hints.get(hint)
            if not text or "/" in str(text):
                continue
            for name in raw_names(str(text)):
                try:
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                size = self._size_below(directory, name) if stat.S_ISDIR(status.st_mode) else status.st_size
                return {"exists": True, "size_bytes": size}
            if hint == "appendfilename" or not self.hints.get("appendfilename"):
                return {"exists": False, "size_bytes": 0}
        return None

    @staticmethod
    def _size_below(directory: int, name: str) -> int | None:
        """Bytes of the files in the AOF directory; None where there are too many to add up."""
        total = 0
        with os.scandir(os.path.join(reopen_path(directory), name)) as entries:
            for count, entry in enumerate(entries):
                if count >= AOF_ENTRIES_LIMIT:
                    return None
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    total += status.st_size
        return total

    # -- without the process's working directory

    def _collect_from_setting(self) -> dict[str, t.Any] | None:
        """What the configured path tells from outside, where the collector may not look through the process."""
        text = self.hints.get("dir")
        if not text or not str(text).startswith("/"):
            return None
        path = next((name for name in raw_names(str(text)) if self._host_has(name)), str(text))
        host = self._host_walk(path)
        resolved = host.steps[-1].path if host is not None and host.handle is not None else path
        document = self._empty_document(resolved, None)
        if host is not None:
            document["host_view"] = self._view_of_walk(host, path, self.own_mounts)
        if host is not None and host.handle is not None and self._same_place(path) and self._same_place(resolved):
            self._describe_same_place(document, host)
        else:
            if host is not None and host.error is not None:
                self._note("the data directory", host.error)
            self._describe_from_mounts(document, resolved)
        if host is not None and not self.calls.expired:
            host.close()
        return document

    def _same_place(self, path: str) -> bool:
        """Whether a path leads the server and the collector to one place on one device, by their mount tables."""
        theirs, ours = self.process_mounts.containing(path), self.own_mounts.containing(path)
        return bool(theirs and ours and place_on_device(theirs, path) == place_on_device(ours, path))

    def _host_has(self, path: str) -> bool:
        try:
            return self.calls.call(lambda: os.path.isdir(self.system.path(path)))
        except OSError:
            return False

    def _describe_from_mounts(self, document: dict[str, t.Any], path: str) -> None:
        """What mountinfo alone tells of the path inside the server's mount namespace: nothing is touched."""
        mount = self.process_mounts.containing(path)
        if mount is not None:
            self.type = mount.type
            document["lookup_view"] = filesystem_entry(mount, None, None, self.credentials, self.special_devices)

    def _describe_same_place(self, document: dict[str, t.Any], host: Walk) -> None:
        """What is seen here is what the server sees, but for the mount that it goes through."""
        handle, last = host.handle, host.steps[-1]
        if handle is None:
            return
        mount = self.process_mounts.containing(last.path)
        self.type = mount.type if mount else None
        document["permission_chain"] = [self._chain_entry(step) for step in host.steps]
        try:
            document["lookup_view"] = self._view(handle, last.status, mount)
            # Free space is the file system's; statvfs has its flags from the mount of the collector.
            of_mount = filesystem_entry(mount, None, None, None, self.special_devices)
            document["lookup_view"]["read_only"] = of_mount["read_only"]
            self._describe_directory(document, handle, last.status, last.path)
            self._describe_contents(document, handle)
        except OSError as error:
            self._note("the data directory", error)
