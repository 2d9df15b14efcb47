# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which processes are servers, by their names and titles."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

_SERVER_NAME = re.compile(r"(redis|valkey|keydb)-(server|sentinel)|(dragonfly)\Z")
CHILD_TITLE = re.compile(
    r"(?:\S*/)?(?:redis|valkey|keydb)-(?:rdb-bgsave|rdb-to-slaves|rdb-to-replicas|aof-rewrite|module-fork)\b"
)
"""Titles of forked children (rdb.c, aof.c, module.c: redisSetCpuAffinity's neighbours redisSetProcTitle)."""


class Process(t.NamedTuple):
    """A server's process, before anything is known of its sockets."""

    pid: int
    command: str
    title: str
    arguments: list[str]
    kind: str
    sentinel: bool


def read_process(system: System, pid: int) -> Process | None:
    """A server's process, known by its name or by the first word of its title; never by /proc/PID/exe.

    On Debian that is redis-check-rdb, to which redis-server is a link.
    """
    command = (system.try_read_text(f"/proc/{pid}/comm", 64) or "").rstrip("\n")
    named = _SERVER_NAME.match(command)
    # Most processes are told by the first read; a second one for those whose name may be another's.
    raw = system.try_read_text(f"/proc/{pid}/cmdline", 65536) or ""
    arguments = raw.rstrip("\0").split("\0")
    title = clean_title(raw)
    first_word = os.path.basename(title.split(" ", 1)[0])
    match = named or _SERVER_NAME.match(first_word)
    if match is None or not raw:
        return None
    kind = match.group(1) or match.group(3)
    sentinel = match.group(2) == "sentinel" or "[sentinel]" in title or "--sentinel" in arguments
    sentinel = sentinel or bool(re.match(r"(redis|valkey)-sentinel", first_word))
    return Process(pid, clean_text(command), title, arguments, kind, sentinel)


def is_data_server(system: System, pid: int, command: str) -> bool:
    """Whether a process of that name is a server with data; a Sentinel keeps none, and writes no dump."""
    if not _SERVER_NAME.match(command):
        return False
    process = read_process(system, pid)
    return process is not None and not process.sentinel and not CHILD_TITLE.match(process.title)


def clean_title(raw: str) -> str:
    """cmdline as one line: NULs and padding become single spaces; a stray end such as `` .`` goes."""
    text = " ".join(raw.replace("\0", " ").split())
    return re.sub(r" \.$", "", text)
