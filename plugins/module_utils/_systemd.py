# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The systemd unit that a server runs in, its sandbox and its limits (SYSTEMD of docs/evidence.md)."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_files import read_unit_files

SYSTEMCTL_SECONDS = 5.0
UNLIMITED = "unlimited"
# systemd's CGROUP_LIMIT_MAX and USEC_INFINITY, as some versions print them.
_INFINITE_NUMBERS = (2**64 - 1, 2**63 - 1)
# A filter spelled out is some hundred names of system calls.
SYSTEM_CALL_FILTER_LIMIT = 8192

SANDBOX_LISTS = ("ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "TemporaryFileSystem")
# What holds where nothing is set (systemd.exec(5)).
SANDBOX_DEFAULTS = {
    "ProtectSystem": "no",
    "ProtectHome": "no",
    "PrivateTmp": "no",
    "PrivateUsers": "no",
    "PrivateDevices": "no",
    "StateDirectory": "",
    "RootDirectory": "",
    "SystemCallFilter": "",
    "RestrictNamespaces": "no",
    "UMask": "0022",
}
LIMITS = (
    "LimitNPROC",
    "LimitFSIZE",
    "LimitNOFILE",
    "LimitCPU",
    "TasksMax",
    "MemoryMax",
    "MemoryHigh",
    "OOMScoreAdjust",
)
STATE = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Type",
    "FragmentPath",
    "DropInPaths",
    "User",
    "Group",
    "Restart",
    "NRestarts",
    "Result",
    "OOMPolicy",
    "StatusText",
    "TimeoutStopUSec",
    "NeedDaemonReload",
    "UnitFileState",
    "MainPID",
    # cgroup v1's name of MemoryMax
    "MemoryLimit",
)
PROPERTIES = (*STATE, *SANDBOX_LISTS, *SANDBOX_DEFAULTS, *LIMITS)

# systemd.time(7); months and years as systemd counts them.
_TIME_UNITS_MICROSECONDS = {
    "us": 1,
    "usec": 1,
    "ms": 1000,
    "msec": 1000,
    "s": 10**6,
    "sec": 10**6,
    "second": 10**6,
    "seconds": 10**6,
    "": 10**6,
    "m": 60 * 10**6,
    "min": 60 * 10**6,
    "minute": 60 * 10**6,
    "minutes": 60 * 10**6,
    "h": 3600 * 10**6,
    "hr": 3600 * 10**6,
    "hour": 3600 * 10**6,
    "hours": 3600 * 10**6,
    "d": 86400 * 10**6,
    "day": 86400 * 10**6,
    "days": 86400 * 10**6,
    "w": 604800 * 10**6,
    "week": 604800 * 10**6,
    "weeks": 604800 * 10**6,
    "month": 2629800 * 10**6,
    "months": 2629800 * 10**6,
    "y": 31557600 * 10**6,
    "year": 31557600 * 10**6,
    "years": 31557600 * 10**6,
}
_TIME_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)B?")
_SIZE_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}

# A group below a service's own that belongs to a container engine: what runs there is not the service itself.
_CONTAINER_GROUP = re.compile(
    r"(?:^|[/-])(?:libpod|docker|crio|cri-containerd|lxc|kubepods|payload|[0-9a-f]{64})(?:[-./:]|$)"
)


class CgroupUnit(t.NamedTuple):
    """What a cgroup path says: the service's name, or why there is none to ask the system manager about."""

    unit: str | None
    reason: str | None = None


def systemd_path(cgroup_text: str) -> str | None:
    """The path in systemd's own hierarchy, out of /proc/PID/cgroup (cgroups(7)): name=systemd, else version 2."""
    unified = None
    for line in cgroup_text.splitlines():
        rest = line.partition(":")[2]
        controllers, _separator, path = rest.partition(":")
        if controllers == "name=systemd":
            return path
        if controllers == "":
            unified = path
    return unified


def unescape_group(name: str) -> str:
    """The unit's name behind a cgroup's: names that would clash with files of cgroupfs get an underscore."""
    return name[1:] if name.startswith("_") else name


def unit_of_path(path: str | None, manager_path: str | None = None) -> CgroupUnit:
    """The system service that a cgroup path stands for.

    :param manager_path: the cgroup path of pid 1; a manager in a container has its units below a prefix of its own.
    """
    if not path or path.startswith("/.."):
        return CgroupUnit(None)
    prefix = (manager_path or "").removesuffix("/init.scope") if (manager_path or "").endswith("/init.scope") else ""
    if prefix and path.startswith(prefix + "/"):
        path = path[len(prefix) :]
    parts = [part for part in path.split("/") if part]
    while parts and parts[0].endswith(".slice"):
        parts.pop(0)
    if not parts or not parts[0].endswith(".service"):
        # A scope (a login, a container) or another manager's group.
        return CgroupUnit(None)
    unit, below = unescape_group(parts[0]), "/".join(parts[1:])
    if re.fullmatch(r"user@\d+\.service", unit):
        return CgroupUnit(None, "it runs under a user's own service manager")
    if unit.startswith("systemd-nspawn@") or (below and _CONTAINER_GROUP.search(below)):
        return CgroupUnit(None)
    return CgroupUnit(unit)


def unit_of_process(system: System, pid: int) -> CgroupUnit:
    """The same for a process."""
    own = systemd_path(system.try_read_text(f"/proc/{pid}/cgroup") or "")
    return unit_of_path(own, systemd_path(system.try_read_text("/proc/1/cgroup") or ""))


def parse_show(text: str) -> list[dict[str, str]]:
    """The output of ``systemctl show``: one block of NAME=VALUE lines a unit, blocks apart by an empty line."""
    blocks: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        properties: dict[str, str] = {}
        for line in block.splitlines():
            name, separator, value = line.partition("=")
            if separator:
                properties[name] = value
        if properties:
            blocks.append(properties)
    return blocks


def parse_duration(text: str | None) -> int | str | None:
    """Microseconds of ``1min 30s``, ``90``, ``infinity``; None for anything else."""
    value = (text or "").strip()
    if value in ("infinity", "18446744073709551615"):
        return UNLIMITED
    total = 0.0
    rest = value
    while rest:
        match = _TIME_PART.match(rest)
        if not match or match.group(2) not in _TIME_UNITS_MICROSECONDS:
            return None
        total += float(match.group(1)) * _TIME_UNITS_MICROSECONDS[match.group(2)]
        rest = rest[match.end() :].lstrip()
    return int(total) if value else None


def parse_limit(text: str | None) -> int | str | None:
    """A limit: a number, with a suffix of base 1024 in files, ``infinity``; None where unset or a percentage.

    Of ``SOFT:HARD`` the hard limit, as systemctl shows it under the plain name.
    """
    value = (text or "").rpartition(":")[2].strip()
    if value == "infinity":
        return UNLIMITED
    if re.fullmatch(r"-?\d+", value):
        return UNLIMITED if int(value) in _INFINITE_NUMBERS else int(value)
    match = _SIZE.fullmatch(value)
    return int(float(match.group(1)) * 1024 ** _SIZE_POWERS[match.group(2)]) if match else None


def normal_boolean(text: str) -> str:
    """``yes`` and ``no`` as systemctl prints them, for the words that files may have; anything else as it is."""
    lowered = text.lower()
    if lowered in ("1", "yes", "y", "true", "t", "on"):
        return "yes"
    if lowered in ("0", "no", "n", "false", "f", "off"):
        return "no"
    return text


def split_list(text: str | None) -> list[str]:
    """Items apart by spaces; quotes and backslash escapes keep spaces inside one item (systemd.syntax(7))."""
    items: list[str] = []
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|((?:[^\s\\]|\\.)+)', text or ""):
        item = match.group(1) if match.group(1) is not None else match.group(2)
        items.append(re.sub(r"\\(x[0-9a-fA-F]{2}|.)", _unescape_character, item))
    return items


def _unescape_character(match: re.Match[str]) -> str:
    escape = match.group(1)
    return chr(int(escape[1:], 16)) if len(escape) == 3 else {"t": "\t", "n": "\n", "s": " "}.get(escape, escape)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _text(text: str | None) -> str | None:
    return clean_text(text) if text else None


def describe(unit: str, properties: dict[str, str] | None, source: str) -> dict[str, t.Any]:
    """SYSTEMD of docs/evidence.md out of properties by their systemctl names; what is not there is None.

    :param properties: None where nothing is known of the unit but its name, so that no default holds either.
    """
    known = properties is not None
    properties = properties or {}
    reload_needed = properties.get("NeedDaemonReload")
    sandbox: dict[str, t.Any] = {name: split_list(properties.get(name)) if known else None for name in SANDBOX_LISTS}
    for name, default in SANDBOX_DEFAULTS.items():
        value = normal_boolean(properties[name]) if name in properties else default
        sandbox[name] = clean_text(value[:SYSTEM_CALL_FILTER_LIMIT]) if known else None
    if known:
        sandbox["UMask"] = sandbox["UMask"].zfill(4)
    limits = {name: parse_limit(properties.get(name)) for name in LIMITS}
    if limits["MemoryMax"] in (None, UNLIMITED) and properties.get("MemoryLimit"):
        limits["MemoryMax"] = parse_limit(properties["MemoryLimit"])
    return {
        "unit": clean_text(unit),
        "load_state": _text(properties.get("LoadState")),
        "active_state": _text(properties.get("ActiveState")),
        "sub_state": _text(properties.get("SubState")),
        "unit_file_state": _text(properties.get("UnitFileState")),
        "type": _text(properties.get("Type")),
        "fragment_path": _text(properties.get("FragmentPath")),
        "drop_in_paths": [clean_text(path) for path in split_list(properties.get("DropInPaths"))] if known else None,
        "user": _text(properties.get("User")),
        "group": _text(properties.get("Group")),
        "restart": _text(properties.get("Restart")),
        "restart_count": _number(properties.get("NRestarts")),
        "result": _text(properties.get("Result")),
        "oom_policy": _text(properties.get("OOMPolicy")),
        "status_text": _text(properties.get("StatusText")),
        "timeout_stop_usec": parse_duration(properties.get("TimeoutStopUSec")),
        "need_daemon_reload": None if reload_needed is None else reload_needed == "yes",
        "sandbox": sandbox,
        "limits": limits,
        "source": source,
    }


def show_units(system: System, units: t.Sequence[str]) -> dict[str, dict[str, str]] | None:
    """What the running systemd says of some units, by unit, in one command; None where it can't be asked.

    The command costs as much as all the rest of a server's evidence: ask once for all units of a host.
    """
    if not units or not system.exists("/run/systemd/system"):
        return None
    result = system.run(
        ["systemctl", "show", "--no-pager", "--property", ",".join(PROPERTIES), "--", *units],
        environment={"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        timeout_seconds=SYSTEMCTL_SECONDS,
    )
    blocks = parse_show(result.stdout)
    if result.rc != 0 or len(blocks) != len(units):
        return None
    return dict(zip(units, blocks))


def properties_from_files(system: System, unit: str) -> dict[str, str] | None:
    """The same properties as the unit's files have them; None where there are no files."""
    files = read_unit_files(system, unit)
    if files is None:
        return None
    properties = {name: value for name, value in files.settings.items() if name in PROPERTIES}
    if "TimeoutStopSec" in files.settings or "TimeoutSec" in files.settings:
        # Zero switches the time-out off; systemctl shows that as infinity.
        seconds = files.settings.get("TimeoutStopSec") or files.settings.get("TimeoutSec", "")
        properties["TimeoutStopUSec"] = "infinity" if parse_duration(seconds) == 0 else seconds
    properties["FragmentPath"] = files.fragment_path or ""
    properties["DropInPaths"] = " ".join(path.replace(" ", "\\ ") for path in files.drop_in_paths)
    return properties


def collect_systemd(
    system: System, pid: int, gaps: Gaps, shown: dict[str, dict[str, str]] | None = None
) -> dict[str, t.Any] | None:
    """The unit of a server; None where it runs in none of this host's services (started by hand, in a container).

    :param shown: what :func:`show_units` said of this host's units, where that was asked beforehand.
    """
    found = unit_of_process(system, pid)
    if found.reason:
        gaps.add("the server's systemd unit", found.reason, "Look with systemctl --user as that user.")
    if found.unit is None:
        return None
    properties = (shown or {}).get(found.unit)
    if properties is None:
        answer = show_units(system, [found.unit])
        properties = answer[found.unit] if answer else None
    if properties is not None:
        return describe(found.unit, properties, "systemctl")
    from_files = properties_from_files(system, found.unit)
    gaps.add(
        "the settings in force of the server's systemd unit",
        "systemctl does not answer" if system.exists("/run/systemd/system") else "systemd does not run here",
        "Run systemctl show on the host; what the unit's files say may not be in force yet.",
    )
    return describe(found.unit, from_files, "files")
