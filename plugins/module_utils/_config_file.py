# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A server's configuration file, read as the server itself reads it (config.c:loadServerConfig)."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._read_as import (
    NotARegularFile,
    list_directory,
    read_file,
    reads_as_others,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import CONFIG_PARAMETERS
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

INCLUDE_DEPTH_LIMIT = 16
"""As config.c:CONFIG_READ_LEN and its recursion guard: deeper includes are a loop."""
FILE_COUNT_LIMIT = 64
TOTAL_BYTES_LIMIT = 4 * 1024 * 1024

MEMORY_PARAMETERS = frozenset({"maxmemory", "auto-aof-rewrite-min-size"})
MEMORY_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
"""util.c:memtoull; CONFIG GET answers in bytes."""

_ROOT_OF_PROCESS = re.compile(r"(/proc/\d+/root)(?=/|\Z)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}


def split_arguments(line: str) -> list[str] | None:
    """One line as sds.c:sdssplitargs splits it; None for unbalanced quotes (the server would refuse the line)."""
    arguments: list[str] = []
    position = 0
    while True:
        while position < len(line) and line[position].isspace():
            position += 1
        if position >= len(line):
            return arguments
        parsed = _parse_argument(line, position)
        if parsed is None:
            return None
        argument, position = parsed
        arguments.append(argument)


def _parse_argument(line: str, position: int) -> tuple[str, int] | None:
    """(argument, position behind it). Quotes may begin in the middle of it, and must end it."""
    out: list[str] = []
    quote = ""
    while position < len(line):
        character = line[position]
        if quote == '"' and character == "\\" and position + 1 < len(line):
            hexadecimal = re.compile(r"\\x([0-9a-fA-F]{2})").match(line, position)
            if hexadecimal:
                out.append(chr(int(hexadecimal.group(1), 16)))
                position += 4
            else:
                out.append(_ESCAPES.get(line[position + 1], line[position + 1]))
                position += 2
            continue
        if quote == "'" and line.startswith("\\'", position):
            out.append("'")
            position += 2
            continue
        if quote and character == quote:
            if position + 1 < len(line) and not line[position + 1].isspace():
                return None
            return "".join(out), position + 1
        if not quote and character.isspace():
            return "".join(out), position
        if not quote and character in "\"'":
            quote = character
        else:
            out.append(character)
        position += 1
    return None if quote else ("".join(out), position)


def parse_lines(text: str) -> list[list[str]]:
    """[[parameter in lower case, argument, ..], ..] of a file; comments and lines that can't be parsed are left out."""
    parsed = []
    for raw_line in text.split("\n"):
        line = raw_line.strip(" \t\r\n")
        if not line or line.startswith("#"):
            continue
        arguments = split_arguments(line)
        if arguments:
            parsed.append([arguments[0].lower(), *arguments[1:]])
    return parsed


def settings_of(lines: t.Iterable[list[str]]) -> dict[str, str]:
    """{parameter: value}: the last line wins, ``save`` lines add up and ``save ""`` begins anew.

    Values are spelled as CONFIG GET spells them: sizes in bytes, yes and no in lower case, ``slave-`` as ``replica-``.
    """
    settings: dict[str, str] = {}
    for name, *arguments in lines:
        parameter = re.sub(r"^slave-", "replica-", name)
        value = " ".join(arguments)
        if parameter == "save":
            value = f"{settings.get('save', '')} {value}".strip() if value.strip() else ""
        settings[parameter] = _as_config_get(parameter, value)
    return settings


def _as_config_get(parameter: str, value: str) -> str:
    if parameter in MEMORY_PARAMETERS:
        match = re.match(r"(\d+)([a-z]*)\Z", value.lower())
        if match and match.group(2) in MEMORY_UNITS:
            return str(int(match.group(1)) * MEMORY_UNITS[match.group(2)])
    return value.lower() if value.lower() in ("yes", "no") else value


def read_config_file(system: System, path: str, gaps: Gaps) -> dict[str, str] | None:
    """The parameters of the evidence document as the file has them; None where the file can't be read.

    :param path: on this machine; below ``/proc/PID/root`` it is read as that process would read it, includes too.
    """
    lines = read_lines(system, path, gaps)
    if lines is None:
        return None
    settings = settings_of(lines)
    return {name: clean_text(settings[name]) for name in CONFIG_PARAMETERS if name in settings}


def read_settings(system: System, path: str) -> dict[str, str]:
    """All parameters of a file, secrets too: for looking at, never for output."""
    return settings_of(read_lines(system, path, Gaps()) or [])


def read_password(system: System, path: str) -> str | None:
    """The default user's password as the file has it: ``requirepass``, or ``user default .. >password``.

    The later line wins, as in the server. None where there is none, or where only its hash is known.
    """
    password: str | None = None
    for name, *arguments in read_lines(system, path, Gaps()) or []:
        if name == "requirepass":
            password = (arguments[0] if arguments else "") or None
        elif name == "user" and arguments[:1] == ["default"]:
            password = _password_of_rules(arguments[1:], password)
    return password


def _password_of_rules(rules: list[str], password: str | None) -> str | None:
    """ACL rules from left to right (acl.c:ACLSetUser)."""
    for rule in rules:
        if rule.startswith(">"):
            password = rule[1:]
        elif rule in ("nopass", "resetpass", "reset") or (rule.startswith("<") and rule[1:] == password):
            password = None
    return password


def read_lines(system: System, path: str, gaps: Gaps) -> list[list[str]] | None:
    """All lines, includes in their places; None where the file itself can't be read."""
    reader = _Reader(system, path, gaps)
    return reader.read(path, 0)


class _Reader:
    """Reads a file and what it includes, within bounds."""

    def __init__(self, system: System, path: str, gaps: Gaps) -> None:
        self._system = system
        self._gaps = gaps
        match = _ROOT_OF_PROCESS.match(path)
        self._prefix = match.group(1) if match else ""
        self._files_left = FILE_COUNT_LIMIT
        self._bytes_left = TOTAL_BYTES_LIMIT

    def read(self, path: str, depth: int) -> list[list[str]] | None:
        text = self._read_text(path)
        if text is None:
            return None
        lines: list[list[str]] = []
        for line in parse_lines(text):
            if line[0] != "include" or len(line) < 2:
                lines.append(line)
                continue
            for included in self._find(line[1], path):
                if depth + 1 > INCLUDE_DEPTH_LIMIT:
                    self._note(included, "Included too deeply.")
                    continue
                lines += self.read(included, depth + 1) or []
        return lines

    def _read_text(self, path: str) -> str | None:
        if self._files_left <= 0 or self._bytes_left <= 0:
            self._note(path, "Too many files, or too long.")
            return None
        try:
            data = read_file(self._system, path, self._bytes_left)
        except NotARegularFile:
            self._note(path, "Not a regular file.")
            return None
        except OSError as error:
            self._note(path, error.strerror or str(error))
            if error.errno == errno.ETIMEDOUT:
                self._files_left = 0
            return None
        self._files_left -= 1
        self._bytes_left -= len(data)
        return data.decode("utf-8", errors="surrogateescape")

    def _find(self, pattern: str, including: str) -> list[str]:
        """The files that an include line means, in order (globs since 7.0)."""
        if not pattern.startswith("/"):
            # The server looks it up in the directory that it was started in, which nobody can see any more.
            self._note(pattern, f"A relative include in {including}: it depends on where the server was started.")
            return []
        if not any(character in pattern for character in "*?["):
            return [self._prefix + pattern]
        found = [self._prefix or "/"]
        for part in pattern.strip("/").split("/"):
            found = [
                os.path.join(directory, name)
                for directory in found
                for name, _status in list_directory(self._system, directory)
                if fnmatch.fnmatchcase(name, part)
            ][:FILE_COUNT_LIMIT]
        return found

    def _note(self, path: str, why: str) -> None:
        shown = clean_text(path[len(self._prefix) :] if path.startswith(self._prefix) else path)
        remedy = "Run as root on the server's host."
        if reads_as_others(self._system):
            remedy = f"It is read as the server's own user: let that one read {shown}."
        self._gaps.add(f"config_file {clean_text(path)}", why, remedy)
