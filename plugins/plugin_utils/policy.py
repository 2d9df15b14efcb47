# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What an operator allows: which fixes, where, and with which values. Checked before a host is asked anything."""

from __future__ import annotations

import posixpath
import re
import typing as t
from collections import abc
from dataclasses import dataclass, field

from ansible_collections.redisops.persistence.plugins.module_utils._remediation_lock import LEASE_LIMIT_SECONDS
from ansible_collections.redisops.persistence.plugins.plugin_utils.signals_saves import parse_save_points, parse_size
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import UNLIMITED

PREFIX = "remediate_"
SCOPES = ("incident", "prevention", "both")
# The ids of roles/diagnose/files/fixes.yml.
FIX_IDS = (
    "overcommit",
    "thp",
    "data_dir",
    "orphan_temp_files",
    "process_limit",
    "file_size_limit",
    "pids_limit",
    "cgroup_memory",
    "oom_score",
    "stop_writes",
    "save_points",
    "maxmemory",
    "immutable",
    "destination",
    "restore_dir",
    "recreate_dir",
    "unit_sandbox",
    "rescue",
    "emergency_unblock",
    "rewrite_config",
    "verify",
)
VERIFY = "verify"
PHASE_APPLY = "apply"
# Tags that choose among what a run does. Any other tag is the caller's own, for the role as a whole.
OUR_TAGS = frozenset((*FIX_IDS, "plan", PHASE_APPLY, VERIFY))
# Fixes that need more than to be asked for: the variable, and what it takes. Only the operator knows the value: it is
# told in words, and never stands as a placeholder in a command.
VALUES_TO_GIVE = {
    "pids_limit": ("remediate_pids_limit", "a number of processes"),
    "cgroup_memory": ("remediate_cgroup_memory_bytes", "a size such as 4G"),
    "maxmemory": ("remediate_maxmemory", "a size such as 4gb"),
    "save_points": ("remediate_save_points", "pairs of seconds and changes"),
    "rescue": ("remediate_rescue_dir", "a directory of the host with room for a copy"),
    "recreate_dir": ("remediate_rescue_dir", "a directory of the host with room for a copy"),
    "unit_sandbox": ("remediate_rescue_dir", "a directory of the host with room for a copy"),
}
NOT_ALLOWED = "is not in remediate_allowed_dirs."
# What others read of the same variables.
_FOR_OTHERS = frozenset(("record_dir", "report_dir"))
LONGEST_EMERGENCY_SECONDS = 86_400
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
# systemd's MemoryMax= counts these in 1024 (systemd.resource-control(5)).
_MEMORY = re.compile(r"(\d+)\s*([KMGT]?)(?:I?B)?", re.ASCII | re.IGNORECASE)
_MEMORY_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

Limit = t.Union[int, str]


class PolicyError(ValueError):
    """A value of the policy that can't be used; the message names the variable."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{PREFIX}{name}: {problem}")
        self.name = name


@dataclass(frozen=True)
class Policy:
    """The role's variables without their prefix. ``None``: no value was given. Sizes in bytes."""

    opt_in: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()
    scope: str = "both"
    allowed_dirs: tuple[str, ...] = ()
    rescue_dir: str | None = None
    rescue_control_dir: str | None = None
    emergency_seconds: int = 900
    process_limit: Limit = 65_536
    pids_limit: Limit | None = None
    cgroup_memory_bytes: int | None = None
    save_points: str | None = None
    maxmemory: int | None = None
    verify_timeout_seconds: int = 3600
    run_tags: frozenset[str] = field(default_factory=lambda: frozenset(("all",)))
    skip_tags: frozenset[str] = frozenset()

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Policy:
        """Raises :class:`PolicyError` for the first value that can't be used."""
        given = {name: value for name, value in options.items() if value is not None and value != ""}
        read: dict[str, t.Any] = {}
        for name, value in given.items():
            if name in _FOR_OTHERS:
                continue
            if name in _CHECKED_FOR_OTHERS:
                _CHECKED_FOR_OTHERS[name](name, value)
                continue
            reader = _READERS.get(str(name))
            if reader is None:
                raise PolicyError(str(name), f"is not part of the policy; known: {', '.join(sorted(_READERS))}")
            read[name] = reader(name, value)
        return cls(**read)

    def selects(self, fix_id: str) -> bool:
        """Do the tags of this run leave this fix in? ``--tags plan`` alone leaves nothing in."""
        phase = VERIFY if fix_id == VERIFY else PHASE_APPLY
        if self.skip_tags & {"all", fix_id, phase}:
            return False
        wanted = self.run_tags & OUR_TAGS
        return not wanted or bool(wanted & {fix_id, phase}) or bool(self.run_tags & {"all", "tagged"})


def is_selected(run_tags: abc.Set[str], own_tags: abc.Set[str]) -> bool:
    """Whether the tags of a run mean this role. Tagged ``always``, its tasks run with any, mistyped ones included.

    :param own_tags: of the task and of all that it stands in.
    """
    return bool(run_tags & ({"all", "tagged"} | OUR_TAGS | (own_tags - {"always"})))


def how_to_ask(fix_id: str) -> str:
    """What to add to the command line so that a fix is applied that waits to be asked for, in words."""
    value = VALUES_TO_GIVE.get(fix_id)
    return f"-e {PREFIX}opt_in_{fix_id}=true" + (f", and with {value[0]}: {value[1]}" if value else "")


def _texts(name: str, value: t.Any) -> list[str]:
    """A list of texts; one text may hold several, parted by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(item, str) for item in value):
        raise PolicyError(name, f"must be a list of texts, not {value!r}")
    return [str(item) for item in value]


def _fix_ids(name: str, value: t.Any) -> frozenset[str]:
    ids = _texts(name, value)
    unknown = [fix_id for fix_id in ids if fix_id not in FIX_IDS]
    if unknown:
        raise PolicyError(name, f"there is no fix {unknown[0]!r}; the fixes are {', '.join(sorted(FIX_IDS))}")
    return frozenset(ids)


def _scope(name: str, value: t.Any) -> str:
    if value not in SCOPES:
        raise PolicyError(name, f"must be one of {', '.join(SCOPES)}, not {value!r}")
    return str(value)


def _tags(name: str, value: t.Any) -> frozenset[str]:
    return frozenset(_texts(name, value))


def _path(name: str, value: t.Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise PolicyError(name, f"must be an absolute path, not {value!r}")
    if _CONTROL_CHARACTERS.search(value):
        raise PolicyError(name, f"{value!r} holds a control character")
    if ".." in value.split("/"):
        raise PolicyError(name, f"{value!r} holds '..'")
    return "/" + posixpath.normpath(value).lstrip("/")


def _path_of_control_node(name: str, value: t.Any) -> str:
    if isinstance(value, str) and value.startswith("~") and not _CONTROL_CHARACTERS.search(value):
        return value
    return _path(name, value)


def _allowed_dirs(name: str, value: t.Any) -> tuple[str, ...]:
    paths = [_path(name, entry) for entry in _texts(name, value)]
    for path in paths:
        parent, last = posixpath.split(path)
        if "*" in parent:
            raise PolicyError(name, f"{path!r} has a * before its last part")
        if path == "/" or (parent == "/" and not last.strip("*")):
            raise PolicyError(name, f"{path!r} would allow the whole machine")
    return tuple(paths)


def _whole_number(name: str, value: t.Any, least: int = 1) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PolicyError(name, f"must be a whole number from {least} on, not {value!r}")
    return int(value)


def _limit(name: str, value: t.Any) -> Limit:
    if value == UNLIMITED:
        return UNLIMITED
    if isinstance(value, str) and not value.strip().isdigit():
        raise PolicyError(name, f"must be a whole number or {UNLIMITED}, not {value!r}")
    return _whole_number(name, value)


def _emergency_seconds(name: str, value: t.Any) -> int:
    seconds = _whole_number(name, value)
    if seconds > LONGEST_EMERGENCY_SECONDS:
        raise PolicyError(name, f"must be at most {LONGEST_EMERGENCY_SECONDS} (a day), not {seconds}")
    return seconds


def _memory(name: str, value: t.Any) -> int:
    """Bytes, or as systemd writes them: ``512M``, ``4G``."""
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        value = int(match.group(1)) * _MEMORY_UNITS[match.group(2).upper()]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise PolicyError(name, f"must be a number of bytes or a size such as 4G, not {value!r}")
    return int(value)


def _maxmemory(name: str, value: t.Any) -> int:
    """Bytes, or as Redis writes them: ``4gb`` (1024) or ``4g`` (1000)."""
    if isinstance(value, str):
        value = parse_size(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise PolicyError(name, "must be a number of bytes or a size as Redis writes it, such as 4gb")
    return int(value)


def _save_points(name: str, value: t.Any) -> str:
    points = parse_save_points(value) if isinstance(value, str) else None
    if not points or any(point["seconds"] < 1 for point in points):
        raise PolicyError(name, f"must be pairs of seconds and changes such as '3600 1 300 100', not {value!r}")
    return " ".join(f"{point['seconds']} {point['changes']}" for point in points)


def _lease_seconds(name: str, value: t.Any) -> int:
    seconds = _whole_number(name, value)
    if seconds > LEASE_LIMIT_SECONDS:
        raise PolicyError(name, f"must be at most {LEASE_LIMIT_SECONDS} (a week), not {seconds}")
    return seconds


# Used by tasks alone; a value that they would trip over half way is told before anything is done.
_CHECKED_FOR_OTHERS: dict[str, t.Callable[[str, t.Any], t.Any]] = {
    "lock_seconds": _lease_seconds,
    "restart_seconds": _whole_number,
}
_READERS: dict[str, t.Callable[[str, t.Any], t.Any]] = {
    "opt_in": _fix_ids,
    "skip": _fix_ids,
    "scope": _scope,
    "allowed_dirs": _allowed_dirs,
    "rescue_dir": _path,
    "rescue_control_dir": _path_of_control_node,
    "emergency_seconds": _emergency_seconds,
    "process_limit": _limit,
    "pids_limit": _limit,
    "cgroup_memory_bytes": _memory,
    "save_points": _save_points,
    "maxmemory": _maxmemory,
    "verify_timeout_seconds": _whole_number,
    "run_tags": _tags,
    "skip_tags": _tags,
}
