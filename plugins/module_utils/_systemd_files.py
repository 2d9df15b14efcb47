# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Unit files as systemd reads them (systemd.unit(5)): the file itself, its drop-ins, and what they come to.

For machines where systemd can't be asked. Pure but for the listing and reading of files.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System

FILE_LIMIT_BYTES = 256 * 1024
DROP_INS_LIMIT = 100

# systemd.unit(5), "Unit File Search Path", system manager: the first directory wins.
DIRECTORIES = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)

# Settings that add up over several lines, and that an empty line clears (systemd.exec(5)).
LIST_SETTINGS = frozenset(
    {
        "ReadWritePaths",
        "ReadOnlyPaths",
        "InaccessiblePaths",
        "BindPaths",
        "TemporaryFileSystem",
        "SystemCallFilter",
        "StateDirectory",
        "RestrictNamespaces",
    }
)
# The names before systemd 231, which Debian's units still use.
OLD_NAMES = {
    "ReadWriteDirectories": "ReadWritePaths",
    "ReadOnlyDirectories": "ReadOnlyPaths",
    "InaccessibleDirectories": "InaccessiblePaths",
}


class UnitFiles(t.NamedTuple):
    """What the files of a unit say. ``settings``: the last word on each setting, lists joined with spaces."""

    fragment_path: str | None
    drop_in_paths: list[str]
    settings: dict[str, str]


def unescape_specifiers(value: str, unit: str) -> str:
    """A value with the specifiers that a unit's name answers (%n, %N, %p, %i; %I unescaped); others stay."""
    name = unit.rpartition(".")[0]
    prefix, _at, instance = name.partition("@")
    known = {
        "%": "%",
        "n": unit,
        "N": name,
        "p": prefix,
        "i": instance,
        "I": instance.replace("-", "/"),
    }
    result = []
    position = 0
    while position < len(value):
        if value[position] == "%" and value[position + 1 : position + 2] in known:
            result.append(known[value[position + 1]])
            position += 2
        else:
            result.append(value[position])
            position += 1
    return "".join(result)


def parse_unit_file(content: str) -> list[tuple[str, str, str]]:
    """(section, name, value) of each setting, in order; lines that end in a backslash go on in the next one."""
    settings = []
    section = ""
    pending = ""
    for line in content.splitlines():
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or (not stripped and not pending):
            continue
        if line.endswith("\\"):
            pending += line[:-1].strip() + " "
            continue
        text = (pending + stripped).strip()
        pending = ""
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1]
        elif "=" in text:
            name, _equals, value = text.partition("=")
            settings.append((section, name.strip(), value.strip()))
    return settings


def merge_settings(files: t.Iterable[list[tuple[str, str, str]]], unit: str) -> dict[str, str]:
    """What the files come to, read one after the other."""
    merged: dict[str, str] = {}
    for settings in files:
        for _section, written_name, raw_value in settings:
            name = OLD_NAMES.get(written_name, written_name)
            value = unescape_specifiers(raw_value, unit)
            if name in LIST_SETTINGS and value and merged.get(name):
                merged[name] += " " + value
            else:
                merged[name] = value
    return merged


def drop_in_directories(unit: str) -> list[str]:
    """Names of the directories that hold drop-ins of a unit, the most specific first."""
    name, _dot, suffix = unit.rpartition(".")
    names = [f"{unit}.d"]
    prefix, at, _instance = name.partition("@")
    if at:
        names.append(f"{prefix}@.{suffix}.d")
    # foo-bar.service also takes those of foo-.service.
    parts = prefix.split("-")
    names += [f"{'-'.join(parts[:count])}-.{suffix}.d" for count in range(len(parts) - 1, 0, -1)]
    return [*names, f"{suffix}.d"]


def find_fragment(system: System, unit: str) -> str | None:
    """The unit's file, or that of its template."""
    name, _dot, suffix = unit.rpartition(".")
    prefix, at, _instance = name.partition("@")
    for candidate in [unit, f"{prefix}@.{suffix}"] if at else [unit]:
        for directory in DIRECTORIES:
            path = f"{directory}/{candidate}"
            if system.exists(path):
                return path
    return None


def find_drop_ins(system: System, unit: str) -> list[str]:
    """The unit's drop-ins in the order in which they are read: by file name; of two of one name the first found."""
    found: dict[str, str] = {}
    for name in drop_in_directories(unit):
        for directory in DIRECTORIES:
            for file in system.list_directory(f"{directory}/{name}"):
                if file.endswith(".conf"):
                    found.setdefault(file, f"{directory}/{name}/{file}")
    return [found[file] for file in sorted(found)][:DROP_INS_LIMIT]


def read_unit_files(system: System, unit: str) -> UnitFiles | None:
    """A unit out of its files, None where it has none."""
    fragment = find_fragment(system, unit)
    drop_ins = find_drop_ins(system, unit)
    if fragment is None and not drop_ins:
        return None
    paths = ([fragment] if fragment else []) + drop_ins
    contents = [system.try_read_text(path, FILE_LIMIT_BYTES) or "" for path in paths]
    return UnitFiles(fragment, drop_ins, merge_settings([parse_unit_file(content) for content in contents], unit))
