# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""May this user BGSAVE? Asked without sending it, so that a proof that can't be given is known before anything changes.

``ACL DRYRUN`` tells (Redis 7.0, Valkey), on 6.x the rules of the user (``ACL GETUSER``) and the table of commands. Each
changes nothing. Where they are refused it stays unknown.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import RedisFailure

SAVE = "BGSAVE"
CATEGORIES = frozenset(("all", "admin", "slow", "dangerous"))
"""The categories that BGSAVE is in, on every version that has ACLs."""

RENAMED = "The command BGSAVE is renamed or disabled (rename-command), so no save can prove anything."

Ask = t.Callable[..., t.Any]
Answer = tuple[t.Optional[bool], t.Optional[str]]


def may_save(ask: Ask, version: tuple[int, ...], user: str | None, has_dryrun: bool) -> Answer:
    """(whether, why not or why that is not known); (None, None) where nothing was asked, as who we are is not known.

    :param ask: sends a command, raises RedisFailure. :param version: of the server. :param user: who we are, by name.
    """
    try:
        if version >= (6,):
            if user is None:
                return None, None
            return _by_dryrun(ask, user) if has_dryrun else _by_rules(ask, user)
        return _by_table(ask)
    except RedisFailure as failure:
        return None, failure.message


def _by_dryrun(ask: Ask, user: str) -> Answer:
    try:
        reply = ask("ACL", "DRYRUN", user, SAVE)
    except RedisFailure as failure:
        # "ERR Command 'BGSAVE' not found"
        if failure.state == "refused" and re.search(r"command '?bgsave'? not found", failure.message, re.IGNORECASE):
            return False, RENAMED
        raise
    if reply == "OK":
        return True, None
    if isinstance(reply, str) and "no permission" in reply.lower():
        return False, not_permitted(user)
    return None, f"ACL DRYRUN answered {str(reply)[:200]!r}."


def _by_rules(ask: Ask, user: str) -> Answer:
    exists = _by_table(ask)
    if exists[0] is False:
        return exists
    reply = ask("ACL", "GETUSER", user)
    pairs = dict(zip(reply[::2], reply[1::2])) if isinstance(reply, list) else {}
    rules = pairs.get("commands")
    if not isinstance(rules, str):
        return None, "ACL GETUSER does not show the rules of the user."
    return (True, None) if is_granted(rules) else (False, not_permitted(user))


def _by_table(ask: Ask) -> Answer:
    try:
        reply = ask("COMMAND", "INFO", SAVE)
    except RedisFailure as failure:
        if failure.kind == "NOPERM":
            return None, failure.message
        raise
    if isinstance(reply, list) and len(reply) == 1:
        return (False, RENAMED) if reply[0] is None else (True, None)
    return None, "COMMAND INFO answered something else."


def is_granted(rules: str) -> bool:
    """Whether the rules of a user (``-@all +info +bgsave``), in their order, end with BGSAVE allowed."""
    granted = False
    for rule in rules.lower().split():
        sign, name = rule[:1], rule[1:]
        if name == SAVE.lower() or (name.startswith("@") and name[1:] in CATEGORIES):
            granted = sign == "+"
        elif rule in ("allcommands", "nocommands"):
            granted = rule == "allcommands"
    return granted


def not_permitted(user: str) -> str:
    """Why, and what to do."""
    return f"The user may not BGSAVE, so no save can prove anything (ACL SETUSER {user} +bgsave)."
