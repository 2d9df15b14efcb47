# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Fill the few texts of the rules that name a value, and quote the values of commands.

Text of the rules is ours; the values come from hosts, logs and Redis and are data. Only a fixed list of names can be
asked for, nothing in a value is ever read as a template, and in a command every value is quoted for the shell.
"""

from __future__ import annotations

import re
import shlex
import typing as t

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")
DEFECT_REMEDY = "Report this as a defect of redisops.persistence, with the evidence (diagnose_evidence_dir)."
_VALUE_LIMIT_CHARACTERS = 300
_ARGUMENT_LIMIT_CHARACTERS = 4096

# What a text of the rules may name. The kind says how a number is written.
PLACEHOLDERS: dict[str, str] = {
    "address": "text",
    "blocked_by": "text",
    "cgroup_directory": "text",
    "cgroup_limit_bytes": "bytes",
    "cgroup_path": "text",
    "child_pid": "text",
    "cli": "command",
    "commit_headroom_bytes": "bytes",
    "config_file": "text",
    "connection_state": "text",
    "copy_on_write_expected_bytes": "bytes",
    "crash_module": "text",
    "dbfilename": "text",
    "device": "text",
    "directory_objection": "text",
    "directory": "text",
    "dump_path": "text",
    "error_text": "text",
    "file_directory": "text",
    "file_dbfilename": "text",
    "file_size_limit_bytes": "bytes",
    "fork_accounted_bytes": "bytes",
    "group": "text",
    "logfile": "text",
    "mount_point": "text",
    "nproc_limit": "number",
    "next_rdb_estimate_bytes": "bytes",
    "orphan_temp_bytes": "bytes",
    "orphan_temp_own_bytes": "bytes",
    "overcommit_mode": "number",
    "pid": "text",
    "pids_cgroup_path": "text",
    "save_child_pid": "text",
    "seconds_since_last_save": "seconds",
    "server_objection": "text",
    "signal": "number",
    "unit": "text",
    "usable_bytes": "bytes",
    "user": "text",
}
# Those of them that are paths of the server's own view.
_PATHS = frozenset(("blocked_by", "directory", "dump_path", "mount_point"))

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_bytes(value: float) -> str:
    """4096 -> ``4.0 KiB``."""
    size, unit = float(value), 0
    while abs(size) >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{int(size)} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def human_seconds(value: float) -> str:
    """93784 -> ``1 d 2 h``; two units are enough at 3 a.m."""
    seconds = int(value)
    if seconds < 0:
        return f"{seconds} s"
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"


def clean(value: t.Any, limit_characters: int = _VALUE_LIMIT_CHARACTERS) -> str:
    """A value as one printable line of bounded length."""
    text = _NOT_PRINTABLE.sub("?", str(value))
    return text if len(text) <= limit_characters else text[:limit_characters] + "..."


def unknown_placeholders(template: str) -> list[str]:
    """The placeholders of a text that don't exist."""
    return [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]


def fill(template: str, values: t.Mapping[str, t.Any]) -> str:
    """A sentence with its values; one that nobody could read is called unknown."""

    def replace(match: t.Match[str]) -> str:
        value, kind = values.get(match.group(1)), PLACEHOLDERS.get(match.group(1), "text")
        if value is None:
            return "(unknown)"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if kind == "bytes":
                return human_bytes(value)
            if kind == "seconds":
                return human_seconds(value)
        return clean(value)

    return _PLACEHOLDER.sub(replace, template)


def complete_commands(templates: t.Iterable[str], values: t.Mapping[str, t.Any]) -> list[str]:
    """The commands that run as they stand: those of which every value is known."""
    known = {name for name, value in values.items() if value is not None}
    return [fill_command(one, values) for one in templates if set(_PLACEHOLDER.findall(one)) <= known]


def fill_command(template: str, values: t.Mapping[str, t.Any]) -> str:
    """A command with its values quoted for the shell; one that nobody could read stays a name in capitals.

    A command for a path of the server is led by ``values["enter"]``, where the same path is another one on the host, or
    reaches the file by another path, ``values["reach"]``. What the client tells the server stays as the server has it.
    """
    names = set(_PLACEHOLDER.findall(template))
    enter = None
    if names & _PATHS and "cli" not in names:
        values, enter = {**values, **(values.get("reach") or {})}, values.get("enter")

    def replace(match: t.Match[str]) -> str:
        name = match.group(1)
        value = values.get(name)
        if value is None:
            return name.upper()
        if PLACEHOLDERS.get(name) == "command":
            # Built by shlex.join from its own arguments.
            return str(value)
        # A control character in a path must reach neither the terminal nor the shell.
        return shlex.quote(clean(value, _ARGUMENT_LIMIT_CHARACTERS))

    command = _PLACEHOLDER.sub(replace, template)
    return f"{enter} {command}" if enter else command
