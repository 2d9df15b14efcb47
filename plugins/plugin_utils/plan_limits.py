# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The fixes that raise a limit: of the running process, or of a control group; and of the unit, for the next start."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_case import (
    MANUAL,
    OPT_IN,
    REFUSE,
    CannotFix,
    Situation,
    Work,
    collector_has,
    need_process,
    need_root,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_units import (
    drop_in,
    later_drop_ins,
    part,
    unit_of,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import Limit
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_privilege import server_objections
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    UNLIMITED,
    Mapping,
    entries,
    integer,
    limit,
    mapping,
    text,
)

RAISE_LIMITS = "CAP_SYS_RESOURCE"
NO_LIMIT = float("inf")
_UNIT_SETTINGS = {"nproc": "LimitNPROC", "fsize": "LimitFSIZE", "pids": "TasksMax", "memory": "MemoryMax"}


def _spell(value: float) -> Limit:
    return UNLIMITED if value == NO_LIMIT else int(value)


def _number(value: Limit) -> float:
    return NO_LIMIT if isinstance(value, str) else float(value)


def process_limit(situation: Situation) -> Work:
    """RLIMIT_NPROC: the policy's value, or as much as the hard limit lets."""
    wanted = _number(situation.policy.process_limit)
    in_use = integer(situation.case.process, "uid_threads")
    value = _reachable(situation, "nproc", wanted)
    if in_use is not None and value <= in_use:
        if wanted <= in_use:
            raise CannotFix(
                MANUAL, f"{in_use} threads of the user run already; remediate_process_limit must be more than that."
            )
        raise CannotFix(
            REFUSE, f"The hard limit is {_spell(value)}, {in_use} threads run already, and {RAISE_LIMITS} is missing."
        )
    return _process_limit(situation, "process_limit", "nproc", value, wanted)


def file_size_limit(situation: Situation) -> Work:
    """RLIMIT_FSIZE: none, or the hard limit where that can't be raised and the next dump fits."""
    value = _reachable(situation, "fsize", NO_LIMIT)
    needed = integer(situation.signals, "next_rdb_estimate_bytes") or integer(situation.signals, "next_rdb_least_bytes")
    if value != NO_LIMIT and (needed is None or value < needed):
        raise CannotFix(
            REFUSE,
            f"The hard limit is {_spell(value)} bytes, the next dump may be larger, and {RAISE_LIMITS} is missing.",
        )
    return _process_limit(situation, "file_size_limit", "fsize", value, NO_LIMIT)


def _reachable(situation: Situation, resource: str, wanted: float) -> float:
    """The value that can be set from here: beyond the hard limit only with CAP_SYS_RESOURCE."""
    need_process(situation)
    hard = limit(situation.case.process, "limits", resource, "hard")
    if limit(situation.case.process, "limits", resource, "soft") is None or hard is None:
        raise CannotFix(MANUAL, "The limits of the process are not known; run as root (become).")
    collector = mapping(situation.host, "collector")
    if collector.get("root") is False and collector.get("uid") != integer(situation.case.process, "uid", "real"):
        raise CannotFix(MANUAL, "Changing the limits of the process takes root on the host, or the server's own user.")
    if wanted <= hard or collector_has(situation, RAISE_LIMITS) is True:
        return wanted
    return hard


def _process_limit(situation: Situation, fix_id: str, resource: str, value: float, wanted: float) -> Work:
    process = need_process(situation)
    soft = limit(situation.case.process, "limits", resource, "soft")
    hard = limit(situation.case.process, "limits", resource, "hard")
    changes = []
    if soft is not None and soft >= value:
        if value < wanted:
            raise CannotFix(REFUSE, f"The hard limit is {_spell(value)}, and {RAISE_LIMITS} is missing to raise it.")
    elif soft is not None:
        changes.append(part("live", _changes.process_limit(resource), _spell(soft), _spell(value)))
    # With the colon the hard limit stays as it is.
    colon = ":" if hard is not None and value <= hard else ""
    commands = [f"prlimit --pid {process['pid']} --{resource}={_spell(value)}{colon}"]
    setting = "infinity" if wanted == NO_LIMIT else str(int(wanted))
    written, more, unit = _keep(situation, fix_id, resource, setting)
    arguments = {
        **process,
        "resource": resource,
        "value": _spell(value),
        "unit": unit,
        "drop_in": written,
        "config_file": text(situation.case.redis, "config_file"),
        "accept": [objection.id for objection in server_objections(situation.case)],
    }
    return Work(arguments, changes + more, [*commands, *_unit_commands(situation, written)], _note(situation, written))


def _keep(
    situation: Situation, fix_id: str, setting: str, value: str
) -> tuple[dict[str, str] | None, list[_changes.Change], str | None]:
    """The drop-in, what writing it changes, and the unit; nothing of it where no unit can be changed."""
    unit = unit_of(situation)
    if unit is None or mapping(situation.host, "collector").get("root") is False:
        return None, [], None
    # A server that is in the unit's group and not what the unit runs: cron's jobs, for instance.
    if text(situation.case.process, "trust", "by") != "unit":
        return None, [], None
    written, changes = drop_in(situation, unit, fix_id, _UNIT_SETTINGS[setting], value)
    return written, changes, unit


def _unit_commands(situation: Situation, written: dict[str, str] | None) -> list[str]:
    if written is None:
        return []
    setting = written["content"].splitlines()[-1]
    return [situation.command("systemctl edit {unit}") + f"  # {setting}"]


def _note(situation: Situation, written: dict[str, str] | None) -> str | None:
    if written is None:
        return "No systemd service is known that could keep it: a restart of the server loses it."
    later = later_drop_ins(situation, written["path"])
    return (
        f"Look into {', '.join(later[:3])}: it is read after the drop-in and may set another value." if later else None
    )


# Control groups ------------------------------------------------------------------------------------------------------


def pids_limit(situation: Situation) -> Work:
    value = situation.policy.pids_limit
    if value is None:
        raise CannotFix(OPT_IN, "It needs a value that only the operator knows: remediate_pids_limit.")
    group = mapping(situation.signals, "pids_limiting_cgroup")
    path, current = text(group, "path"), integer(group, "current")
    before = limit(group, "limit")
    if path is None or before is None:
        raise CannotFix(MANUAL, "No control group is known to limit the processes; it may be the host's own limit.")
    if current is not None and _number(value) != before and _number(value) <= current:
        raise CannotFix(MANUAL, f"{current} processes run there already; remediate_pids_limit must be more than that.")
    return _group_limit(situation, "pids_limit", "pids", path, before, _number(value))


def cgroup_memory(situation: Situation) -> Work:
    value = situation.policy.cgroup_memory_bytes
    if value is None:
        raise CannotFix(OPT_IN, "It needs a value that only the operator knows: remediate_cgroup_memory_bytes.")
    group = _memory_group(situation)
    path, before = text(group, "path"), limit(group, "limit_bytes")
    if path is None or before is None or before == NO_LIMIT:
        raise CannotFix(MANUAL, "No control group is known to limit the memory.")
    return _group_limit(situation, "cgroup_memory", "memory", path, before, float(value))


def _memory_group(situation: Situation) -> Mapping:
    """The group that a save was killed in, else the one with the least room."""
    for attempt in reversed(situation.case.streak):
        killed_in = text(attempt, "killer", "cgroup")
        for group in entries(situation.case.cgroups, "memory"):
            if killed_in is not None and text(group, "path") == killed_in and limit(group, "limit_bytes") != NO_LIMIT:
                return group
    return mapping(situation.signals, "memory_limiting_cgroup")


def _group_limit(situation: Situation, fix_id: str, controller: str, path: str, before: float, value: float) -> Work:
    process = need_process(situation)
    need_root(situation, "Changing the limit of a control group")
    if value < before:
        raise CannotFix(REFUSE, f"The limit of {path} is {_spell(before)} already, more than the value that was given.")
    changes = []
    if value > before:
        changes.append(part("live", _changes.control_group(controller, path), _spell(before), _spell(value)))
    unit, written = None, None
    more: list[_changes.Change] = []
    # A group above the unit's own is shared with others, and no setting of this unit.
    own = unit_of(situation)
    if own is not None and path.rstrip("/").rpartition("/")[2] == own:
        setting = "infinity" if value == NO_LIMIT else str(int(value))
        written, more, unit = _keep(situation, fix_id, controller, setting)
    arguments: dict[str, t.Any] = {
        **process,
        "controller": controller,
        "path": path,
        "value": _spell(value),
        "unit": unit,
        "drop_in": written,
    }
    commands = None
    if unit is not None:
        name = _UNIT_SETTINGS[controller]
        commands = [
            situation.command("systemctl set-property {unit}")
            + f" {name}={'infinity' if value == NO_LIMIT else int(value)}"
        ]
    return Work(arguments, changes + more, commands, _note(situation, written) if changes else None)
