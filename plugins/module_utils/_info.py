# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Pure parser of the reply to INFO.

Names and versions of the fields: Redis 5.0-8.x ``server.c:genRedisInfoString``, Valkey 7.2-9.x ``genValkeyInfoString``,
KeyDB 6.3, Dragonfly 1.x.
"""

from __future__ import annotations

import re
import typing as t

Number = t.Union[int, float]
Value = t.Union[int, float, str]

WANTED_FIELDS = frozenset(
    """
    loading async_loading rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status
    rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves rdb_saves_consecutive_failures rdb_last_cow_size
    rdb_last_load_keys_loaded rdb_last_load_keys_expired
    current_cow_size current_cow_peak current_cow_size_age current_fork_perc current_save_keys_processed
    current_save_keys_total module_fork_in_progress slot_migration_fork_in_progress aof_enabled aof_rewrite_in_progress
    aof_rewrite_scheduled aof_last_rewrite_time_sec aof_current_rewrite_time_sec aof_last_bgrewrite_status
    aof_last_write_status aof_last_cow_size aof_current_size aof_base_size aof_rewrites_consecutive_failures
    latest_fork_usec total_forks used_memory used_memory_rss used_memory_peak used_memory_dataset used_memory_overhead
    maxmemory maxmemory_policy total_system_memory mem_fragmentation_ratio mem_allocator connected_slaves master_host
    master_link_status master_sync_in_progress master_replid2 connected_clients instantaneous_ops_per_sec
    total_commands_processed instantaneous_input_kbps total_net_input_bytes
    expired_keys evicted_keys redis_mode os process_supervised shutdown_in_milliseconds last_error cluster_enabled
    """.split()
)

TEXT_FIELDS = frozenset(
    """
    rdb_last_bgsave_status aof_last_bgrewrite_status aof_last_write_status maxmemory_policy mem_allocator master_host
    master_link_status master_replid2 redis_mode os process_supervised last_error
    """.split()
)
"""Fields that stay text even where the text looks like a number."""

OTHER_SERVERS = ("kvrocks_version", "garnet_version", "tendis_version", "pika_version")
"""Servers that answer INFO with a ``redis_version`` for compatibility, but save in their own way."""

LARGEST_NUMBER = 2**63
"""Servers count in 64 bits with a sign; what is beyond is no figure of theirs, and is kept as the text that it is."""

TEXT_LIMIT_CHARACTERS = 1024
LINE_LIMIT = 65536
NAME_LIMIT_CHARACTERS = 256
MODULE_LIMIT = 256
DATABASE_LIMIT = 256

_INTEGER = re.compile(r"-?\d{1,20}\Z", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,20}\.\d{1,20}\Z", re.ASCII)
_ERROR_COUNT = re.compile(r"count=(\d{1,18})(?!\d)", re.ASCII)
_DATABASE = re.compile(r"db\d{1,9}\Z", re.ASCII)
_KEY_COUNT = re.compile(r"keys=(\d{1,18})(?!\d)", re.ASCII)


class ParsedInfo(t.NamedTuple):
    """INFO, taken apart.

    ``fields``: every ``name:value`` line as text (the last one wins). ``sections``: their titles in lower case.
    ``modules``: the lines of the section Modules, which all have the same name.
    """

    fields: dict[str, str]
    sections: frozenset[str]
    modules: list[dict[str, str]]


def parse_info(text: str) -> ParsedInfo:
    """Take the reply apart; lines that are no ``name:value`` are skipped."""
    fields: dict[str, str] = {}
    sections = set()
    modules = []
    for raw_line in text.splitlines()[:LINE_LIMIT]:
        line = raw_line.strip()
        if line.startswith("#"):
            sections.add(line[:NAME_LIMIT_CHARACTERS].lstrip("# ").lower())
            continue
        name, colon, value = line.partition(":")
        if not colon or len(name) > NAME_LIMIT_CHARACTERS:
            continue
        value = value[:TEXT_LIMIT_CHARACTERS]
        if name != "module":
            fields[name] = value
        elif len(modules) < MODULE_LIMIT:
            modules.append(_parse_module(value))
    return ParsedInfo(fields, frozenset(sections), modules)


def _parse_module(value: str) -> dict[str, str]:
    """``name=bf,ver=20612,api=1,...`` (``moduleInfo`` lines since 4.0)."""
    pairs = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
    return {"name": pairs.get("name", ""), "version": pairs.get("ver", "")}


def looks_like_info(text: str) -> bool:
    """Whether this can be a reply to INFO at all (a version of something, or a section title with fields)."""
    return bool(re.search(r"^(?:\w+_version|run_id|uptime_in_seconds|redis_mode|server_mode):", text, re.MULTILINE))


def to_number(text: str) -> Value:
    """A number where the text is one that a server can count to, else the text."""
    value: Number | None = None
    if _INTEGER.match(text):
        value = int(text)
    elif _DECIMAL.match(text):
        value = float(text)
    return text if value is None or abs(value) >= LARGEST_NUMBER else value


def number(parsed: ParsedInfo, name: str) -> Number | None:
    """A field as a number, or None where it is absent or no number."""
    value = to_number(parsed.fields.get(name, ""))
    return None if isinstance(value, str) else value


def wanted_fields(parsed: ParsedInfo) -> dict[str, t.Any]:
    """The ``info`` of the evidence document: only fields that the server has."""
    found: dict[str, t.Any] = {}
    for name in WANTED_FIELDS:
        if name in parsed.fields:
            value = parsed.fields[name]
            found[name] = value if name in TEXT_FIELDS else to_number(value)
    # Valkey 8.0+ says server_mode where Redis says redis_mode.
    if "redis_mode" not in found and "server_mode" in parsed.fields:
        found["redis_mode"] = parsed.fields["server_mode"]
    if "keyspace" in parsed.sections:
        found["key_count"] = key_count(parsed)
        counts = keys_by_database(parsed)
        if len(counts) <= DATABASE_LIMIT:
            found["keys_by_database"] = counts
    errors = error_statistics(parsed)
    if "errorstats" in parsed.sections:
        found["rejected_calls_misconf"] = errors.get("MISCONF", 0)
    return dict(sorted(found.items()))


def key_count(parsed: ParsedInfo) -> int:
    """Keys of all databases (``db0:keys=1,expires=0,avg_ttl=0``)."""
    return sum(keys_by_database(parsed).values())


def keys_by_database(parsed: ParsedInfo) -> dict[str, int]:
    """Keys of each database that has any, by its number as text."""
    counts = {}
    for name, value in parsed.fields.items():
        match = _KEY_COUNT.search(value) if _DATABASE.match(name) else None
        if match:
            counts[name[len("db") :]] = int(match.group(1))
    return counts


def error_statistics(parsed: ParsedInfo) -> dict[str, int]:
    """``errorstat_MISCONF:count=3`` as {MISCONF: 3}; at most 128 (Redis 7.2+ itself stops at 128)."""
    counts: dict[str, int] = {}
    for name, value in parsed.fields.items():
        match = _ERROR_COUNT.match(value) if name.startswith("errorstat_") else None
        if match and len(counts) < 128:
            counts[name[len("errorstat_") :]] = int(match.group(1))
    return counts


def identify(parsed: ParsedInfo) -> tuple[str, str | None]:
    """(server, version). KeyDB: its own section with ``mvcc_depth``, or the executable's name."""
    fields = parsed.fields
    if "dragonfly_version" in fields:
        return "dragonfly", re.sub(r"^df-v?|^v", "", fields["dragonfly_version"])
    if "valkey_version" in fields or fields.get("server_name") == "valkey":
        return "valkey", fields.get("valkey_version") or fields.get("redis_version")
    version = fields.get("redis_version")
    if (
        "keydb" in parsed.sections
        or "mvcc_depth" in fields
        or "keydb" in fields.get("executable", "").rsplit("/", 1)[-1]
    ):
        return "keydb", version
    for name in OTHER_SERVERS:
        if name in fields:
            return "unknown", fields[name]
    return ("redis" if version else "unknown"), version


def mode(parsed: ParsedInfo) -> str | None:
    """standalone, cluster or sentinel."""
    return parsed.fields.get("redis_mode") or parsed.fields.get("server_mode") or None


def role(parsed: ParsedInfo) -> str | None:
    """master or replica; None for a Sentinel, which has neither."""
    said = parsed.fields.get("role")
    return "replica" if said == "slave" else said
