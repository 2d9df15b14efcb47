# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Command lines and process titles as people may see them: trimmed, and with the secrets masked."""

from __future__ import annotations

import re

from ansible_collections.redisops.persistence.plugins.module_utils._system import to_utf8

TITLE_LIMIT_CHARACTERS = 1000
MASK = "********"

# Settings of Redis and Valkey, and options of their command line clients, whose value is a secret.
SECRET_SETTINGS = frozenset(
    (
        "requirepass",
        "masterauth",
        "primaryauth",
        "sentinel-pass",
        "auth-pass",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
        "pass",
        "password",
    )
)
ACL_USER_SETTING = "user"
# `--sentinel auth-pass NAME SECRET` takes the name of the master before the secret.
NAMED_SECRET_SETTINGS = frozenset(("auth-pass",))

_SECRET_IN_TEXT = re.compile(
    r"(?i)(?P<before>(?:^|[\s'\"])-{0,2}(?:requirepass|masterauth|primaryauth|sentinel-pass"
    r"|tls-(?:client-)?key-file-pass|pass|password)(?:\s+|=))(?P<secret>\"[^\"]*\"|'[^']*'|\S+)"
)
_SECRET_IN_ADDRESS = re.compile(r"(?i)(?P<before>\b(?:redis|rediss|valkey|valkeys)://[^\s/@:]*:)[^\s@]+(?=@)")
_SECRET_IN_ENVIRONMENT = re.compile(r"(?P<before>\b(?:REDISCLI_AUTH|VALKEYCLI_AUTH)=)\S+")
# The password rules of an ACL: >add <remove #add-hash !remove-hash.
_ACL_SECRET = re.compile(r"(?P<rule>(?:^|(?<=\s))[><#!])\S+")


def mask_secrets(arguments: list[str]) -> list[str]:
    """The same arguments with every password, password hash and pass phrase replaced by asterisks.

    Redis joins everything up to the next ``--name`` into the value of a setting, so all of that is masked.
    """
    masked = []
    setting = ""
    position = 0
    for argument in arguments:
        if argument.startswith("--"):
            setting, position = argument[2:].lower(), 0
            masked.append(mask_text(argument))
            continue
        if argument in ("-a", "--pass"):
            setting, position = "pass", 0
            masked.append(argument)
            continue
        position += 1
        masked.append(_mask_value(setting, position, argument))
        if setting == "sentinel" and argument.lower() in NAMED_SECRET_SETTINGS | SECRET_SETTINGS:
            setting, position = argument.lower(), 0
    return masked


def _mask_value(setting: str, position: int, argument: str) -> str:
    """One value of a setting; ``position`` counts the values of the setting from 1."""
    if setting in NAMED_SECRET_SETTINGS and position == 1:
        return argument
    if setting in SECRET_SETTINGS:
        return MASK
    if setting == ACL_USER_SETTING:
        return _ACL_SECRET.sub(rf"\g<rule>{MASK}", argument)
    return mask_text(argument)


def mask_text(text: str) -> str:
    """Secrets inside one piece of text: a shell's command, an address with a password, an environment setting."""
    text = _SECRET_IN_TEXT.sub(rf"\g<before>{MASK}", text)
    text = _SECRET_IN_ADDRESS.sub(rf"\g<before>{MASK}", text)
    return _SECRET_IN_ENVIRONMENT.sub(rf"\g<before>{MASK}", text)


def parse_title(command_line: bytes) -> str:
    """The title of a process from the bytes of ``/proc/PID/cmdline``, secrets masked.

    A server that sets its title writes one string into the memory of its arguments: what follows, NULs, spaces and
    stray bytes of the old arguments, is not part of it. Otherwise the arguments are separated by NULs; an empty
    one (``--save ''``) is shown as such.
    """
    first, _nul, rest = command_line.partition(b"\0")
    if b" " in first.strip():
        title = re.split(r"\s{2,}", to_utf8(first).strip())[0]
        return mask_text(title)[:TITLE_LIMIT_CHARACTERS]
    if not rest.strip(b"\0 ."):
        return to_utf8(first).strip()[:TITLE_LIMIT_CHARACTERS]
    arguments = [to_utf8(argument) for argument in command_line.rstrip(b"\0").split(b"\0")]
    return " ".join(argument or "''" for argument in mask_secrets(arguments))[:TITLE_LIMIT_CHARACTERS]
