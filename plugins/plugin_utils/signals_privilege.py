# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about privilege: whether root may change anything for the sake of this server, and who else would feel it."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._privilege import (
    TAKEN_DIRECTORY,
    UNTRUSTED_SERVER,
    Objection,
    object_to_directory,
    object_to_server,
    runs_as_server,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.hijack import assess
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    dig,
    entries,
    flag,
    integer,
    mapping,
    text,
)

MOVED = "The directory was set at run time, and is not the one that the configuration file names"


def server_objections(case: Case) -> list[Objection]:
    """What stands against changing limits of the server's process."""
    if runs_as_server(_collector_uid(case), integer(case.process, "uid", "effective")):
        return []
    return object_to_server(mapping(case.process, "trust"))


def directory_objections(case: Case) -> list[Objection]:
    """What stands against changing its directory, or removing anything in it. Those that can't be accepted first."""
    uid = integer(case.process, "uid", "effective")
    users, files = mapping(case.directory, "users"), mapping(case.directory, "foreign_files")
    about_directory = [*_objections_to_listed(case, uid), *object_to_directory(uid, users, files)]
    if runs_as_server(_collector_uid(case), uid):
        return [objection for objection in about_directory if not objection.acceptable]
    found = server_objections(case)
    written = dig(case.redis, "config_file_settings")
    settings = written if isinstance(written, t.Mapping) else None
    if not found and assess(text(case.config, "dir"), None, settings).changed_at_run_time is True:
        found = [Objection(UNTRUSTED_SERVER, f"{MOVED}: whoever may talk to the server may have set it.")]
    return sorted([*found, *about_directory], key=lambda objection: objection.acceptable)


def _objections_to_listed(case: Case, uid: int | None) -> list[Objection]:
    """The servers of the list, for where not all processes could be looked at. Unknown is not another user."""
    view = mapping(case.directory, "process_view")
    place = (view.get("device"), view.get("inode"))
    found = []
    for peer in case.peers:
        other, other_uid = mapping(peer, "data_directory", "process_view"), integer(peer, "process", "uid", "effective")
        if None in (uid, other_uid, *place) or other_uid == uid:
            continue
        if (other.get("device"), other.get("inode")) == place:
            found.append(Objection(TAKEN_DIRECTORY, f"{peer.get('address')}, of another user, works there."))
    return found


def _collector_uid(case: Case) -> int | None:
    return integer(case.host, "collector", "uid")


def servers_beside(case: Case) -> list[tuple[int, str]] | None:
    """(pid, name) of each other running server that works in the very directory; null where nobody can tell."""
    users = mapping(case.directory, "users")
    found = [
        (integer(user, "pid") or 0, f"process {user.get('pid')} (uid {user.get('uid')})")
        for user in entries(users, "processes")
        if user.get("is_server") is True and user.get("how") == "cwd" and user.get("below") is not True
    ]
    return None if not found and flag(users, "complete") is not True else found


def privilege_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    if not case.process:
        return dict.fromkeys(("server_trusted", "server_objection", "directory_objection", "directory_taken"))
    of_server, of_directory = server_objections(case), directory_objections(case)
    return {
        "server_trusted": flag(case.process, "trust", "trusted"),
        "server_objection": _join(of_server),
        "directory_objection": _join(of_directory),
        "directory_taken": any(not objection.acceptable for objection in of_directory),
    }


def _join(objections: t.Iterable[Objection]) -> str | None:
    return " ".join(objection.reason for objection in objections) or None
