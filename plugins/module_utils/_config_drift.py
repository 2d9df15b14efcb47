# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What differs between the running parameters and the configuration file, and whether CONFIG REWRITE may be sent.

A rewrite makes every running value permanent. So what differs must be ours: else it would keep what an intruder set, or
undo what somebody wrote to the file and has not loaded yet. What can't be compared counts as not ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._access import (
    SEARCH,
    WRITE,
    Credentials,
    FileModes,
    may_access_directory,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_defaults import DEFAULTS, SAVE_DEFAULTS
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_lines, settings_of
from ansible_collections.redisops.persistence.plugins.module_utils._config_session import ConfigFailure, ConfigSession
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import in_force, is_secret, kind_name
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import walk
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import (
    field_integers,
    parse_capabilities,
    parse_fields,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

DIRECTIVES = frozenset({"include", "user", "loadmodule", "rename-command"})
"""Lines that are no parameters: CONFIG GET knows none of them."""

LAUNCH_NAMES = frozenset({"daemonize", "supervised"})
"""Said on the command line by service managers (Debian's units do), over the file; they can't be set at run time."""

BUILT_IN_MODULE = ("valkey", "lua")
"""MODULE LIST of Valkey 9.1 gives its scripting engine a path; CONFIG REWRITE writes no line for it."""

ACL_SYNONYMS = {"allkeys": "~*", "allchannels": "&*", "allcommands": "+@all", "nocommands": "-@all"}
ACL_UNIMPORTANT = frozenset({"sanitize-payload", "resetchannels", "&*", "-@all", "resetkeys", "resetpass", "alldbs"})


class ConfigurationFile(t.NamedTuple):
    """``path`` as the server names it, ``place`` where it lies for us; ``problem``: why it can't be compared."""

    path: str
    place: str | None
    lines: list[list[str]] | None
    problem: str | None


class Drift(t.NamedTuple):
    """What differs.

    ``own``: {parameter: (in the file, or None, running)}. ``foreign``: names, or words, of what differs and is not
    ours. ``unknown``: sentences about what could not be compared.
    """

    own: dict[str, tuple[str | None, str]]
    foreign: list[str]
    unknown: list[str]

    @property
    def is_empty(self) -> bool:
        return not (self.own or self.foreign or self.unknown)


def read_configuration_file(system: System, session: ConfigSession, pid: int | None) -> ConfigurationFile:
    """The file that the server was started with, through the server's own root directory."""
    path = clean_text(session.info.fields.get("config_file", ""))
    if not path:
        return ConfigurationFile("", None, None, "The server is running without a configuration file.")
    if pid is None:
        return ConfigurationFile(path, None, None, f"{path} lies on another machine, or its server was not found.")
    place = f"/proc/{pid}/root{path}"
    gaps = Gaps()
    lines = read_lines(system, place, gaps)
    problems = [f"{entry['what']}: {entry['why']}" for entry in gaps.entries()]
    if lines is None:
        return ConfigurationFile(path, None, None, f"{path} can't be read ({'; '.join(problems)}).")
    problem = f"{path} can't be read whole ({'; '.join(problems)})." if problems else None
    return ConfigurationFile(path, place, lines, problem)


def file_settings(lines: t.Sequence[list[str]]) -> dict[str, str]:
    """{parameter, in one spelling: value}; the limits of the output buffers, a line a class, together."""
    settings = {kind_name(name): value for name, value in settings_of(lines).items() if name not in DIRECTIVES}
    limits = [" ".join(line[1:]) for line in lines if line[0] == "client-output-buffer-limit"]
    if limits:
        settings["client-output-buffer-limit"] = " ".join(limits)
    return settings


def compare(running: t.Mapping[str, str], lines: t.Sequence[list[str]], own_names: t.Iterable[str]) -> Drift:
    """What differs between all running parameters and the file. Values of secrets are looked at, and not kept."""
    own = {kind_name(name): name.lower() for name in own_names}
    drift = Drift({}, [], [])
    written = file_settings(lines)
    now = {kind_name(name): value for name, value in running.items()}
    for name, value in written.items():
        if name in now and name not in LAUNCH_NAMES:
            _compare_one(name, value, now[name], own, drift)
    for name, default in DEFAULTS.items():
        if name not in written and name in now and not _is_default(name, default, now[name]):
            _note(name, None, now[name], own, drift)
    for name in own:
        if name not in written and name not in DEFAULTS and name in now and name not in drift.own:
            drift.own[own[name]] = (None, now[name])
    if "dir" not in written and "dir" not in own and "dir" in now:
        drift.unknown.append("The file does not name dir, so the running one can't be told from one set since.")
    return drift


def _compare_one(name: str, written: str, running: str, own: dict[str, str], drift: Drift) -> None:
    if name == "dir" and not written.startswith("/") and name not in own:
        drift.unknown.append("The file names dir relative to where the server was started, which nobody can see.")
        return
    same = written == running if is_secret(name) else in_force(name, written, running)
    if not same:
        _note(name, written, running, own, drift)


def _note(name: str, written: str | None, running: str, own: dict[str, str], drift: Drift) -> None:
    if name in own and not is_secret(name):
        drift.own[own[name]] = (written, running)
    else:
        drift.foreign.append(name)


def _is_default(name: str, default: str, running: str) -> bool:
    if name == "save":
        return any(in_force(name, one, running) for one in SAVE_DEFAULTS)
    return in_force(name, default, running)


# --- what CONFIG REWRITE writes besides parameters -------------------------------------------------------------------


def compare_users(session: ConfigSession, running: t.Mapping[str, str], lines: t.Sequence[list[str]]) -> list[str]:
    """Why the ACL users are not, or may not be, those of the file; [] where they are.

    CONFIG REWRITE writes the users to the configuration file where there is no ACL file (6.0+).
    """
    if running.get("aclfile") or not session.is_at_least(6):
        return []
    try:
        reply = session.send("ACL", "LIST")
    except ConfigFailure as failure:
        return [f"the ACL users ({failure.message})"]
    entries = [str(entry).split() for entry in reply] if isinstance(reply, list) else []
    now = {words[1]: frozenset(words[2:]) - ACL_UNIMPORTANT for words in entries if len(words) > 1}
    password = running.get("requirepass", "")
    return [f"the ACL user {clean_text(name)}" for name in differing_users(now, lines, password)]


def differing_users(
    now: t.Mapping[str, frozenset[str]], lines: t.Sequence[list[str]], default_password: str
) -> list[str]:
    """Names of users that the file does not have, or has otherwise."""
    credential = _password_token(default_password) if default_password else "nopass"
    written = {"default": frozenset({"on", credential, "~*", "+@all"})}
    for line in lines:
        if line[0] == "user" and len(line) > 1:
            rules = [_acl_rule(rule) for rule in line[2:]]
            written[line[1]] = frozenset(rules) - ACL_UNIMPORTANT
    return sorted(name for name in set(now) | set(written) if now.get(name) != written.get(name))


def _acl_rule(rule: str) -> str:
    return _password_token(rule[1:]) if rule.startswith(">") else ACL_SYNONYMS.get(rule.lower(), rule)


def _password_token(password: str) -> str:
    return "#" + hashlib.sha256(password.encode("utf-8", errors="surrogateescape")).hexdigest()


def compare_modules(session: ConfigSession, lines: t.Sequence[list[str]]) -> list[str]:
    """Modules that were loaded at run time, or may have been; [] where the file names all of them."""
    if not session.info.modules and "modules" in session.info.sections:
        return []
    try:
        reply = session.send("MODULE", "LIST")
    except ConfigFailure as failure:
        return [f"the loaded modules ({failure.message})"]
    written = [line[1] for line in lines if line[0] == "loadmodule" and len(line) > 1]
    entries = [_pairs(entry) for entry in reply] if isinstance(reply, list) else []
    if any("path" in entry for entry in entries):
        # Since 7.0. Built-in modules have no path, but for one.
        known = ["", *written]
        return [
            f"the module {clean_text(entry['path'])}"
            for entry in entries
            if entry.get("path", "") not in known and (session.server, entry["path"]) != BUILT_IN_MODULE
        ]
    return ["the loaded modules"] if len(entries) > len(written) else []


def _pairs(entry: t.Any) -> dict[str, str]:
    if not isinstance(entry, list):
        return {}
    return {str(name): str(value) for name, value in zip(entry[::2], entry[1::2])}


# --- can the server write its file? ----------------------------------------------------------------------------------


def why_not_writable(system: System, pid: int, path: str) -> str | None:
    """What keeps the server from replacing its file (a new one is renamed over it since 6.0.9); None: nothing known."""
    parent = os.path.dirname(path)
    looked_up = walk(system.path(f"/proc/{pid}/root"), parent)
    try:
        if looked_up.handle is None:
            return None
        if os.statvfs(looked_up.handle).f_flag & os.ST_RDONLY:
            return f"{parent} is on a file system that is read-only for the server."
        credentials = _credentials(system, pid)
        step = looked_up.steps[-1]
        modes = FileModes(step.status.st_uid, step.status.st_gid, stat.S_IMODE(step.status.st_mode), step.acl)
        if credentials is None or may_access_directory(credentials, modes, WRITE | SEARCH).allowed is not False:
            return None
        return f"The server's user {credentials.uid} can't write to {parent} (it writes a new file and renames it)."
    except OSError:
        return None
    finally:
        looked_up.close()


def _credentials(system: System, pid: int) -> Credentials | None:
    """Whom the kernel sees; None where it can't be read, or where another user namespace makes it unclear."""
    fields = parse_fields(system.try_read_text(f"/proc/{pid}/status", 65536) or "")
    uids, gids = field_integers(fields, "Uid"), field_integers(fields, "Gid")
    maps = [system.try_read_text(f"/proc/{process}/uid_map") for process in (pid, "self")]
    if len(uids) < 2 or len(gids) < 2 or maps[0] is None or maps[0] != maps[1]:
        return None
    capabilities = parse_capabilities(fields.get("CapEff", ""))
    held = None if capabilities is None else frozenset(capabilities)
    return Credentials(uids[1], gids[1], frozenset(field_integers(fields, "Groups")), held)


def clean_sentence(words: t.Iterable[str]) -> str:
    """A list of names as part of a sentence, bounded."""
    names = sorted(set(words))
    shown = ", ".join(re.sub(r"\s+", " ", name)[:120] for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
