# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What stands against a save: what it would replace, whom it could take down, where it would write.

A save that succeeds can be the loss: it replaces the file in the dump's place. Pure, so that the plan on the control
node and the module on the target say the same of the same facts.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import (
    DEFAULT_DBFILENAME,
    grade_name,
    grade_place,
)

ACCEPTABLE = (
    "dump_foreign",
    "dump_unknown",
    "dump_much_larger",
    "dump_shared",
    "no_dump_wanted",
    "memory_unknown",
)
"""What an operator may accept by name, in the order in which objections are made."""

NEVER_ACCEPTABLE = ("hijacked_place", "memory_short", "cannot_keep")

KEPT_FOR = frozenset({"dump_foreign", "dump_unknown", "dump_much_larger", "dump_shared", "no_dump_wanted"})
"""With one of these the file in place is kept beside before the save."""

NOT_ON_THIS_HOST = (
    "The server does not run on this host, so the file that a save would replace can't be seen, and can't be kept. "
    "Run this on the server's own host; where there is none (a managed service), use its own snapshots."
)
PROCESS_NOT_FOUND = (
    "The server's process was not found on this host, so the file that a save would replace can't be seen, and can't "
    "be kept. Run as root on the server's own host."
)


class SaveFacts(t.NamedTuple):
    """What is known right before a save. Anything may be None: unknown.

    :param dump: what ``_dump.judge_dump`` answers: owner, bytes, saved_unix, keys_at_least, much_larger, why.
    :param memory: what ``_save_memory.judge_memory`` answers: short, expected_bytes, worst_bytes, room_bytes, why.
    :param resident_bytes: of the server's process.
    :param directories: every known path of the directory that the server writes to.
    :param file_settings: what the configuration file says (``dir``, ``dbfilename``).
    :param keys: how many are in memory, all databases together.
    :param save_wanted: false where the save points are empty: the server is told to keep no dump.
    :param shared_with: other running servers that may write the same file, as words for a person.
    :param unseen: why the server's process can't be looked at; None where it can.
    :param cannot_keep: why the file in place can't be kept beside; None where it can, or that is not known yet.
    """

    dump: t.Any = None
    memory: t.Any = None
    resident_bytes: float | None = None
    directories: t.Sequence[str] = ()
    dbfilename: str | None = None
    file_settings: t.Mapping[str, t.Any] | None = None
    keys: int | None = None
    save_wanted: bool | None = None
    shared_with: t.Sequence[str] = ()
    unseen: str | None = None
    cannot_keep: str | None = None
    now_unix: float | None = None


def objections(facts: SaveFacts) -> list[dict[str, t.Any]]:
    """What stands against the save, worst first; empty where nothing does.

    :return: ``{id, reason, acceptable, opt_in}``. ``acceptable``: the module ``redis_bgsave`` saves all the same where
        its ``accept`` names the id. ``opt_in``: the plan of a remediation may do so where ``verify`` is opted in;
        false for a server that is told to keep no dump and has none: nothing there waits for a save.
    """
    found = [
        *_objections_to_place(facts),
        *_objections_to_memory(facts),
        *_objections_to_dump(facts),
        *_objections_of_settings(facts),
    ]
    if facts.unseen is not None or (facts.cannot_keep is not None and must_keep(found, facts.dump)):
        found.append(_objection("cannot_keep", facts.unseen or str(facts.cannot_keep)))
    order = (*NEVER_ACCEPTABLE, *ACCEPTABLE)
    return sorted(found, key=lambda objection: order.index(objection["id"]))


def must_keep(found: t.Iterable[t.Mapping[str, t.Any]], dump: t.Any) -> bool:
    """Whether a save against these objections has to keep a file beside first."""
    return value_of(dump, "owner") != "none" and any(objection["id"] in KEPT_FOR for objection in found)


def standing(found: t.Iterable[t.Mapping[str, t.Any]], accept: t.Collection[str]) -> list[t.Mapping[str, t.Any]]:
    """The objections that are not accepted."""
    return [objection for objection in found if not (objection["acceptable"] and objection["id"] in accept)]


def value_of(judgement: t.Any, name: str) -> t.Any:
    """A field of a judgement, which is a mapping or a named tuple; None where there is none."""
    if isinstance(judgement, t.Mapping):
        return judgement.get(name)
    return getattr(judgement, name, None)


def _objection(identifier: str, reason: str, opt_in: bool | None = None) -> dict[str, t.Any]:
    acceptable = identifier in ACCEPTABLE
    return {
        "id": identifier,
        "reason": reason,
        "acceptable": acceptable,
        "opt_in": acceptable if opt_in is None else opt_in,
    }


def _objections_to_place(facts: SaveFacts) -> t.Iterator[dict[str, t.Any]]:
    written = facts.file_settings or {}
    reasons = []
    for directory in dict.fromkeys(facts.directories):
        grade = grade_place(directory)
        if grade == "strong" or (grade == "weak" and _moved(directory, written.get("dir"))):
            reasons.append(f"the directory is {directory}")
    grade = grade_name(facts.dbfilename)
    if grade == "strong" or (grade == "weak" and facts.file_settings is not None and _renamed(facts)):
        reasons.append(f"the dump's name is {facts.dbfilename}")
    if reasons:
        yield _objection(
            "hijacked_place",
            f"A save would write where intruders let a dump be written: {' and '.join(reasons)}. Nothing is saved "
            "there, whatever is accepted: see who set it, and put dir and dbfilename back first.",
        )


def _moved(directory: str, written: t.Any) -> bool:
    """Whether the directory was set at run time; a relative path was relative to a place that nobody knows."""
    if not isinstance(written, str) or not written.startswith("/"):
        return False
    return posixpath.normpath(directory) != posixpath.normpath(written)


def _renamed(facts: SaveFacts) -> bool:
    return facts.dbfilename != ((facts.file_settings or {}).get("dbfilename") or DEFAULT_DBFILENAME)


def _objections_to_memory(facts: SaveFacts) -> t.Iterator[dict[str, t.Any]]:
    short = value_of(facts.memory, "short")
    why = value_of(facts.memory, "why") or "the process's memory and its limits can't be seen"
    if short is True:
        yield _objection(
            "memory_short",
            f"A save would probably take the server down for want of memory: {_sentence_end(why)} Give it more memory, "
            "or wait until less is written to it.",
        )
    if short is not None or facts.unseen is not None:
        return
    room = value_of(facts.memory, "room_bytes")
    resident = facts.resident_bytes
    if room is not None and resident is not None and resident <= room:
        # Even a copy of everything fits.
        return
    yield _objection(
        "memory_unknown",
        f"Whether there is memory enough for a save is unknown ({_without_stop(why)}; resident {size_text(resident)}, "
        f"room {size_text(room)}): it may take the server down. Save in a quiet hour, or look at the write rate first.",
    )


def _objections_to_dump(facts: SaveFacts) -> t.Iterator[dict[str, t.Any]]:
    owner = value_of(facts.dump, "owner")
    if owner == "none":
        return
    if owner not in ("own", "foreign"):
        why = facts.unseen or value_of(facts.dump, "why") or "it can't be looked at"
        yield _objection(
            "dump_unknown",
            f"Whether {_file_text(facts)} is this server's own is unknown: {_sentence_end(why)} {_replacement(facts)} "
            "See what it holds, and keep it if anybody needs it.",
        )
    if owner == "foreign":
        why = value_of(facts.dump, "why") or "nothing that it saved or loaded fits it"
        yield _objection(
            "dump_foreign",
            f"{_capital(_file_text(facts))} is not what this server saved or loaded: {_sentence_end(why)} "
            f"{_replacement(facts)} See whose it is; it may be the last good copy of something.",
        )
    much_larger = value_of(facts.dump, "much_larger")
    if much_larger is True or (owner == "own" and much_larger is None):
        how = "is much larger than" if much_larger else "can't be compared with"
        yield _objection(
            "dump_much_larger",
            f"{_capital(_file_text(facts))} {how} what the server holds in memory. {_replacement(facts)} "
            "See whether keys were lost or deleted that the file still has.",
        )


def _objections_of_settings(facts: SaveFacts) -> t.Iterator[dict[str, t.Any]]:
    if facts.shared_with:
        yield _objection(
            "dump_shared",
            f"{_capital(_name_text(facts))} is shared with {', '.join(facts.shared_with)}: each replaces the other's "
            "dump, and loads the other's at its next start. Give each its own directory or dbfilename first.",
        )
    if facts.save_wanted is False:
        has_none = value_of(facts.dump, "owner") == "none"
        follows = (
            "a save would leave one that its next start loads"
            if has_none
            else f"a save would replace {_file_text(facts)}"
        )
        yield _objection(
            "no_dump_wanted",
            f"The server is told to keep no dump (its save points are empty): {follows}. Its last save's status is "
            "without meaning; set save points if it is to save.",
            opt_in=not has_none,
        )


def _replacement(facts: SaveFacts) -> str:
    held = "an unknown number of keys" if facts.keys is None else f"the {keys_text(facts.keys)} in memory"
    return f"A save would replace it by {held}."


def _name_text(facts: SaveFacts) -> str:
    directory = next(iter(facts.directories), None)
    return f"the file {facts.dbfilename or 'of the dump'}" + (f" in {directory}" if directory else "")


def _file_text(facts: SaveFacts) -> str:
    """``the file dump.rdb in /var/lib/redis (39.1 KiB, at least 1,000 keys, saved 2 days ago)``."""
    details = []
    byte_count = value_of(facts.dump, "bytes")
    if byte_count is not None:
        details.append(size_text(byte_count))
    keys_at_least = value_of(facts.dump, "keys_at_least")
    if keys_at_least is not None:
        details.append(f"at least {keys_text(keys_at_least)}")
    saved_unix = value_of(facts.dump, "saved_unix")
    if saved_unix is not None and facts.now_unix is not None:
        details.append(f"saved {age_text(facts.now_unix - saved_unix)} ago")
    return _name_text(facts) + (f" ({', '.join(details)})" if details else "")


def keys_text(count: float) -> str:
    """``1 key``, ``12,345 keys``."""
    return f"{int(count):,} {'key' if int(count) == 1 else 'keys'}"


def size_text(byte_count: float | None) -> str:
    """``1.5 GiB``; ``unknown`` for None."""
    if byte_count is None:
        return "unknown"
    value = float(byte_count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def age_text(seconds: float) -> str:
    """``3 days``, ``1 hour``; a moment in the future is ``0 seconds``."""
    whole = max(int(seconds), 0)
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if whole >= length or length == 1:
            count = whole // length
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "0 seconds"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _without_stop(text: str) -> str:
    return text.rstrip().rstrip(".")


def _sentence_end(text: str) -> str:
    return f"{_without_stop(text)}."
