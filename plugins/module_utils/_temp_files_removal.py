# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Removing temporary files that no process will ever finish.

A plan names them; here each one is judged again at the moment of its removal, for a save may have started since, and
its child may have got the very pid that is in a name. What is not proven to be nobody's stays.
"""

from __future__ import annotations

import os
import posixpath
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._bounded import BoundedCalls
from ansible_collections.redisops.persistence.plugins.module_utils._change_diff import change_diff
from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import raw_names
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._privilege_check import (
    accept_option,
    check_directory,
    effective_uid,
)
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import field_integers, parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._process import collect_children
from ansible_collections.redisops.persistence.plugins.module_utils._safe_open import (
    Place,
    PlaceRequest,
    check_allowed,
    check_not_forbidden,
    open_place,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._temp_files import (
    CLOCK_SLACK_SECONDS,
    REPORTED_FILES_LIMIT,
    HolderFinder,
    Server,
    TempFile,
    parse_name,
    process_start_and_parent,
    temp_file_of,
)

# Looking at every process takes a second or two; removing a file of 100 GB from ext4 takes some more.
TOUCH_SECONDS = 120.0

_HELD = {
    "live_child": "a child of the server is writing it",
    "server": "the server itself may need it",
    "other_process": "another process has it or may need it",
    "unknown": "it is not known whether a process still needs it",
}


class RemovalFailed(Exception):
    """Nothing, or no more, was removed. ``result`` has what was."""

    def __init__(self, message: str, result: dict[str, t.Any]) -> None:
        super().__init__(message)
        self.result = result


def argument_spec() -> dict[str, t.Any]:
    """The options of redis_temp_files."""
    return {
        "pid": {"type": "int", "required": True},
        "started_unix": {"type": "float"},
        "path": {"type": "str", "required": True},
        "device": {"type": "str"},
        "inode": {"type": "int"},
        "names": {"type": "list", "elements": "str", "required": True},
        "allowed_dirs": {"type": "list", "elements": "str", "required": True},
        **accept_option(),
    }


def remove_temp_files(options: dict[str, t.Any], system: System, check_mode: bool) -> dict[str, t.Any]:
    """Remove (or in check mode judge) the files that the options of redis_temp_files name.

    :return: the module's result. Raises RemovalFailed.
    """
    removal = _Removal(options, system, check_mode)
    calls = BoundedCalls(TOUCH_SECONDS)
    try:
        calls.call(removal.run)
    except Refused as error:
        raise RemovalFailed(str(error), removal.result()) from None
    except OSError as error:
        raise RemovalFailed(f"{options['path']}: {error.strerror or error}", removal.result()) from None
    finally:
        calls.close()
    return removal.result()


class _Removal:
    """One run of the module."""

    def __init__(self, options: dict[str, t.Any], system: System, check_mode: bool) -> None:
        self.options = options
        self.system = system
        self.check_mode = check_mode
        self.path_real: str | None = None
        self.removed: list[dict[str, t.Any]] = []
        self.kept: list[dict[str, str]] = []
        self.absent: list[str] = []

    def result(self) -> dict[str, t.Any]:
        """The module's result so far."""
        changes = [
            _changes.change(
                _changes.temporary_file(posixpath.join(self.options["path"], entry["name"])),
                entry["size_bytes"],
                None,
                reversible=False,
            )
            for entry in self.removed
        ]
        return {
            "changed": bool(changes),
            "changes": changes,
            "diff": change_diff(self.options["path"], changes),
            "path_real": self.path_real,
            "removed": list(self.removed),
            "kept": list(self.kept),
            "absent": list(self.absent),
            "freed_bytes": sum(entry["size_bytes"] for entry in self.removed),
        }

    def run(self) -> None:
        """Raises Refused and OSError where the directory is not the one that is meant."""
        request = PlaceRequest(*(self.options[name] for name in PlaceRequest._fields))
        with open_place(self.system, request) as place:
            self.path_real = clean_text(place.real_path)
            check_not_forbidden([place.path, place.real_path, *place.other_paths])
            check_allowed(place.path, self.options["allowed_dirs"])
            check_directory(self.system, self.options, place.handle)
            files = self._find_files(place)
            # Many names at once would only be judged by what was seen seconds before.
            for start in range(0, len(files), REPORTED_FILES_LIMIT):
                self._remove_files(place, files[start : start + REPORTED_FILES_LIMIT])

    # -- which files

    def _find_files(self, place: Place) -> list[TempFile]:
        """The named files that are there and may be looked at; the others are noted."""
        files = []
        for text in dict.fromkeys(self.options["names"]):
            try:
                file = self._find_file(place, text)
            except FileNotFoundError:
                self.absent.append(text)
            except Refused as error:
                self._keep(text, str(error))
            except OSError as error:
                self._keep(text, error.strerror or str(error))
            else:
                files.append(file)
        return files

    def _find_file(self, place: Place, text: str) -> TempFile:
        """Raises Refused for what is no temporary file, and OSError."""
        folder, slash, base = text.partition("/")
        if not slash:
            folder, base = "", text
        if "\0" in text or folder in (".", "..") or (slash and not folder):
            raise Refused("it is not the name of a file in the directory")
        if "/" in base or parse_name(base, bool(folder)) is None:
            raise Refused("it is not the name of a temporary file")
        directory = self._open_folder(place, folder)
        try:
            for name in raw_names(base):
                try:
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                return self._acceptable(place, name, status, folder)
        finally:
            os.close(directory)
        raise FileNotFoundError

    @staticmethod
    def _open_folder(place: Place, folder: str) -> int:
        """The directory itself, or the AOF directory in it. Raises OSError."""
        if not folder:
            return os.dup(place.handle)
        name = raw_names(folder)[0]
        return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.handle)

    @staticmethod
    def _acceptable(place: Place, name: str, status: os.stat_result, folder: str) -> TempFile:
        if not stat.S_ISREG(status.st_mode):
            raise Refused("it is not a regular file")
        if status.st_nlink != 1:
            raise Refused(f"the file has {status.st_nlink} names, so that it is another one too")
        if status.st_dev != place.status().st_dev:
            raise Refused("it is on another device than its directory")
        file = temp_file_of(name, status, folder)
        if file is None:
            raise Refused("it is not the name of a temporary file")
        return file

    # -- whose they are

    def _server(self) -> Server:
        """The server and its children of this moment."""
        pid = self.options["pid"]
        fields = parse_fields(self.system.try_read_text(f"/proc/{pid}/status") or "")
        inner = field_integers(fields, "NSpid")
        children = [
            (child["pid_in_namespace"], child["pid"], child["started_unix"])
            for child in collect_children(self.system, pid)
        ]
        started_unix = process_start_and_parent(self.system, pid)[0]
        return Server(pid, inner[-1] if inner else None, started_unix, children)

    def _remove_files(self, place: Place, files: list[TempFile]) -> None:
        if not files:
            return
        server = self._server()
        finder = HolderFinder(self.system, server, files, place.mount.type)
        uid = effective_uid(self.system, server.pid)
        for file in files:
            reason = why_not_its_own(file, uid) or why_kept(file, server, finder)
            if reason is None:
                reason = self._remove(place, file)
            if reason is not None:
                self._keep(file.name, reason)

    def _keep(self, name: str, reason: str) -> None:
        self.kept.append({"name": clean_text(name), "reason": reason})

    # -- the removal

    def _remove(self, place: Place, file: TempFile) -> str | None:
        """Unlink the very file that was judged; why it stays where it is another one by now."""
        folder, _slash, name = file.name.rpartition("/")
        try:
            directory = self._open_folder(place, folder)
            try:
                if not is_unchanged(os.stat(name, dir_fd=directory, follow_symlinks=False), file.status):
                    return "it was changed or replaced while it was looked at"
                if not self.check_mode:
                    os.unlink(name, dir_fd=directory)
            finally:
                os.close(directory)
        except FileNotFoundError:
            self.absent.append(clean_text(file.name))
            return None
        except OSError as error:
            return f"it can't be removed: {error.strerror or error}"
        self.removed.append({"name": clean_text(file.name), "size_bytes": file.status.st_size})
        return None


def why_not_its_own(file: TempFile, server_uid: int | None) -> str | None:
    """Why a file is not one that this server left; None where it is. A child has the uid of its server."""
    if server_uid is None:
        return "the user that the server runs as is not known"
    if file.status.st_uid != server_uid:
        return f"it belongs to uid {file.status.st_uid}, and the server runs as uid {server_uid}"
    return None


def why_kept(file: TempFile, server: Server, finder: HolderFinder) -> str | None:
    """Why a file can't be told to be nobody's; None for an orphan."""
    if not finder.complete:
        return "not every process that may have it open could be seen"
    holder, is_open = finder.answer(file)
    if holder != "none":
        return _HELD.get(holder, _HELD["unknown"])
    if is_open is not False:
        return "a process has it open"
    # Without a pid in its name only a start of the server since then proves that it is left over.
    if file.pid is None and not _is_older_than(file, server.started_unix):
        return "its name has no process id, and it is not older than the server"
    return None


def _is_older_than(file: TempFile, started_unix: float | None) -> bool:
    return started_unix is not None and file.status.st_mtime < started_unix - CLOCK_SLACK_SECONDS


def is_unchanged(now: os.stat_result, then: os.stat_result) -> bool:
    """Whether two looks at a name saw one and the same file, with the same content."""
    fields = ("st_dev", "st_ino", "st_mode", "st_nlink", "st_size", "st_mtime_ns", "st_ctime_ns")
    return all(getattr(now, field) == getattr(then, field) for field in fields)
