# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What TuneD's active profile sets (tuned.conf(5), tuned-main.conf(5)).

A profile can include others, whose values it overrides; ``/etc/tuned`` goes before ``/usr/lib/tuned``.
"""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

ACTIVE_PROFILE = "/etc/tuned/active_profile"
MAIN_CONFIGURATION = "/etc/tuned/tuned-main.conf"
# The directories of 2.23 and newer, then those of before.
PROFILE_DIRECTORIES = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
INCLUDES_LIMIT = 20
FILE_LIMIT_BYTES = 256 * 1024
FALSE_VALUES = ("0", "false", "no", "off", "n", "f")
TRUE_VALUES = ("1", "true", "yes", "on", "y", "t")


class TunedSetting(t.NamedTuple):
    """One setting of the active profile. ``value`` is None where it depends on a variable of the profile."""

    profile: str
    source: str
    line: str
    value: str | None
    section_type: str
    starts_at_boot: bool
    reapplies_sysctl: bool


class Option(t.NamedTuple):
    """One line ``NAME = VALUE`` of a profile."""

    section: str
    name: str
    value: str
    number: int
    line: str


class _Found(t.NamedTuple):
    section_type: str
    source: str
    option: Option


def read_tuned(system: System, names: dict[str, tuple[str, ...]], sysfs_path: str) -> TunedSetting | None:
    """What the active profile sets under one of ``names`` ({type of section: option names}), or under
    ``sysfs_path`` in a section of type sysfs; None where it sets neither, or where there is no TuneD."""
    profiles = (system.try_read_text(ACTIVE_PROFILE, 4096) or "").split()
    found: list[_Found] = []
    for profile in profiles:
        _read_profile(system, profile, names, sysfs_path, found, set())
    if not found:
        return None
    last = found[-1]
    value = last.option.value.strip("\"'").lstrip("=<>").strip()
    return TunedSetting(
        profile=clean_text(" ".join(profiles)),
        source=clean_text(last.source),
        line=last.option.line,
        value=None if "${" in value else value,
        section_type=last.section_type,
        starts_at_boot=starts_at_boot(system),
        reapplies_sysctl=reapplies_sysctl(system.try_read_text(MAIN_CONFIGURATION) or ""),
    )


def _read_profile(
    system: System,
    profile: str,
    names: dict[str, tuple[str, ...]],
    sysfs_path: str,
    found: list[_Found],
    seen: set[str],
) -> None:
    """Append what a profile sets, after what the profiles that it includes set."""
    path = find_profile(system, profile)
    if path is None or path in seen or len(seen) >= INCLUDES_LIMIT:
        return
    seen.add(path)
    options = parse_profile(system.try_read_text(path, FILE_LIMIT_BYTES) or "")
    for included in included_profiles(options):
        _read_profile(system, included, names, sysfs_path, found, seen)
    types = {option.section: option.value for option in options if option.name == "type"}
    for section in dict.fromkeys(option.section for option in options):
        mine = [option for option in options if option.section == section]
        section_type = types.get(section, section)
        if _flag(mine, "replace", TRUE_VALUES):
            found[:] = [entry for entry in found if entry.section_type != section_type]
        if _flag(mine, "enabled", FALSE_VALUES):
            found[:] = [entry for entry in found if entry.section_type != section_type]
            continue
        for option in mine:
            if _sets(option.name, section_type, names, sysfs_path):
                found.append(_Found(section_type, f"{path}:{option.number}", option))


def _sets(name: str, section_type: str, names: dict[str, tuple[str, ...]], sysfs_path: str) -> bool:
    if section_type == "sysfs":
        return fnmatch.fnmatchcase(sysfs_path, name)
    return name.replace("/", ".") in names.get(section_type, ())


def _flag(options: list[Option], name: str, values: tuple[str, ...]) -> bool:
    return any(option.name == name and option.value.lower() in values for option in options)


def find_profile(system: System, profile: str) -> str | None:
    """The file of a profile."""
    if "/" in profile or profile.startswith("."):
        return None
    for directory in PROFILE_DIRECTORIES:
        path = f"{directory}/{profile}/tuned.conf"
        if system.exists(path):
            return path
    return None


def parse_profile(text: str) -> list[Option]:
    """The options of a profile; comments start a line with ``#`` or ``;``."""
    options = []
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        header = re.fullmatch(r"\[([^]]+)\].*", stripped)
        if header:
            section = header.group(1).strip()
            continue
        name, equals, value = stripped.partition("=")
        if equals:
            options.append(Option(section, name.strip(), value.strip(), number, stripped))
    return options


def included_profiles(options: list[Option]) -> list[str]:
    """The profiles that ``[main] include`` names; one that depends on a variable can't be told."""
    names = []
    for option in options:
        if option.section == "main" and option.name == "include":
            names += [name.lstrip("-") for name in re.split(r"[,;\s]+", option.value) if name and "$" not in name]
    return names


def starts_at_boot(system: System) -> bool:
    """Whether a target or run level starts TuneD."""
    wanting = [f"/etc/systemd/system/{name}" for name in system.list_directory("/etc/systemd/system")]
    wanting += [f"/etc/runlevels/{name}" for name in system.list_directory("/etc/runlevels")]
    directories = [path for path in wanting if path.endswith(".wants") or path.startswith("/etc/runlevels/")]
    return any({"tuned.service", "tuned"} & set(system.list_directory(directory)) for directory in directories)


def reapplies_sysctl(main_configuration: str) -> bool:
    """``reapply_sysctl`` of tuned-main.conf; its default is on."""
    values = re.findall(r"(?m)^\s*reapply_sysctl\s*=\s*(\w+)", main_configuration)
    return not values or values[-1].lower() not in FALSE_VALUES
