# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The judgement of :mod:`_privilege` on the target, at the moment of a change."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._directory_users import describe_users
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import reopen_path
from ansible_collections.redisops.persistence.plugins.module_utils._privilege import (
    ACCEPTABLE,
    UNTRUSTED_SERVER,
    Objection,
    left_standing,
    object_to_directory,
    object_to_server,
    refusal,
    runs_as_server,
)
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import field_integers, parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.plugins.module_utils._trust import collect_trust


def accept_option(choices: t.Sequence[str] = ACCEPTABLE) -> dict[str, t.Any]:
    """The options ``accept`` and ``config_file`` of a module that changes something for a server."""
    return {
        "accept": {"type": "list", "elements": "str", "choices": list(choices), "default": []},
        "config_file": {"type": "str"},
    }


def effective_uid(system: System, pid: int) -> int | None:
    """The effective uid of a process; None where there is none, or it can't be read."""
    uids = field_integers(parse_fields(system.try_read_text(f"/proc/{pid}/status") or ""), "Uid")
    return uids[1] if len(uids) > 1 else None


def check_server(system: System, options: t.Mapping[str, t.Any]) -> None:
    """Raise Refused where root is not to do anything for a server. ``options``: pid, config_file, accept."""
    uid = effective_uid(system, options["pid"])
    if not runs_as_server(os.geteuid(), uid):
        _refuse(_objections_to_server(system, options), options)


def check_directory(system: System, options: t.Mapping[str, t.Any], handle: int) -> None:
    """Raise Refused where root is not to change an open directory for a server, and OSError."""
    pid = options["pid"]
    uid = effective_uid(system, pid)
    users, files = describe_users(system, pid, uid, handle, os.readlink(reopen_path(handle)))
    found = object_to_directory(uid, users, files)
    if runs_as_server(os.geteuid(), uid):
        found = [objection for objection in found if not objection.acceptable]
    else:
        found = [*_objections_to_server(system, options), *found]
    _refuse(found, options)


def _objections_to_server(system: System, options: t.Mapping[str, t.Any]) -> list[Objection]:
    # Whoever accepts an untrusted server need not have systemd asked.
    if UNTRUSTED_SERVER in options["accept"]:
        return []
    return object_to_server(collect_trust(system, options["pid"], options["config_file"]))


def _refuse(objections: t.Iterable[Objection], options: t.Mapping[str, t.Any]) -> None:
    left = left_standing(objections, options["accept"])
    if left:
        raise Refused(refusal(left))
