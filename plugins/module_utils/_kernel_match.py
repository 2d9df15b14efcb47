# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether a record of the kernel is the server's (or its child's), or somebody's who had the same number.

A process id, a device, a second come again. Time, user, control group and program must fit: what is known not to fit
excludes a record, and what is not known makes it less sure. Used on both sides; nothing is read here.
"""

from __future__ import annotations

import re
import typing as t

Event = dict[str, t.Any]

# The kernel's clock and the log's are read apart, and a server under memory pressure reaps its child late.
CLOCK_SLACK_SECONDS = 30.0
SERVER_COMMAND = re.compile(r"(?:redis|valkey|keydb)")
# In an audit record: no user.
NO_UID = 4294967295


class Identity(t.NamedTuple):
    """The server as the kernel names it. ``shares_host_pids`` None: not known whether its pids are the host's.

    ``cgroup_paths``: its own group, as the memory controller has it; an ancestor holds other servers too.
    ``pids_paths``: the groups that may refuse it a process, its own first.
    ``nested``: the collector's own control groups are a part of the machine's, so the kernel's paths are longer, and
    its users may be others.
    """

    host_pid: int | None
    shares_host_pids: bool | None
    cgroup_paths: tuple[str, ...]
    started_unix: float | None
    nested: bool = False
    uids: frozenset[int] = frozenset()
    command: str | None = None
    pids_paths: tuple[str, ...] = ()


def identity(process: t.Mapping[str, t.Any] | None, cgroups: t.Mapping[str, t.Any] | None) -> Identity:
    """From PROCESS and CGROUPS of docs/evidence.md."""
    process, cgroups = process or {}, cgroups or {}
    namespaces = process.get("namespaces") or {}
    is_host = (namespaces.get("pid") or {}).get("is_host")
    pid, inner = process.get("pid"), process.get("pid_in_namespace")
    # In a container the collector's pids are not those of the kernel log, whoever shares them.
    nested = cgroups.get("truncated_at_namespace") is True
    shares = False if nested else is_host
    if shares is None and pid is not None and inner is not None:
        shares = pid == inner
    memory = _paths(cgroups, "memory")
    path = memory[0] if memory else cgroups.get("path")
    # Below a namespace the root group is any group of the machine.
    own = (path,) if isinstance(path, str) and path and not (nested and not path.strip("/")) else ()
    uids = process.get("uid") or {}
    command = process.get("command")
    return Identity(
        pid,
        shares,
        own,
        process.get("started_unix"),
        nested,
        frozenset(uid for uid in (uids.get("real"), uids.get("effective")) if isinstance(uid, int)),
        command if isinstance(command, str) and command else None,
        tuple(_paths(cgroups, "pids")) or own,
    )


def _paths(cgroups: t.Mapping[str, t.Any], controller: str) -> list[str]:
    groups = cgroups.get(controller) or []
    return [group["path"] for group in groups if isinstance(group, dict) and isinstance(group.get("path"), str)]


def lies_between(event: Event, since_unix: float, until_unix: float) -> bool:
    """Whether it may have happened then. Where the machine slept since, it may have been earlier than its time says."""
    moment = event.get("time_unix")
    if moment is None:
        return False
    return bool(since_unix <= moment and moment - (event.get("time_early_seconds") or 0.0) <= until_unix)


def same_user(event: Event, who: Identity) -> bool | None:
    """None where the record names no user, or the collector's users are not the kernel's."""
    uid = event.get("uid")
    if not isinstance(uid, int) or uid == NO_UID or not who.uids or who.nested:
        return None
    return uid in who.uids


def same_group(event: Event, who: Identity) -> bool | None:
    """Whether a killed process was in the server's own group or below it. None where either is not known."""
    group = event.get("task_cgroup")
    if not isinstance(group, str) or not who.cgroup_paths:
        return None
    path = who.cgroup_paths[0].rstrip("/")
    if not path:
        return not group.strip("/")  # the root group holds what is in no other
    inside = group.rstrip("/") + "/"
    return inside.startswith(path + "/") or (who.nested and path + "/" in inside)


def same_pids_group(event: Event, who: Identity) -> bool | None:
    """Whether the group that refused a process is the server's own or one above it."""
    group = event.get("cgroup")
    if not isinstance(group, str) or not who.pids_paths:
        return None
    own, refusing = who.pids_paths[0].rstrip("/") + "/", group.rstrip("/") + "/"
    return own.startswith(refusing) or (who.nested and (own in refusing or refusing.endswith(own)))


def names_server(event: Event, who: Identity) -> bool | None:
    """Whether the program of a record is a server's. A child keeps its parent's name."""
    command = event.get("command")
    if not isinstance(command, str) or not command:
        return None
    return command == who.command or SERVER_COMMAND.match(command) is not None


def is_of_another(event: Event, who: Identity) -> bool:
    """Whether something that is known of a record does not fit the server."""
    return any(fits(event, who) is False for fits in (same_user, same_group, names_server))


def is_sure(event: Event, who: Identity) -> bool:
    """Whether a record that fits by number (or by group) and by time is the server's own beyond doubt.

    Not so where only the number fits and neither user nor group is known; nor where the number is one of another
    namespace and one of them is not known; nor for a line of a file, where any program may write what looks like the
    kernel's; nor where the machine slept since, so that the time is not known.
    """
    if event.get("from_file") or (event.get("time_early_seconds") or 0.0) > CLOCK_SLACK_SECONDS:
        return False
    known = (same_user(event, who), same_group(event, who))
    if who.shares_host_pids is True:
        return True in known
    return who.nested and known[1] is True or known == (True, True)
