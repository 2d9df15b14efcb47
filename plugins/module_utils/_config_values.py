# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Values of parameters, compared and spelled as the server does (config.c, util.c:memtoull).

``1gb`` is 1073741824, ``YES`` is yes, ``oom-score-adj relative`` is yes, an empty list of save points is none. What is
not known here is compared as text.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

MEMORY_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}

MEMORY_NAMES = frozenset(
    """
    maxmemory maxmemory-clients client-query-buffer-limit proto-max-bulk-len repl-backlog-size
    cluster-link-sendbuf-limit auto-aof-rewrite-min-size active-defrag-ignore-bytes hll-sparse-max-bytes
    stream-node-max-bytes hash-max-ziplist-value zset-max-ziplist-value set-max-ziplist-value
    """.split()
)
"""Parameters declared with MEMORY_CONFIG; ``listpack`` is spelled ``ziplist`` here."""

OCTAL_NAMES = frozenset({"unixsocketperm"})

TEXT_NAMES = frozenset(
    """
    dbfilename logfile pidfile appendfilename appenddirname aclfile unixsocket syslog-ident proc-title-template
    replica-announce-ip cluster-announce-ip cluster-announce-hostname cluster-config-file
    """.split()
)
"""Free text: ``YES`` and ``yes`` differ here."""

ENUM_NAMES = frozenset(
    """
    maxmemory-policy loglevel appendfsync oom-score-adj supervised syslog-facility acl-pubsub-default
    sanitize-dump-payload repl-diskless-load enable-protected-configs enable-debug-command enable-module-command
    cluster-preferred-endpoint-type propagation-error-behavior tls-auth-clients shutdown-on-sigint
    shutdown-on-sigterm log-format log-timestamp-format
    """.split()
)
"""Names of choices: the case does not matter (config.c:configEnumGetValue)."""

ENUM_ALIASES = {("oom-score-adj", "relative"): "yes"}
"""CONFIG GET answers with the first name of a value."""

NUMBER_LISTS = frozenset({"oom-score-adj-values", "latency-tracking-info-percentiles"})
WORD_LISTS = frozenset({"bind", "bind-source-addr"})

EVENT_LETTERS = "g$lshzxetd"
"""What ``A`` stands for in ``notify-keyspace-events`` (notify.c:keyspaceEventsFlagsToString)."""
OTHER_EVENT_LETTERS = "KEmnocST"

SECRET_NAMES = frozenset(
    """
    requirepass masterauth primaryauth tls-key-file-pass tls-client-key-file-pass
    """.split()
)
"""Passwords: not set by this collection, and never shown."""


def kind_name(name: str) -> str:
    """One spelling for what the generations of servers call differently."""
    lowered = name.lower()
    if lowered == "slaveof":
        return "replicaof"
    lowered = lowered.replace("slave", "replica").replace("listpack", "ziplist")
    return {"primaryauth": "masterauth", "primaryuser": "masteruser"}.get(lowered, lowered)


def is_secret(name: str) -> bool:
    """Whether the value is a password (parameters of modules too: better one too many than one shown)."""
    lowered = name.lower()
    return lowered in SECRET_NAMES or bool(re.search(r"(passw|passphrase|secret|auth-token)", lowered))


def value_text(value: t.Any) -> str:
    """An option's value as text: YAML makes booleans and numbers of some. Raises ValueError."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (str, int)):
        return str(value)
    raise ValueError("a text, a whole number or a truth value is wanted")


def parse_memory(text: str) -> int | None:
    """Bytes of ``100mb``; None for anything else."""
    match = re.match(r"(\d+)([a-z]*)\Z", text.strip().lower())
    if match is None or match.group(2) not in MEMORY_UNITS:
        return None
    return int(match.group(1)) * MEMORY_UNITS[match.group(2)]


def spelled(name: str, wanted: str, running: str) -> str:
    """``wanted`` as CONFIG GET will spell it once it is set.

    :param running: what CONFIG GET says now; output buffer limits of classes that are not named keep theirs.
    """
    kind = kind_name(name)
    if kind in TEXT_NAMES:
        return wanted
    if kind in MEMORY_NAMES:
        size = parse_memory(wanted)
        return wanted if size is None else str(size)
    speller = _SPELLERS.get(kind)
    if speller is not None:
        return speller(wanted, running)
    if kind in ENUM_NAMES:
        lowered = " ".join(wanted.lower().split())
        return ENUM_ALIASES.get((kind, lowered), lowered)
    if kind in WORD_LISTS or kind in NUMBER_LISTS:
        return " ".join(wanted.split())
    if kind in OCTAL_NAMES and re.match(r"[0-7]+\Z", wanted):
        return f"{int(wanted, 8):o}"
    return wanted.lower() if wanted.lower() in ("yes", "no") else wanted


def in_force(name: str, wanted: str, running: str) -> bool:
    """Whether setting ``wanted`` would change nothing."""
    return bool(meaning(name, spelled(name, wanted, running)) == meaning(name, spelled(name, running, running)))


def meaning(name: str, value: str) -> t.Any:
    """What a value that is spelled as CONFIG GET spells it stands for: equal for equal settings."""
    kind = kind_name(name)
    if kind == "save":
        points = save_points(value)
        return frozenset(points) if points else frozenset([value])
    if kind in NUMBER_LISTS:
        try:
            return tuple(float(word) for word in value.split())
        except ValueError:
            return value
    if kind in ("shutdown-on-sigint", "shutdown-on-sigterm"):
        return frozenset(value.split())
    return value


def save_points(value: str) -> list[tuple[int, int]] | None:
    """[(seconds, changes), ..]; None where the text is no list of pairs."""
    words = value.split()
    if len(words) % 2 or not all(word.isdigit() for word in words):
        return None
    numbers = [int(word) for word in words]
    return list(zip(numbers[::2], numbers[1::2]))


def _spell_save(wanted: str, running: str) -> str:
    points = save_points(wanted)
    if points is None:
        return wanted
    return " ".join(f"{seconds} {changes}" for seconds, changes in points)


def _spell_directory(wanted: str, running: str) -> str:
    return "/" + posixpath.normpath(wanted).lstrip("/") if wanted.startswith("/") else wanted


def _spell_events(wanted: str, running: str) -> str:
    """``A`` for the letters that it stands for, then the others in their order."""
    letters = set(wanted)
    if "A" in letters:
        letters |= set(EVENT_LETTERS)
    if not letters <= set("A" + EVENT_LETTERS + OTHER_EVENT_LETTERS):
        return wanted
    named = "A" if set(EVENT_LETTERS) <= letters else "".join(one for one in EVENT_LETTERS if one in letters)
    return named + "".join(one for one in OTHER_EVENT_LETTERS if one in letters)


def _spell_buffer_limits(wanted: str, running: str) -> str:
    """``normal 0 0 0 slave ..``: sizes in bytes, classes that are not named as they run."""
    limits = _buffer_limits(running)
    named = _buffer_limits(wanted)
    if limits is None or named is None:
        return wanted
    limits.update(named)
    return " ".join(f"{name} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in limits.items())


def _buffer_limits(text: str) -> dict[str, tuple[int, int, int]] | None:
    words = text.split()
    if len(words) % 4:
        return None
    limits = {}
    for name, hard_text, soft_text, seconds in zip(words[::4], words[1::4], words[2::4], words[3::4]):
        hard, soft = parse_memory(hard_text), parse_memory(soft_text)
        if hard is None or soft is None or not seconds.isdigit():
            return None
        # The server itself says "slave" in CONFIG GET, whatever it was told.
        limits["slave" if name.lower() in ("replica", "slave") else name.lower()] = (hard, soft, int(seconds))
    return limits


_SPELLERS: dict[str, t.Callable[[str, str], str]] = {
    "save": _spell_save,
    "dir": _spell_directory,
    "notify-keyspace-events": _spell_events,
    "client-output-buffer-limit": _spell_buffer_limits,
}
