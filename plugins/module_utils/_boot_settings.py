# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the next boot would make of a kernel setting, and which file says so (BOOT of docs/evidence.md).

Every place that can set it is read in the order in which a boot applies them; the last one has the say:

1. the kernel command line,
2. sysctl.d (systemd-sysctl, or ``sysctl --system`` where another init runs),
3. tmpfiles.d,
4. sysfs.conf of sysfsutils,
5. systemd units and init scripts that write the setting,
6. rc.local and local.d,
7. TuneD's active profile, and the sysctl files that TuneD applies again after it.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._tuned import TunedSetting, read_tuned

FILES_LIMIT = 500
FILE_LIMIT_BYTES = 256 * 1024
LINE_LIMIT_CHARACTERS = 200
CANDIDATES_LIMIT = 50
KERNEL_COMMAND_LINE = "kernel command line"

# A file of an earlier directory hides the one of the same name in a later directory: systemd's CONF_PATHS, sysctl(8).
SYSTEMD_DIRECTORIES = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
PROCPS_DIRECTORIES = ("/run", "/etc", "/usr/local/lib", "/usr/lib", "/lib")
# What TuneD applies again after its own values (tuned/plugins/plugin_sysctl.py).
TUNED_DIRECTORIES = ("/run", "/etc")
SYSCTL_CONF = "/etc/sysctl.conf"
UNIT_DIRECTORIES = tuple(f"{directory}/systemd/system" for directory in SYSTEMD_DIRECTORIES)

_UNIT_COMMAND = re.compile(r"^\s*Exec(?:Start|StartPre|StartPost|Condition)\s*=\s*(?P<command>.*)$")
_TMPFILES_WRITE = re.compile(r"^w[+!=~^$-]*$")


class Setting(t.NamedTuple):
    """A kernel setting and the names that it goes by.

    :param path: the file that it is written to.
    :param values: a regular expression of what may be written.
    :param kernel_arguments: its names on the kernel command line.
    :param sysctl_key: its name for sysctl, with slashes; None for one that is not a sysctl.
    :param tuned_options: its names in TuneD's profiles: {type of section: names}.
    """

    name: str
    path: str
    values: str
    kernel_arguments: tuple[str, ...]
    sysctl_key: str | None
    tuned_options: dict[str, tuple[str, ...]]


class Candidate(t.NamedTuple):
    """One place that names the setting. ``applies`` is False for one that a boot passes over; ``note`` says why."""

    source: str
    line: str
    value: str | None
    applies: bool = True
    note: str | None = None


class Line(t.NamedTuple):
    path: str
    number: int
    text: str

    @property
    def source(self) -> str:
        return clean_text(f"{self.path}:{self.number}")


def collect_boot_setting(system: System, setting: Setting) -> dict[str, t.Any]:
    """BOOT of docs/evidence.md. Places that can't be read are passed over: they are world readable by custom."""
    booted_by_systemd = system.exists("/run/systemd/system")
    from_command_line = kernel_command_line_candidates(system, setting)
    candidates = list(from_command_line)
    if setting.sysctl_key is not None:
        candidates += sysctl_candidates(system, setting.sysctl_key, booted_by_systemd)
    candidates += tmpfiles_candidates(system, setting, booted_by_systemd)
    candidates += sysfs_conf_candidates(system, setting)
    candidates += unit_candidates(system, setting)
    candidates += init_script_candidates(system, setting)
    candidates += local_script_candidates(system, setting)
    candidates, managed_by = add_tuned(system, setting, candidates, bool(from_command_line))
    return resolve(candidates, managed_by)


def resolve(candidates: list[Candidate], managed_by: str | None) -> dict[str, t.Any]:
    """Who has the last word among candidates in the order in which a boot applies them."""
    applied = [candidate for candidate in candidates if candidate.applies]
    winner = applied[-1] if applied else None
    lost = [candidate for candidate in applied if winner is not None and candidate.value != winner.value]
    entries = []
    for candidate in candidates[-CANDIDATES_LIMIT:]:
        note = candidate.note
        if winner is not None and candidate.applies and candidate in lost:
            note = _join_notes(note, f"overridden by {winner.source}")
        entries.append(
            {
                "source": candidate.source,
                "line": clean_text(candidate.line.strip()[:LINE_LIMIT_CHARACTERS]),
                "value": candidate.value,
                "effective": candidate is winner,
                "note": note,
            }
        )
    boot: dict[str, t.Any] = {
        "value": winner.value if winner else None,
        "source": winner.source if winner else None,
        "candidates": entries,
        "overridden_by": [winner.source] if winner and lost else [],
        "managed_by": managed_by,
    }
    if len(candidates) > CANDIDATES_LIMIT:
        boot["truncated"] = True
    return boot


def _join_notes(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def kernel_command_line_candidates(system: System, setting: Setting) -> list[Candidate]:
    """``transparent_hugepage=never``, ``sysctl.vm.overcommit_memory=1`` (the kernel sets it itself, 5.8 and newer)."""
    candidates = []
    for word in (system.try_read_text("/proc/cmdline") or "").split():
        name, equals, value = word.partition("=")
        if equals and name.replace("/", ".") in setting.kernel_arguments:
            candidates.append(Candidate(KERNEL_COMMAND_LINE, word, value))
    return candidates


# --- files ---------------------------------------------------------------------------------------------------------


def read_lines(system: System, path: str) -> list[Line]:
    """The lines of a file with their numbers; empty where it can't be read."""
    text = system.try_read_text(path, FILE_LIMIT_BYTES) or ""
    return [Line(path, number, line) for number, line in enumerate(text.split("\n"), start=1)]


def configuration_files(
    system: System, directories: t.Sequence[str], subdirectory: str
) -> tuple[list[str], list[tuple[str, str]]]:
    """The ``*.conf`` files in the order in which they are read, and (path, hidden by) of those that are not.

    They are sorted by name, wherever they lie; of two files of one name that of the earlier directory is read.
    """
    chosen: dict[str, str] = {}
    hidden = []
    seen = set()
    for directory in directories:
        base = f"{directory}/{subdirectory}"
        if os.path.realpath(system.path(base)) in seen:  # /lib is a link to /usr/lib
            continue
        seen.add(os.path.realpath(system.path(base)))
        for name in system.list_directory(base)[:FILES_LIMIT]:
            if not name.endswith(".conf"):
                continue
            if name in chosen:
                hidden.append((f"{base}/{name}", chosen[name]))
            else:
                chosen[name] = f"{base}/{name}"
    return [chosen[name] for name in sorted(chosen)], hidden


def leads_to(system: System, path: str, target: str) -> bool:
    """Whether ``path`` is a link to ``target``."""
    try:
        link = system.read_link(path)
    except OSError:
        return False
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) == target


def _is_link(system: System, path: str) -> bool:
    try:
        return bool(system.read_link(path))
    except OSError:
        return False


def names_linked_below(system: System, directories: t.Iterable[str]) -> set[str]:
    """The names of all entries of these directories."""
    return {name for directory in directories for name in system.list_directory(directory)}


# --- sysctl.d ------------------------------------------------------------------------------------------------------


class Assignment(t.NamedTuple):
    """A line of sysctl.d that names the key: ``kind`` is explicit, glob, or exclusion (``-KEY`` without a value)."""

    kind: str
    value: str | None


def normalize_sysctl_key(key: str) -> str:
    """With slashes between the words: what the first separator is decides which it is (sysctl.d(5))."""
    first = re.search(r"[./]", key)
    if first is not None and first.group() == ".":
        key = key.translate(str.maketrans("./", "/."))
    return key.strip("/")


def parse_sysctl_line(text: str, key: str) -> Assignment | None:
    """What a line says about ``key``; None for any other line."""
    text = text.strip()
    if not text or text[0] in "#;":
        return None
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals and not name.startswith("-"):
        return None
    # A dash before an assignment means that a failure to set it doesn't matter.
    name = normalize_sysctl_key(name.lstrip("-").strip())
    if name == key:
        return Assignment("explicit" if equals else "exclusion", value.strip() if equals else None)
    if equals and re.search(r"[*?\[]", name) and fnmatch.fnmatchcase(key, name):
        return Assignment("glob", value.strip())
    return None


def sysctl_candidates(system: System, key: str, booted_by_systemd: bool) -> list[Candidate]:
    """Every assignment in sysctl.d and sysctl.conf, in the order of their weight.

    systemd-sysctl reads /etc/sysctl.conf only where a link in sysctl.d leads to it (Debian 12 has one, Debian 13 has
    neither); ``sysctl --system`` reads it last.
    """
    directories = SYSTEMD_DIRECTORIES if booted_by_systemd else PROCPS_DIRECTORIES
    files, hidden = configuration_files(system, directories, "sysctl.d")
    passed_over = [
        candidate._replace(applies=False, note=f"{clean_text(hider)} of the same name is read instead")
        for path, hider in hidden
        for candidate, _assignment in _assignments(system, path, key)
    ]
    conf_is_linked = any(leads_to(system, path, SYSCTL_CONF) for path in files)
    found = [pair for path in files for pair in _assignments(system, path, key)]
    of_sysctl_conf = [] if conf_is_linked else _assignments(system, SYSCTL_CONF, key)
    if booted_by_systemd:
        note = "systemd does not read this file: no link in /etc/sysctl.d leads to it"
        passed_over += [candidate._replace(applies=False, note=note) for candidate, _assignment in of_sysctl_conf]
    else:
        found += of_sysctl_conf
    candidates = passed_over + weigh_assignments(found)
    if booted_by_systemd and any(
        leads_to(system, f"{directory}/systemd-sysctl.service", "/dev/null") for directory in UNIT_DIRECTORIES
    ):
        note = "systemd-sysctl.service is masked"
        candidates = [candidate._replace(applies=False, note=note) for candidate in candidates]
    return candidates


def _assignments(system: System, path: str, key: str) -> list[tuple[Candidate, Assignment]]:
    note = None
    if leads_to(system, path, SYSCTL_CONF):
        path, note = SYSCTL_CONF, f"read through {clean_text(path)}"
    found = []
    for line in read_lines(system, path):
        assignment = parse_sysctl_line(line.text, key)
        if assignment is not None:
            found.append((Candidate(line.source, line.text, assignment.value, note=note), assignment))
    return found


def weigh_assignments(found: list[tuple[Candidate, Assignment]]) -> list[Candidate]:
    """Sort by weight: patterns give way to the key's own line, and to an exclusion of the key, wherever those stand.

    Of the key's own lines the last one counts (systemd's sysctl.c: a hash map of options, applied once).
    """
    own = [(candidate, assignment) for candidate, assignment in found if assignment.kind != "glob"]
    patterns = [candidate for candidate, assignment in found if assignment.kind == "glob"]
    last = own[-1] if own else None
    candidates = []
    for candidate in patterns:
        applies = last is None or last[1].kind != "exclusion"
        note = None if applies or last is None else f"excluded by {last[0].source}"
        candidates.append(candidate._replace(applies=applies, note=_join_notes(candidate.note, note)))
    for candidate, assignment in own:
        note = candidate.note
        applies = assignment.kind == "explicit"
        if not applies:
            note = _join_notes(note, "excludes the key from patterns; sets nothing")
        elif last is not None and last[1].kind == "exclusion":
            applies, note = False, _join_notes(note, f"excluded by {last[0].source}")
        candidates.append(candidate._replace(applies=applies, note=note))
    return candidates


# --- tmpfiles.d and sysfs.conf -------------------------------------------------------------------------------------


def tmpfiles_candidates(system: System, setting: Setting, booted_by_systemd: bool) -> list[Candidate]:
    """Lines ``w PATH - - - - VALUE``. Of two lines with one path the first counts, unlike in sysctl.d."""
    files, hidden = configuration_files(system, SYSTEMD_DIRECTORIES, "tmpfiles.d")
    candidates = [
        Candidate(line.source, line.text, value, False, f"{clean_text(hider)} of the same name is read instead")
        for path, hider in hidden
        for line, _pattern, value in _tmpfiles_writes(system, path, setting)
    ]
    first_of: dict[str, str] = {}
    for path in files:
        for line, pattern, value in _tmpfiles_writes(system, path, setting):
            note = None
            if not booted_by_systemd:
                note = "only systemd-tmpfiles reads this file, and this host was not booted by systemd"
            elif pattern in first_of:
                note = f"{first_of[pattern]} names the same path first"
            first_of.setdefault(pattern, line.source)
            candidates.append(Candidate(line.source, line.text, value, note is None, note))
    return candidates


def _tmpfiles_writes(system: System, path: str, setting: Setting) -> t.Iterator[tuple[Line, str, str]]:
    for line in read_lines(system, path):
        fields = line.text.split(None, 6)
        if len(fields) == 7 and _TMPFILES_WRITE.match(fields[0]):
            pattern = fields[1].strip("\"'")
            if fnmatch.fnmatchcase(setting.path, pattern):
                yield line, pattern, fields[6].strip().strip("\"'")


def sysfs_conf_candidates(system: System, setting: Setting) -> list[Candidate]:
    """Lines ``ATTRIBUTE = VALUE`` of /etc/sysfs.conf and /etc/sysfs.d (package sysfsutils), paths below /sys."""
    if not setting.path.startswith("/sys/"):
        return []
    attribute = setting.path[len("/sys/") :]
    installed = system.exists("/etc/init.d/sysfsutils") or any(
        system.exists(f"{directory}/sysfsutils.service") for directory in UNIT_DIRECTORIES
    )
    note = None if installed else "sysfsutils is not installed: nothing reads this file"
    candidates = []
    for path in ["/etc/sysfs.conf", *configuration_files(system, ["/etc"], "sysfs.d")[0]]:
        for line in read_lines(system, path):
            name, equals, value = line.text.partition("=")
            if equals and name.strip() == attribute:
                candidates.append(Candidate(line.source, line.text, value.strip(), installed, note))
    return candidates


# --- commands in units and scripts ---------------------------------------------------------------------------------


def written_by_command(text: str, setting: Setting) -> str | None:
    """The value that a shell command writes to the setting, or None where it writes none that can be recognised."""
    value = rf"[\"'\\]*(?P<value>{setting.values})(?:\\n)?[\"'\\]*"
    file_name = posixpath.basename(setting.path)
    # Scripts often keep the directory in a variable.
    path = rf"[\"'\\]*(?:{re.escape(setting.path)}|\$\{{?\w+\}}?(?:/{re.escape(file_name)})?)(?![\w/}}])"
    patterns = [
        rf"\b(?:echo|printf)\s+(?:-\w+\s+)*{value}\s*(?:\|\s*(?:sudo\s+)?(?:\S*/)?tee\s+(?:-a\s+)?|>>?\s*){path}"
    ]
    if setting.sysctl_key is not None:
        key = re.escape(setting.sysctl_key).replace("/", "[./]")
        patterns.append(rf"\bsysctl\b[^;&|]*?\s[\"']?{key}\s*=\s*{value}")
    found = [match for pattern in patterns for match in re.finditer(pattern, text)]
    return max(found, key=lambda match: match.start()).group("value") if found else None


def mentions(text: str, setting: Setting) -> bool:
    """Whether a script has to do with the setting at all."""
    if posixpath.dirname(setting.path) in text and posixpath.basename(setting.path) in text:
        return True
    return (
        setting.sysctl_key is not None
        and re.search(re.escape(setting.sysctl_key).replace("/", "[./]"), text) is not None
    )


def script_candidates(lines: list[Line], setting: Setting) -> list[Candidate]:
    """The lines of a shell script that write the setting."""
    if not mentions("\n".join(line.text for line in lines), setting):
        return []
    candidates = []
    for line in lines:
        if not line.text.lstrip().startswith("#"):
            value = written_by_command(line.text, setting)
            if value is not None:
                candidates.append(Candidate(line.source, line.text, value))
    return candidates


def unit_candidates(system: System, setting: Setting) -> list[Candidate]:
    """Services that write the setting when they start, in order of their names (systemd starts them side by side)."""
    enabled = enabled_units(system)
    found: dict[str, list[Candidate]] = {}
    seen: set[str] = set()
    for directory in UNIT_DIRECTORIES:
        administrators = not directory.startswith(("/usr/lib/", "/lib/"))
        for name in system.list_directory(directory):
            if name.endswith(".service") and name not in seen and (administrators or name in enabled):
                seen.add(name)
                found.setdefault(name, []).extend(_unit_commands(system, f"{directory}/{name}", setting))
            elif name.endswith(".service.d") and (administrators or name[:-2] in enabled):
                for drop_in in system.list_directory(f"{directory}/{name}")[:FILES_LIMIT]:
                    if drop_in.endswith(".conf"):
                        path = f"{directory}/{name}/{drop_in}"
                        found.setdefault(name[:-2], []).extend(_unit_commands(system, path, setting))
            if len(seen) > FILES_LIMIT:
                break
    candidates = []
    for name in sorted(found):
        is_enabled = name in enabled
        for candidate in found[name]:
            note = f"{candidate.source}; {'enabled' if is_enabled else 'the unit is not enabled'}"
            candidates.append(candidate._replace(source=clean_text(name), applies=is_enabled, note=note))
    return candidates


def enabled_units(system: System) -> set[str]:
    """The units that another unit wants or requires: what a boot starts."""
    enabled = set()
    for directory in UNIT_DIRECTORIES:
        groups = [name for name in system.list_directory(directory) if name.endswith((".wants", ".requires"))]
        enabled |= names_linked_below(system, [f"{directory}/{name}" for name in groups])
    return enabled


def _unit_commands(system: System, path: str, setting: Setting) -> list[Candidate]:
    """The commands of one unit file that write the setting.

    A script that a unit starts is looked into where the administrator wrote the unit: those that come with packages
    are many, and their scripts are not about this.
    """
    lines = read_lines(system, path)
    follow_scripts = path.startswith("/etc/") and not _is_link(system, path)
    if not follow_scripts and not mentions("\n".join(line.text for line in lines), setting):
        return []
    candidates = []
    for line in joined_lines(lines):
        match = _UNIT_COMMAND.match(line.text)
        if match is None:
            continue
        value = written_by_command(match.group("command"), setting)
        if value is not None:
            candidates.append(Candidate(line.source, line.text, value))
        elif follow_scripts:
            candidates += script_candidates(_script_started_by(system, match.group("command")), setting)
    return candidates


def joined_lines(lines: list[Line]) -> list[Line]:
    """Lines that end in a backslash, with the next one."""
    joined: list[Line] = []
    for line in lines:
        if joined and joined[-1].text.endswith("\\"):
            joined[-1] = joined[-1]._replace(text=joined[-1].text[:-1] + " " + line.text)
        else:
            joined.append(line)
    return joined


def _script_started_by(system: System, command: str) -> list[Line]:
    """The script that a unit's command runs, directly or by a shell; empty for a program."""
    for word in command.lstrip("-@:+!|").split()[:2]:
        path = word.strip("\"'")
        if path.startswith("/") and (system.try_read_text(path, 2) or "") == "#!":
            return read_lines(system, path)
    return []


def started_init_scripts(system: System) -> set[str]:
    """The names of the scripts that a run level starts."""
    levels = [f"/etc/rc{level}.d" for level in "S2345"] + [f"/etc/rc.d/rc{level}.d" for level in "2345"]
    levels += [f"/etc/runlevels/{level}" for level in system.list_directory("/etc/runlevels")]
    return {re.sub(r"^S\d+", "", name) for name in names_linked_below(system, levels) if not name.startswith("K")}


def init_script_candidates(system: System, setting: Setting) -> list[Candidate]:
    """Scripts of /etc/init.d, started by a link in a run level."""
    started = started_init_scripts(system)
    candidates = []
    for name in system.list_directory("/etc/init.d")[:FILES_LIMIT]:
        note = None if name in started else "no run level starts this script"
        for candidate in script_candidates(read_lines(system, f"/etc/init.d/{name}"), setting):
            candidates.append(candidate._replace(applies=note is None, note=note))
    return candidates


def local_script_candidates(system: System, setting: Setting) -> list[Candidate]:
    """rc.local, and OpenRC's local.d: run at the end of a boot where they are executable."""
    paths = ["/etc/rc.local"]
    if not leads_to(system, "/etc/rc.local", "/etc/rc.d/rc.local"):
        paths.append("/etc/rc.d/rc.local")
    paths += [f"/etc/local.d/{name}" for name in system.list_directory("/etc/local.d") if name.endswith(".start")]
    candidates = []
    for path in paths:
        note = None if system.is_executable(path) else "the file is not executable: it is not run"
        for candidate in script_candidates(read_lines(system, path), setting):
            candidates.append(candidate._replace(applies=note is None, note=note))
    return candidates


# --- TuneD ---------------------------------------------------------------------------------------------------------


def add_tuned(
    system: System, setting: Setting, candidates: list[Candidate], on_kernel_command_line: bool
) -> tuple[list[Candidate], str | None]:
    """Put what TuneD's active profile sets behind the others, and what TuneD applies again behind that."""
    tuned = read_tuned(system, setting.tuned_options, setting.path)
    if tuned is None:
        return candidates, None
    if not tuned.starts_at_boot:
        note = "tuned.service is not enabled"
        return candidates + [_tuned_candidate(tuned)._replace(applies=False, note=note)], None
    if "vm" in setting.tuned_options and tuned.section_type == "vm" and on_kernel_command_line:
        note = "TuneD leaves alone what the kernel command line sets"
        return candidates + [_tuned_candidate(tuned)._replace(applies=False, note=note)], None
    candidates = [*candidates, _tuned_candidate(tuned)]
    if setting.sysctl_key is not None and tuned.reapplies_sysctl:
        again = _applied_again(system, setting.sysctl_key)
        if again is not None:
            earlier = [candidate for candidate in candidates if candidate.source != again.source]
            candidates = [*earlier, again]
    return candidates, f"tuned:{tuned.profile}"


def _tuned_candidate(tuned: TunedSetting) -> Candidate:
    note = f"TuneD profile {tuned.profile}"
    if tuned.value is None:
        note += "; the value is a variable of the profile"
    return Candidate(tuned.source, tuned.line, tuned.value, note=note)


def _applied_again(system: System, key: str) -> Candidate | None:
    """The last assignment of the files that TuneD reads after its own values: ``reapply_sysctl``, on by default."""
    files, _hidden = configuration_files(system, TUNED_DIRECTORIES, "sysctl.d")
    found = [pair for path in [*files, SYSCTL_CONF] for pair in _assignments(system, path, key)]
    own = [candidate for candidate, assignment in found if assignment.kind == "explicit"]
    return own[-1]._replace(note="applied again by TuneD after its profile (reapply_sysctl)") if own else None
