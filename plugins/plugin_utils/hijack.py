# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Is the place that the server writes to one that intruders use?

An open Redis is abused by ``CONFIG SET dir`` and ``CONFIG SET dbfilename``: the dump then lands where cron, sshd or a
web server runs or trusts it. Its saves often fail there, and a tool that "repairs" the permissions hands the machine
over. So this is asked before anybody looks at an owner. The places and names are those of the published attacks
(redis/redis#3594, #3710, #5592, #6312, #6466 and others).

Two grades. Nobody keeps a dump in the crontab directory or in ``.ssh``: such a place is a hijack whoever wrote it
down. ``/root`` or a dump named ``root`` can be an operator's own: it takes the proof that the value was set at run
time, against what the configuration file says.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass

from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import (
    DEFAULT_DBFILENAME,
    grade_name,
    grade_place,
)

__all__ = ["DEFAULT_DBFILENAME", "Hijack", "assess", "grade_name", "grade_place"]


@dataclass(frozen=True)
class Hijack:
    """``hijacked`` is true, false, or null where a weak sign can't be checked against the configuration file."""

    hijacked: bool | None
    changed_at_run_time: bool | None
    reasons: tuple[str, ...]


def _changed(now: str | None, then: str | None, is_path: bool) -> bool | None:
    """Does the running value differ from the written one? A relative path was relative to a place nobody knows."""
    if now is None or then is None:
        return None
    if not is_path:
        return now != then
    if not then.startswith("/"):
        return None
    return posixpath.normpath(now) != posixpath.normpath(then)


def assess(
    directory: str | None,
    dbfilename: str | None,
    file_settings: t.Mapping[str, t.Any] | None,
) -> Hijack:
    """Judge where the dump goes.

    :param directory: ``dir`` in force. :param dbfilename: ``dbfilename`` in force.
    :param file_settings: what the configuration file says; null when it couldn't be read or there is none.
    """
    written_directory = written_name = None
    if file_settings is not None:
        value = file_settings.get("dir")
        written_directory = value if isinstance(value, str) else None
        value = file_settings.get("dbfilename")
        # A file that doesn't name the dump leaves it at the server's default.
        written_name = value if isinstance(value, str) and value else DEFAULT_DBFILENAME
    if directory is None and dbfilename is None:
        return Hijack(None, None, ())
    directory_changed = _changed(directory, written_directory, True)
    name_changed = _changed(dbfilename, written_name, False)
    reasons: list[str] = []
    verdicts: list[bool | None] = []
    for what, value, grade, changed in (
        ("dir", directory, grade_place(directory), directory_changed),
        ("dbfilename", dbfilename, grade_name(dbfilename), name_changed),
    ):
        if grade is None:
            continue
        if grade == "strong":
            # A written value may have been made permanent by CONFIG REWRITE: it is no excuse.
            verdicts.append(True)
            reasons.append(f"{what} is {value}, where no dump belongs")
        elif changed is True:
            verdicts.append(True)
            reasons.append(f"{what} was set at run time to {value}, which intruders use")
        elif changed is None and what == "dbfilename":
            verdicts.append(None)
            reasons.append(f"{what} is {value}, which intruders use; whether it was set at run time is unknown")
    changes = [change for change in (directory_changed, name_changed) if change is not None]
    changed_at_run_time = any(changes) if changes else None
    if True in verdicts:
        return Hijack(True, changed_at_run_time, tuple(reasons))
    if None in verdicts:
        return Hijack(None, changed_at_run_time, tuple(reasons))
    return Hijack(False, changed_at_run_time, ())
