# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The next command to type: a playbook of this collection, for one host, started as this run was.

It works when it is pasted: with the inventory, the user, the vault and the variables that the operator has given. What
may be a secret is left out, and said to be missing. A host without room needs nothing more: the roles send modules
through a pipe and keep temporary files in memory by themselves.
"""

from __future__ import annotations

import os
import re
import shlex
import typing as t

COLLECTION = "redisops.persistence"
_MAY_BE_SECRET = re.compile(r"pass|secret|token|credential|private|vault|api_?key", re.IGNORECASE)
_BARE_PLAYBOOK = re.compile(rf"ansible-playbook {re.escape(COLLECTION)}\.(\w+)(?=\s|\Z)")
# What this run was asked for must not come along with another command.
_OF_ONE_RUN = re.compile(
    r"\s*\{?\s*[\"']?(?:remediate_(?:record|confirm|address)|diagnose_reproduce|diagnose_evidence_\w+)\b"
)
_FLAGS = {"become": "--become", "become_ask_pass": "--ask-become-pass", "ask_pass": "--ask-pass"}
_VALUES = {
    "become_method": "--become-method",
    "become_user": "--become-user",
    "remote_user": "--user",
    "private_key_file": "--private-key",
    "connection": "--connection",
}
_DEFAULTS = {"become_method": ("sudo",), "become_user": ("root",), "connection": ("ssh", "smart")}


class Invocation(t.NamedTuple):
    """How a run was started. ``options``: of its command line, safe to be shown. ``left_out``: some may not be."""

    options: tuple[str, ...] = ()
    left_out: bool = False

    def playbook(self, name: str, host: str, variables: t.Mapping[str, str] | None = None) -> str:
        """``ansible-playbook redisops.persistence.NAME`` for one host, quoted for the shell.

        :param variables: each becomes ``-e NAME=VALUE``; a value with a blank is kept whole by Ansible too.
        """
        words = ["ansible-playbook", f"{COLLECTION}.{name}", *self.options, "--limit", _limit(host)]
        for variable, value in (variables or {}).items():
            words += ["-e", _assignment(variable, value)]
        return shlex.join(words)

    def complete(self, command: str, host: str) -> str:
        """A command of the rules that begins with a playbook of ours, started as this run was; any other as it is."""
        match = _BARE_PLAYBOOK.match(command)
        return command if match is None else self.playbook(match[1], host) + command[match.end() :]

    @property
    def note(self) -> str:
        """What must be added by hand, or nothing."""
        return "Add the -e of this run that hold secrets." if self.left_out else ""


BARE = Invocation()
"""Where it is not known how the run was started."""


def _limit(host: str) -> str:
    """A name as a pattern that means it alone."""
    return host if re.fullmatch(r"[\w.-]+", host, re.ASCII) and not host.startswith("-") else f"~^{re.escape(host)}$"


def _assignment(name: str, value: str) -> str:
    return f"{name}={value}" if re.fullmatch(r"[\w./:@%+,\[\]-]*", value, re.ASCII) else f"{name}={shlex.quote(value)}"


def from_command_line(arguments: t.Mapping[str, t.Any]) -> Invocation:
    """From ``context.CLIARGS``; an empty mapping (a test, another program) gives the bare command."""
    options: list[str] = []
    for source in arguments.get("inventory") or ():
        options += ["-i", str(source) if "," in str(source) else os.path.abspath(str(source))]
    for name, flag in _FLAGS.items():
        if arguments.get(name) is True:
            options.append(flag)
    for name, flag in _VALUES.items():
        value = arguments.get(name)
        if isinstance(value, str) and value and value not in _DEFAULTS.get(name, ()):
            options += [flag, value]
    for vault in arguments.get("vault_ids") or ():
        options += ["--vault-id", str(vault)]
    for path in arguments.get("vault_password_files") or ():
        options += ["--vault-password-file", os.path.abspath(str(path))]
    if arguments.get("ask_vault_pass") is True:
        options.append("--ask-vault-pass")
    left_out = False
    for given in arguments.get("extra_vars") or ():
        text = str(given)
        if text.startswith("@"):
            options += ["-e", "@" + os.path.abspath(os.path.expanduser(text[1:]))]
        elif _MAY_BE_SECRET.search(text):
            left_out = True
        elif not _OF_ONE_RUN.match(text):
            options += ["-e", text]
    return Invocation(tuple(options), left_out)


def this_run() -> Invocation:
    """How the operator has started the run that this is part of."""
    from ansible import context

    return from_command_line(context.CLIARGS)
