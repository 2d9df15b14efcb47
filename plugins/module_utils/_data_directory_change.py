# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Changing owner, mode and attributes of a server's data directory, and what stands in the way of its dump.

Everything is done to an open descriptor of that one directory, or to an entry of it by name without following a link:
never to a path, never to what lies in it, never to a parent. Only making a directory that is missing starts from its
parent.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import posixpath
import re
import stat
import struct
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._access import format_mode
from ansible_collections.redisops.persistence.plugins.module_utils._bounded import BoundedCalls
from ansible_collections.redisops.persistence.plugins.module_utils._change_diff import change_diff
from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import (
    APPEND_FLAG,
    IMMUTABLE_FLAG,
    get_flags_request,
    mount_id_of,
    raw_names,
    read_attributes,
)
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import grade_name
from ansible_collections.redisops.persistence.plugins.module_utils._kept_dump import CannotKeep
from ansible_collections.redisops.persistence.plugins.module_utils._kept_dump_restore import put_back
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import (
    open_directory,
    read_acl,
    reopen_path,
)
from ansible_collections.redisops.persistence.plugins.module_utils._privilege_check import (
    accept_option,
    check_directory,
    check_server,
)
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import field_integers, parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._safe_open import (
    Place,
    PlaceRequest,
    check_allowed,
    check_not_forbidden,
    check_path,
    describe_place,
    identity,
    open_below,
    open_place,
    verify_identity,
    verify_process,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

# A dead file server costs this once; nothing was changed then, or one call that may still come to an end.
TOUCH_SECONDS = 10.0
RELABEL_SECONDS = 10.0

FLAGS = {"i": IMMUTABLE_FLAG, "a": APPEND_FLAG}
_MODE = re.compile(r"0?[0-7]{3}|[0-7]{4}")
# chown(2) takes -1 for "leave"; an id beyond is none.
_ID_LIMIT = 2**32 - 1

_REMEDIES = {
    errno.EPERM: "the user who runs this may not: become root; in a container a capability may be missing "
    "(CAP_CHOWN, CAP_FOWNER, CAP_LINUX_IMMUTABLE), and an NFS server may not honour root",
    errno.EACCES: "the user who runs this may not: become root; an NFS server may not honour root",
    errno.EROFS: "the file system is read-only there, and is left so: find out why before anything is written",
    errno.ENOTTY: "this file system knows no such attributes",
    errno.EOPNOTSUPP: "this file system knows no such attributes",
    errno.ETIMEDOUT: "the file system does not answer; whether the last change was made is unknown",
}


class ChangeFailed(Exception):
    """A change did not succeed. ``result`` has those that were made before it."""

    def __init__(self, message: str, result: dict[str, t.Any]) -> None:
        super().__init__(message)
        self.result = result


def _file_options() -> dict[str, t.Any]:
    """What tells a dump from another one."""
    return {"bytes": {"type": "int"}, "inode": {"type": "int"}, "saved_unix": {"type": "float"}}


def argument_spec() -> dict[str, t.Any]:
    """The options of redis_data_directory."""
    letters = {"type": "list", "elements": "str", "choices": ["i", "a"], "default": []}
    return {
        "pid": {"type": "int"},
        "started_unix": {"type": "float"},
        "path": {"type": "str", "required": True},
        "device": {"type": "str"},
        "inode": {"type": "int"},
        "state": {"type": "str", "default": "present", "choices": ["present"]},
        "create": {"type": "bool", "default": False},
        "uid": {"type": "int"},
        "gid": {"type": "int"},
        "mode": {"type": "str"},
        "attributes_add": dict(letters),
        "attributes_remove": dict(letters),
        "dump_name": {"type": "str"},
        "dump_attributes_add": dict(letters),
        "dump_attributes_remove": dict(letters),
        "destination": {"type": "str", "default": "unchanged", "choices": ["unchanged", "absent", "directory"]},
        "destination_uid": {"type": "int"},
        "destination_gid": {"type": "int"},
        "destination_mode": {"type": "str"},
        "put_back": {
            "type": "dict",
            "options": {
                **_file_options(),
                "name": {"type": "str", "required": True},
                "replaced": {"type": "dict", "required": True, "options": _file_options()},
            },
        },
        "allowed_dirs": {"type": "list", "elements": "str", "required": True},
        **accept_option(),
        "expected": {
            "type": "dict",
            "options": {"uid": {"type": "int"}, "gid": {"type": "int"}, "mode": {"type": "str"}},
        },
    }


def change_data_directory(options: dict[str, t.Any], system: System, check_mode: bool) -> dict[str, t.Any]:
    """Carry out (or in check mode foretell) what the options of redis_data_directory ask for.

    :return: the module's result, and ``warnings``. Raises ChangeFailed.
    """
    change = _Change(options, system, check_mode)
    try:
        change.run()
    except (Refused, CannotKeep) as error:
        raise ChangeFailed(str(error), change.result()) from None
    except OSError as error:
        raise ChangeFailed(change.explain(error), change.result()) from None
    finally:
        change.calls.close()
    return {**change.result(), "warnings": change.warnings}


def parse_mode(text: str | None, what: str = "mode") -> int | None:
    """The permission bits in an octal text. Raises Refused for what is none, or gives too much away."""
    if text is None:
        return None
    if not _MODE.fullmatch(text):
        raise Refused(f"{what} {text!r} is not an octal mode such as '0750' (in quotes, for YAML reads a bare 0750).")
    mode = int(text, 8)
    if mode & stat.S_IWOTH:
        raise Refused(f"{what} {text} would let everybody write: that is never set.")
    if mode & stat.S_ISUID:
        raise Refused(f"{what} {text} has the set-user-id bit: that is never set.")
    return mode


def check_options(options: dict[str, t.Any]) -> None:
    """Raise Refused for options that can't be meant."""
    for name in ("uid", "gid", "destination_uid", "destination_gid"):
        if options[name] is not None and not 0 <= options[name] < _ID_LIMIT:
            raise Refused(f"{name} {options[name]} is no id.")
    parse_mode(options["mode"])
    parse_mode(options["destination_mode"], "destination_mode")
    name = options["dump_name"]
    needs_name = options["destination"] != "unchanged" or options["dump_attributes_add"] or options["put_back"]
    if (needs_name or options["dump_attributes_remove"]) and name is None:
        raise Refused("dump_name is needed to know which entry of the directory is meant.")
    if name is not None:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise Refused(f"{name!r} is not the name of a file in the directory.")
        if grade_name(name) == "strong":
            raise Refused(f"{name!r} is a name that intruders give a dump: nothing is changed for it.")
    for prefix in ("attributes", "dump_attributes"):
        both = set(options[f"{prefix}_add"]) & set(options[f"{prefix}_remove"])
        if both:
            raise Refused(f"{prefix}_add and {prefix}_remove both name {', '.join(sorted(both))}.")
    if options["create"] and None in (options["uid"], options["gid"], options["mode"]):
        raise Refused("A directory is made with uid, gid and mode only: give all three.")
    if options["pid"] is None and not options["create"]:
        raise Refused("pid is needed: without the server's process only a missing directory can be made.")


def set_flags_request(machine: str) -> int:
    """The number of the ioctl FS_IOC_SETFLAGS, ``_IOW('f', 2, long)``, on an architecture."""
    read = get_flags_request(machine)
    # The direction is the only bit but the number that differs; each architecture uses the other one's bit.
    write_direction = 0x80000000 if read & 0x40000000 else 0x40000000
    return write_direction | struct.calcsize("l") << 16 | ord("f") << 8 | 2


class _Change:
    """One run of the module. What was changed so far is in ``changes``, also where a later step fails."""

    def __init__(self, options: dict[str, t.Any], system: System, check_mode: bool) -> None:
        self.options = options
        self.system = system
        self.check_mode = check_mode
        self.calls = BoundedCalls(TOUCH_SECONDS)
        self.changes: list[_changes.Change] = []
        self.conflicts: list[str] = []
        self.warnings: list[str] = []
        self.path_real: str | None = None
        self.acl_left = False
        self.destination_before: dict[str, t.Any] | None = None
        self.replaced_as: str | None = None
        self.doing = "the directory can't be opened"

    @property
    def path(self) -> str:
        """The directory, as the options name it."""
        return "/" + "/".join(part for part in self.options["path"].split("/") if part)

    def result(self) -> dict[str, t.Any]:
        """What is returned where it fails: what was done so far."""
        return {
            "changed": bool(self.changes),
            "changes": self.changes,
            "diff": change_diff(self.path, self.changes),
            "path_real": self.path_real,
            "acl_left": self.acl_left,
            "destination_before": self.destination_before,
            "replaced_as": self.replaced_as,
            "conflicts": self.conflicts,
        }

    def explain(self, error: OSError) -> str:
        """What failed, why, and what can be done."""
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0)
        return f"{self.path}: {self.doing}: {reason}{f' ({remedy})' if remedy else ''}."

    # -- which directory

    def run(self) -> None:
        check_path(self.options["path"])
        check_options(self.options)
        place = self.calls.call(self._open_or_create)
        if place is None:
            return
        try:
            self.calls.call(lambda: self._change_place(place))
        finally:
            if not self.calls.expired:
                os.close(place.handle)

    def _open_or_create(self) -> Place | None:
        """The open directory; None where it has just been made, or would be."""
        request = PlaceRequest(*(self.options[name] for name in PlaceRequest._fields))
        if not self.options["create"]:
            return self._checked(open_place(self.system, request))
        parent, name = posixpath.split(self.path)
        # Before anything is opened: what can't be right by its text alone needs no look at the disk.
        check_not_forbidden([self.path])
        check_allowed(self.path, self.options["allowed_dirs"])
        place = self._open_parent(parent)
        try:
            return self._create_below(place, name, request)
        finally:
            os.close(place.handle)

    def _checked(self, place: Place) -> Place:
        """The same place, once it is known to be one where something may be changed."""
        try:
            self.path_real = clean_text(place.real_path)
            check_not_forbidden([place.path, place.real_path, *place.other_paths])
            check_allowed(place.path, self.options["allowed_dirs"])
            if self.options["pid"] is not None:
                self.doing = "who else uses it can't be found out"
                check_directory(self.system, self.options, place.handle)
        except BaseException:
            os.close(place.handle)
            raise
        return place

    # -- a directory that is missing

    def _open_parent(self, parent: str) -> Place:
        """The parent, through the machine's own mounts where the server's lead to the very same directory.

        A service's sandbox has what it may write mounted for itself, and the rest read-only: once the data directory is
        deleted, its parent can be written through the machine's mounts alone.
        """
        self.doing = f"the directory above it, {parent}, can't be opened"
        pid = self.options["pid"]
        own_root = open_directory("/")
        try:
            if pid is None:
                return describe_place(self.system, None, open_below(own_root, parent), parent)
            verify_process(self.system, pid, self.options["started_unix"])
            root = open_directory(f"/proc/{pid}/root")
            try:
                handle = open_below(root, parent)
            finally:
                os.close(root)
            place = describe_place(self.system, pid, handle, parent)
            try:
                own = open_below(own_root, parent)
            except (OSError, Refused):
                return place
            if identity(own) == identity(handle):
                os.close(handle)
                return describe_place(self.system, None, own, parent)
            os.close(own)
            return place
        finally:
            os.close(own_root)

    def _create_below(self, parent: Place, name: str, request: PlaceRequest) -> Place | None:
        self._check_parent(parent)
        if self.options["pid"] is not None:
            check_server(self.system, self.options)
        paths = parent.below(name)
        check_not_forbidden(paths)
        self.path_real = clean_text(posixpath.join(parent.real_path, name))
        self.doing = "the directory can't be opened"
        try:
            handle = open_below(parent.handle, name)
        except FileNotFoundError:
            self._create(parent, name)
            return None
        verify_identity(handle, request)
        return self._checked(Place(handle, paths[0], paths[1], parent.mount, paths[2:]))

    def _check_parent(self, parent: Place) -> None:
        """Raise Refused where others than root and the server could put something else into the directory's place."""
        status = parent.status()
        path = clean_text(parent.path)
        trusted = {0, self.options["uid"]}
        if self.options["pid"] is not None:
            fields = parse_fields(self.system.try_read_text(f"/proc/{self.options['pid']}/status") or "")
            trusted.update(field_integers(fields, "Uid")[1:2])
        if status.st_uid not in trusted:
            raise Refused(f"{path} belongs to uid {status.st_uid}, neither root nor the server: nothing is made in it.")
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise Refused(f"{path} can be written by everybody (mode {format_mode(status.st_mode)}): not made in it.")

    def _create(self, parent: Place, name: str) -> None:
        self.doing = "it can't be made"
        mode = parse_mode(self.options["mode"]) or 0
        if os.statvfs(parent.handle).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        made = _changes.change(_changes.directory(self.path), None, "present", reversible=False)
        if self.check_mode:
            self.changes.append(made)
            return
        name = raw_names(name)[0]
        # Nobody else gets in before the owner is set.
        os.mkdir(name, 0o700, dir_fd=parent.handle)
        handle = None
        try:
            handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.handle)
            status = os.stat(handle)
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise Refused(f"{self.path} was replaced while it was made: nothing was changed.")
            os.chown(reopen_path(handle), self.options["uid"], self.options["gid"])
            os.chmod(reopen_path(handle), mode)
        except BaseException:
            # An empty directory of the wrong owner would only hide that it is missing.
            os.rmdir(name, dir_fd=parent.handle)
            raise
        finally:
            if handle is not None:
                os.close(handle)
        self.changes.append(made)
        self._relabel()

    def _relabel(self) -> None:
        """Under SELinux a new directory has its parent's type, which the server may not write to."""
        if self.options["pid"] is not None and not self._in_own_mount_namespace():
            return
        if not self.system.exists("/sys/fs/selinux/enforce"):
            return
        done = self.system.run(["restorecon", self.path], timeout_seconds=RELABEL_SECONDS)
        if done.rc != 0:
            self.warnings.append(f"{self.path}: restorecon failed; look at its SELinux type ({done.stderr.strip()}).")

    def _in_own_mount_namespace(self) -> bool:
        try:
            links = [self.system.read_link(f"/proc/{process}/ns/mnt") for process in ("self", self.options["pid"])]
        except OSError:
            return False
        return links[0] == links[1]

    # -- a directory that is there

    def _change_place(self, place: Place) -> None:
        """In the order in which one change may be needed for the next: an immutable directory has no owner changed."""
        self.acl_left = bool(read_acl(place.handle))
        self._remove_attributes(place)
        self._set_owner(place)
        self._set_mode(place)
        self._set_destination(place)
        self._put_back(place)
        self._add_attributes(place)

    def _put_back(self, place: Place) -> None:
        wanted = self.options["put_back"]
        if wanted is None:
            return
        self.doing = "the kept file can't be put back"
        changes, conflict, self.replaced_as = put_back(
            place.handle,
            self.path,
            self.options["dump_name"],
            wanted,
            self.system.clock(),
            str(os.getpid()),
            self.check_mode,
        )
        self.changes.extend(changes)
        if conflict is not None:
            self.conflicts.append(conflict)

    def _remove_attributes(self, place: Place) -> None:
        options = self.options
        self._set_attributes(place.handle, self.path, "", options["attributes_remove"])
        if options["dump_attributes_remove"]:
            self._set_dump_attributes(place, "", options["dump_attributes_remove"])

    def _add_attributes(self, place: Place) -> None:
        options = self.options
        if options["dump_attributes_add"]:
            self._set_dump_attributes(place, options["dump_attributes_add"], "")
        self._set_attributes(place.handle, self.path, options["attributes_add"], "")

    def _set_owner(self, place: Place) -> None:
        status = place.status()
        now = (status.st_uid, status.st_gid)
        wanted = tuple(
            value if value is not None else current
            for value, current in zip((self.options["uid"], self.options["gid"]), now)
        )
        if now == wanted:
            return
        what = _changes.owner(self.path)
        if self._conflicts(what, {"uid": now[0], "gid": now[1]}, _owner_text(now)):
            return
        self._check_attributes_let(place)
        if not self.check_mode:
            self.doing = "its owner can't be changed"
            os.chown(reopen_path(place.handle), *wanted)
            after = place.status()
            if (after.st_uid, after.st_gid) != wanted:
                raise OSError(errno.EPERM, "the file system did not take the owner")
        self.changes.append(_changes.change(what, _owner_text(now), _owner_text(wanted)))

    def _set_mode(self, place: Place) -> None:
        wanted = parse_mode(self.options["mode"])
        now = stat.S_IMODE(place.status().st_mode)
        if wanted is None or wanted == now:
            return
        what = _changes.mode(self.path)
        if self._conflicts(what, {"mode": now}, format_mode(now)):
            return
        self._check_attributes_let(place)
        if not self.check_mode:
            self.doing = "its mode can't be changed"
            os.chmod(reopen_path(place.handle), wanted)
            if stat.S_IMODE(place.status().st_mode) != wanted:
                raise OSError(errno.EPERM, "the file system did not take the mode")
        self.changes.append(_changes.change(what, format_mode(now), format_mode(wanted)))

    def _conflicts(self, what: str, now: dict[str, int], now_text: str) -> bool:
        """Whether somebody has changed it since, so that it is left alone; noted then."""
        expected = self.options["expected"] or {}
        for name, value in now.items():
            wanted = expected.get(name)
            if wanted is not None and (int(wanted, 8) if name == "mode" else wanted) != value:
                self.conflicts.append(f"{what} is {now_text}, neither the value before nor the one that was set")
                return True
        return False

    def _check_attributes_let(self, place: Place) -> None:
        """Raise Refused where an attribute forbids what comes next, in check mode too."""
        attributes = read_attributes(place.handle)
        gone = set(self.options["attributes_remove"]) if self.check_mode else set()
        held = [
            name
            for name, letter in (("immutable", "i"), ("append_only", "a"))
            if getattr(attributes, name) and letter not in gone
        ]
        if held:
            raise Refused(f"{self.path} is {' and '.join(held).replace('_', '-')} (chattr): that has to go first.")

    # -- attributes

    def _set_attributes(self, handle: int, path: str, add: t.Iterable[str], remove: t.Iterable[str]) -> None:
        if not add and not remove:
            return
        attributes = read_attributes(handle)
        held = {letter for letter, has in (("i", attributes.immutable), ("a", attributes.append_only)) if has}
        wanted = (held | set(add)) - set(remove)
        if attributes.immutable is None:
            if add:
                raise OSError(errno.ENOTTY, f"the attributes of {path} can't be read")
            return
        if wanted == held:
            return
        if not self.check_mode:
            self.doing = f"the attributes of {path} can't be changed"
            _write_flags(handle, wanted, set(add) | set(remove))
            after = read_attributes(handle)
            if {"i": after.immutable, "a": after.append_only} != {"i": "i" in wanted, "a": "a" in wanted}:
                raise OSError(errno.EPERM, "the file system did not take the attributes")
        self.changes.append(_changes.change(_changes.attributes(path), _letters(held), _letters(wanted)))

    def _set_dump_attributes(self, place: Place, add: t.Iterable[str], remove: t.Iterable[str]) -> None:
        self.doing = "its dump can't be opened"
        handle = self._open_entry(place)
        if handle is None:
            return
        try:
            status = os.stat(handle)
            path = posixpath.join(self.path, self.options["dump_name"])
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{path} is not a regular file: its attributes are left alone.")
            if status.st_nlink != 1:
                raise Refused(f"{path} has {status.st_nlink} names, so that it is another file too: left alone.")
            self._check_same_mount(place, handle, path)
            self._set_attributes(handle, path, add, remove)
        finally:
            os.close(handle)

    # -- what has the dump's name

    def _open_entry(self, place: Place) -> int | None:
        """An O_PATH handle of what has the dump's name, None where nothing has it. Links are not followed."""
        for name in raw_names(self.options["dump_name"]):
            try:
                return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.handle)
            except FileNotFoundError:
                continue
        return None

    @staticmethod
    def _check_same_mount(place: Place, handle: int, path: str) -> None:
        ids = mount_id_of(handle), mount_id_of(place.handle)
        if None in ids or ids[0] != ids[1]:
            raise Refused(f"{path} is a mount point: it is left alone.")

    def _set_destination(self, place: Place) -> None:
        wanted = self.options["destination"]
        if wanted == "unchanged":
            return
        path = posixpath.join(self.path, self.options["dump_name"])
        self.doing = f"{path} can't be opened"
        handle = self._open_entry(place)
        if handle is None:
            if wanted == "directory":
                self._make_destination(place, path)
            return
        try:
            if wanted == "absent":
                self._remove_destination(place, handle, path)
            elif not stat.S_ISDIR(os.stat(handle).st_mode):
                self.conflicts.append(f"{path} is a file now, and stays")
        finally:
            os.close(handle)

    def _remove_destination(self, place: Place, handle: int, path: str) -> None:
        status = os.stat(handle)
        if stat.S_ISLNK(status.st_mode):
            raise Refused(f"{path} is a symbolic link, not a directory: it is left alone.")
        if not stat.S_ISDIR(status.st_mode):
            # The dump itself: what stood in its way is gone.
            return
        self._check_same_mount(place, handle, path)
        with os.scandir(reopen_path(handle)) as entries:
            if next(entries, None) is not None:
                raise Refused(f"{path} is a directory that is not empty: look at what is in it, it is left alone.")
        attributes = read_attributes(handle)
        if attributes.immutable or attributes.append_only:
            raise Refused(f"{path} is immutable or append-only (chattr): it is left alone.")
        self._check_attributes_let(place)
        self.destination_before = {
            "uid": status.st_uid,
            "gid": status.st_gid,
            "mode": format_mode(status.st_mode),
        }
        if not self.check_mode:
            self.doing = f"{path} can't be removed"
            # By its name in the open directory; the kernel refuses one that is not empty.
            os.rmdir(self._name_of(place, status), dir_fd=place.handle)
        self.changes.append(_changes.change(_changes.directory(path), "present", None))

    def _name_of(self, place: Place, status: os.stat_result) -> str:
        """The dump's name as the file system knows it, still that of the entry that was looked at."""
        for name in raw_names(self.options["dump_name"]):
            try:
                now = os.stat(name, dir_fd=place.handle, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino):
                return name
        raise Refused(f"{self.options['dump_name']} was replaced meanwhile: diagnose again.")

    def _make_destination(self, place: Place, path: str) -> None:
        """Put a directory back that was removed: for a rollback."""
        self._check_attributes_let(place)
        mode = parse_mode(self.options["destination_mode"], "destination_mode")
        if not self.check_mode:
            self.doing = f"{path} can't be made"
            name = raw_names(self.options["dump_name"])[0]
            os.mkdir(name, 0o700, dir_fd=place.handle)
            handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.handle)
            try:
                if os.stat(handle).st_uid != os.geteuid():
                    raise Refused(f"{path} was replaced while it was made: its owner is left alone.")
                ids = (self.options["destination_uid"], self.options["destination_gid"])
                os.chown(reopen_path(handle), *(-1 if value is None else value for value in ids))
                os.chmod(reopen_path(handle), 0o700 if mode is None else mode)
            finally:
                os.close(handle)
        self.changes.append(_changes.change(_changes.directory(path), None, "present"))


def _owner_text(ids: t.Sequence[int]) -> str:
    return f"{ids[0]}:{ids[1]}"


def _letters(attributes: t.Collection[str]) -> str:
    return "".join(letter for letter in FLAGS if letter in attributes)


def _write_flags(handle: int, wanted: t.Collection[str], named: t.Collection[str]) -> None:
    """Set the named attributes of a directory or regular file as wanted; its other flags stay. Raises OSError."""
    machine = platform.machine()
    opened = os.open(reopen_path(handle), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # The kernel reads and writes an int, whatever the requests' numbers say.
        flags = struct.unpack_from("=i", fcntl.ioctl(opened, get_flags_request(machine), bytes(8)))[0]
        for letter in named:
            flags = flags | FLAGS[letter] if letter in wanted else flags & ~FLAGS[letter]
        fcntl.ioctl(opened, set_flags_request(machine), struct.pack("=i", flags) + bytes(4))
    finally:
        os.close(opened)
