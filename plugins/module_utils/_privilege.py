# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether root may change owner, mode, limits and files for the sake of a server: what stands against it.

Pure, and asked twice: by the plan of the evidence, and on the target at the moment of the change. The blocks are
those of docs/evidence.md. What is not known stands against it as well.
"""

from __future__ import annotations

import typing as t

UNTRUSTED_SERVER = "untrusted_server"
SHARED_DIRECTORY = "shared_directory"
FOREIGN_FILES = "foreign_files"
ACCEPTABLE = (UNTRUSTED_SERVER, SHARED_DIRECTORY, FOREIGN_FILES)
"""What an operator may accept, by these names."""

TAKEN_DIRECTORY = "taken_directory"
"""A running server of another user works there: the directory would be taken from it. Nobody can accept that."""

NAMED_USERS_LIMIT = 3
RUN_AS_ROOT = "run as root of the host (become) to know"

Block = t.Mapping[str, t.Any]


class Objection(t.NamedTuple):
    """One thing that stands against a change, in a whole sentence."""

    id: str
    reason: str

    @property
    def acceptable(self) -> bool:
        return self.id in ACCEPTABLE


def runs_as_server(collector_uid: int | None, server_uid: int | None) -> bool:
    """Whether what changes things has no more rights than the server itself, so that none can flow to it."""
    return collector_uid is not None and collector_uid == server_uid and collector_uid != 0


def object_to_server(trust: Block) -> list[Objection]:
    """What stands against a server as one that root does something for. ``trust``: ``process.trust``."""
    if trust.get("trusted") is True:
        return []
    why = trust.get("why") or RUN_AS_ROOT
    if trust.get("trusted") is False:
        text = f"Anybody could have started this server to be given what it asks for: {why}."
    else:
        text = f"Whether only root decides what this server is and where it works is not known: {why}."
    return [Objection(UNTRUSTED_SERVER, text)]


def object_to_directory(server_uid: int | None, users: Block, files: Block) -> list[Objection]:
    """What stands against a directory as one that only this server uses.

    :param server_uid: its effective uid. :param users: ``data_directory.users``.
    :param files: ``data_directory.foreign_files``.
    """
    found = []
    others = _blocks(users.get("processes"))
    takers = [user for user in others if user.get("is_server") is True and not _is(server_uid, user)]
    if takers:
        found.append(Objection(TAKEN_DIRECTORY, f"A running server of another user works there: {_name(takers)}."))
    sharers = [user for user in others if user not in takers and _shares(server_uid, user)]
    if sharers:
        found.append(Objection(SHARED_DIRECTORY, f"Other processes use the directory: {_name(sharers)}."))
    elif users.get("complete") is not True:
        why = "not every process was looked at" if users.get("complete") is False else RUN_AS_ROOT
        found.append(Objection(SHARED_DIRECTORY, f"Who else uses the directory is not known: {why}."))
    count = files.get("count")
    if isinstance(count, int) and count > 0:
        examples = _blocks(files.get("examples"))[:NAMED_USERS_LIMIT]
        names = ", ".join(f"{entry.get('name')} (uid {entry.get('uid')})" for entry in examples)
        found.append(Objection(FOREIGN_FILES, f"Files of other users lie in the directory: {names}."))
    elif files.get("complete") is not True:
        why = "it holds too many to look at" if files.get("complete") is False else RUN_AS_ROOT
        found.append(Objection(FOREIGN_FILES, f"Whose files lie in the directory is not known: {why}."))
    return found


def _blocks(value: t.Any) -> list[Block]:
    """What is a list of blocks; a saved document may hold anything."""
    return [entry for entry in value if isinstance(entry, t.Mapping)] if isinstance(value, (list, tuple)) else []


def _is(server_uid: int | None, user: Block) -> bool:
    return server_uid is not None and user.get("uid") == server_uid


def _shares(server_uid: int | None, user: Block) -> bool:
    """A second server always; of other processes neither root's nor those of the server's own user."""
    if user.get("is_server") is True:
        return True
    return user.get("uid") != 0 and not _is(server_uid, user)


def _name(users: t.Sequence[Block]) -> str:
    named = [
        f"{user.get('command')} (pid {user.get('pid')}, uid {user.get('uid')})" for user in users[:NAMED_USERS_LIMIT]
    ]
    more = len(users) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def left_standing(objections: t.Iterable[Objection], accepted: t.Collection[str]) -> list[Objection]:
    """Those that nobody has accepted, or can."""
    return [objection for objection in objections if not (objection.acceptable and objection.id in accepted)]


def refusal(objections: t.Sequence[Objection]) -> str:
    """Why nothing is changed, and what to do instead. ``objections``: those that are left standing, at least one."""
    reasons = " ".join(objection.reason for objection in objections)
    if not all(objection.acceptable for objection in objections):
        return f"{reasons} Give the server a directory of its own."
    names = ", ".join(dict.fromkeys(objection.id for objection in objections))
    return f"{reasons} Where that is known and meant, accept it by name (accept: [{names}])."
