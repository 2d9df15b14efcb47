# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One drop-in file of our own beside a systemd unit: written, replaced or removed, and systemd told of it.

Files that somebody else wrote are never touched: ours are known by their name and their first line.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._changes import (
    Change,
    change,
    directory,
    file_content,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._write import make_directory, remove_file, write_file

MARK = "# Written by redisops.persistence"
"""How the first line of each of our drop-ins begins."""

PATH = re.compile(
    r"/etc/systemd/system/[A-Za-z0-9:_.\\@-]+\.(?:service|slice|scope)\.d/zz-redisops-[a-z0-9-]+\.conf", re.ASCII
)
"""systemd reads drop-ins in the order of their names, and the last one counts: ours come after the override.conf that
``systemctl edit`` writes."""
READ_LIMIT_BYTES = 64 * 1024
RELOAD_SECONDS = 60.0


class DropInError(Exception):
    """The file can't be as wanted; ``str`` says why and what to do."""


class DropIn(t.NamedTuple):
    """The file as wanted. ``content`` None: there is to be none."""

    path: str
    content: str | None


def path_of(unit: str, name: str) -> str:
    """Where our drop-in of that name (``process-limit``) lies for a unit."""
    return f"/etc/systemd/system/{unit}.d/zz-redisops-{name}.conf"


def check_wanted(wanted: DropIn) -> None:
    """Raise DropInError where the path is not one of ours, or the text lacks our mark."""
    if not PATH.fullmatch(wanted.path):
        raise DropInError(
            f"{clean_text(wanted.path)} is not the path of a drop-in of this collection: {path_of('UNIT', 'NAME')}."
        )
    if wanted.content is not None and not wanted.content.startswith(MARK):
        raise DropInError(f"The text of a drop-in must begin with the line {MARK!r}, or nobody will know whose it is.")


def read_present(system: System, path: str) -> str | None:
    """The text that is there now; None where there is no file.

    :raises DropInError: where it is not a plain file, can't be read, or is not ours.
    """
    mode = _mode_of(system, path)
    if mode is None:
        return None
    if not stat.S_ISREG(mode):
        raise DropInError(f"{path} is not a plain file; it is left alone. Look at it, and remove it.")
    try:
        text = system.read_text(path, READ_LIMIT_BYTES)
    except OSError as error:
        raise DropInError(f"{path} can't be read: {error.strerror}. Run as root (become).") from None
    if not text.startswith(MARK):
        raise DropInError(f"{path} was not written by this collection; it is left alone.")
    return text


def is_directory_there(system: System, path: str) -> bool:
    """Whether the directory is there, and a real one.

    :raises DropInError: where something else has its name, a link for instance.
    """
    mode = _mode_of(system, path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise DropInError(f"{path} is not a directory; it is left alone.")
    return mode is not None


def _mode_of(system: System, path: str) -> int | None:
    """What is there, links not followed; None where nothing is. Raises DropInError."""
    try:
        return os.lstat(system.path(path)).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DropInError(f"{path} can't be looked at: {error.strerror}. Run as root (become).") from None


def plan_changes(system: System, wanted: DropIn) -> list[Change]:
    """What would have to change. Raises DropInError."""
    check_wanted(wanted)
    parent = os.path.dirname(wanted.path)
    has_parent = is_directory_there(system, parent)
    present = read_present(system, wanted.path) if has_parent else None
    if present == wanted.content:
        return []
    changes = [change(file_content(wanted.path), present, wanted.content)]
    if wanted.content is not None and not has_parent:
        changes.insert(0, change(directory(parent), None, "present"))
    if wanted.content is None and system.list_directory(parent) == [os.path.basename(wanted.path)]:
        changes.append(change(directory(parent), "present", None))
    return changes


def make_changes(system: System, wanted: DropIn, changes: t.Sequence[Change]) -> None:
    """Carry out what :func:`plan_changes` found. Raises DropInError; the file is then as it was."""
    if not changes:
        return
    parent = os.path.dirname(wanted.path)
    try:
        if wanted.content is None:
            remove_file(system, wanted.path)
            _remove_if_empty(system.path(parent))
        else:
            if not is_directory_there(system, parent):
                make_directory(system, parent)
            write_file(system, wanted.path, wanted.content)
    except OSError as error:
        raise DropInError(f"{wanted.path} can't be changed: {error.strerror}. {_remedy(error)}") from None


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "Make room on the file system of /etc."
    if error.errno == errno.EROFS:
        return "The file system of /etc is read-only; find out why before it is made writable."
    return "Run as root (become)."


def _remove_if_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def reload_systemd(system: System) -> str | None:
    """Tell systemd of the files. None, or why it could not be told."""
    result = system.run(["systemctl", "daemon-reload"], timeout_seconds=RELOAD_SECONDS)
    if result.rc == 0:
        return None
    said = clean_text(result.stderr.strip() or f"exit code {result.rc}")[:300]
    return f"systemd was not told of the change (systemctl daemon-reload: {said}); run it by hand."
