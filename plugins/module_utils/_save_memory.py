# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Is there memory for a save? What clients overwrite while the child writes is held twice (copy-on-write).

Pure. The copies to expect are the bytes that are written in a second times the seconds that the save will take, and
never more than what is resident. Both factors are estimated twice: *expected*, which alone may prove that memory is too
short, and *cautious*, which alone may prove that it suffices. Between the two the answer is unknown.
"""

from __future__ import annotations

import typing as t

Mapping = t.Mapping[str, t.Any]

KIB = 1024
MIB = 1024 * 1024
PAGE_BYTES = 4096
HUGE_PAGE_BYTES = 2 * MIB
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
"""File systems whose files are memory."""

EXPECTED_BYTES_PER_SECOND = 100 * MIB
CAUTIOUS_BYTES_PER_SECOND = 25 * MIB
"""What a child gets through a second where no save has shown it: one core that compresses, one ordinary disk."""

SHOWN_BY_BYTES = MIB
"""A smaller dump says nothing of the time that a large one takes: the times of saves are whole seconds."""

LARGEST_VALUE_BYTES = MIB
"""A change of a larger key (a hash with everything in it) is expected to touch a part of it only."""

STEADY_SECONDS = 600
"""The mean input of a younger server is that of its filling."""

SAFETY_FACTOR = 2
FORK_BYTES = 2 * MIB
PAGE_TABLE_SHARE = 1 / 512
"""A child has page tables of its own, eight bytes a page, and copies a few pages of the allocator."""

LARGEST_FIGURE = 2**62


class Copies(t.NamedTuple):
    """What the next save will copy. Null: not known.

    ``cautious_bytes`` is null where no rate of writes is known; ``worst_bytes`` is what is resident.
    """

    expected_bytes: int | None
    cautious_bytes: int | None
    worst_bytes: int | None
    bytes_per_second: int | None
    seconds: float | None
    seen_bytes: int | None


def figure(block: object, *path: str) -> float | None:
    """A number at a path that can be true: finite, not negative, not absurd. Null otherwise."""
    value = block
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value <= LARGEST_FIGURE else None


def judge_memory(
    instance: Mapping,
    host: Mapping | None,
    now: float,
    attempts: t.Sequence[Mapping] = (),
    dump_bytes: float | None = None,
    killed: t.Collection[str] = (),
) -> dict[str, t.Any]:
    """{short, expected_bytes, cautious_bytes, worst_bytes, room_bytes, seconds, bytes_per_second, seen_bytes,
    dump_in_memory_bytes, cgroup_short, host_short, group, group_room_bytes, host_room_bytes, why}.

    ``short`` is true only where what is expected does not fit, false where the worst case or the cautious estimate fits
    with a margin, null where neither is shown.

    :param instance: INSTANCE of the evidence document: redis {role, uptime_seconds, info, config}, process, cgroups,
        data_directory {process_view {type}, dump {size_bytes}}, redis_log {events}. What is absent is unknown.
    :param host: HOST of it: memory, page_size_bytes.
    :param now: of the server, in seconds since the epoch.
    :param attempts: its saves as they are joined from the logs, for how long saves have taken.
    :param dump_bytes: how large the next dump will be, where the caller has an estimate.
    :param killed: ``oom_cgroup``, ``oom_host``: what has killed the last saves.
    """
    copies = estimate_copies(instance, host, now, attempts)
    group, is_limited = tightest_group(instance)
    group_room = None if group is None else group["headroom_bytes"]
    host_room = _host_room(host)
    dump = dump_in_memory(instance, dump_bytes)
    host_short = _is_short(copies, host_room, dump, "oom_host" in killed)
    if is_limited is False:
        group_short: bool | None = False
    else:
        group_short = _is_short(copies, group_room, dump, "oom_cgroup" in killed, _may_have_killed(instance, group))
    answers = (group_short, host_short)
    short = True if True in answers else None if None in answers else False
    rooms = [room for room in (group_room, host_room) if room is not None]
    room = None if not rooms else int(max(min(rooms) - (dump or 0), 0))
    return {
        "short": short,
        **copies._asdict(),
        "room_bytes": room,
        "dump_in_memory_bytes": None if dump is None else int(dump),
        "cgroup_short": group_short,
        "host_short": host_short,
        "group": group,
        "group_room_bytes": group_room,
        "host_room_bytes": None if host_room is None else int(host_room),
        "why": _why(short, copies, room, bool(killed)),
    }


def _may_have_killed(instance: Mapping, group: Mapping | None) -> bool:
    """The last save failed, and this group has killed something: it may have been the child."""
    return _block(instance, "redis", "info").get("rdb_last_bgsave_status") == "err" and bool(
        figure(group, "oom_kill_count")
    )


def _is_short(
    copies: Copies, room: float | None, dump: float | None, is_killed_here: bool, is_suspect: bool = False
) -> bool | None:
    """Is there too little room? A kill proves it while the worst case does not fit."""
    if room is None:
        return None
    room -= dump or 0
    if room < 0:
        return True
    worst = copies.worst_bytes
    if worst is not None and worst <= room:
        return False
    if is_killed_here:
        return True if worst is not None else None
    seen = copies.seen_bytes or 0
    if (copies.expected_bytes or 0) > room or seen > room:
        return True
    if copies.cautious_bytes is None or worst is None or is_suspect:
        return None
    return False if max(copies.cautious_bytes, seen) * SAFETY_FACTOR <= room else None


def _why(short: bool | None, copies: Copies, room: int | None, is_killed: bool) -> str:
    """The answer in words, with the figures behind it."""
    if room is None:
        return "How much memory is left for the copies of a save is not known."
    if copies.worst_bytes is None:
        return f"{_size(room)} of memory are left; how much the server holds is not known."
    held = f"{_size(copies.worst_bytes)} are resident and {_size(room)} are left"
    if short and is_killed and (copies.expected_bytes or 0) <= room:
        rate = "the kernel has killed the last save for want of memory, and a copy of everything does not fit"
    elif copies.bytes_per_second is None or copies.seconds is None:
        rate = "how much is written a second is not known"
    else:
        rate = (
            f"about {_size(copies.bytes_per_second)}/s are written and a save takes about {copies.seconds:.0f} s: "
            f"{_size(copies.expected_bytes or 0)} of copies to expect"
        )
    if copies.seen_bytes:
        rate += f" ({_size(copies.seen_bytes)} were seen)"
    words = {True: "Too little memory for a save", False: "There is memory for a save", None: "Not known to suffice"}
    return f"{words[short]}: {held}; {rate}."


def _size(value: float) -> str:
    return f"{value / MIB:.0f} MiB" if value >= MIB else f"{value / KIB:.0f} KiB"


# Copies


def estimate_copies(
    instance: Mapping,
    host: Mapping | None,
    now: float,
    attempts: t.Sequence[Mapping] = (),
) -> Copies:
    """What the next save will copy; the arguments are those of :func:`judge_memory`."""
    worst = figure(instance, "process", "resident_bytes") or figure(instance, "redis", "info", "used_memory_rss")
    seen = copies_seen(instance)
    expected_rate, cautious_rate = (0.0, 0.0) if refuses_writes(instance) else _rates(instance, host, now)
    expected_seconds, cautious_seconds = save_seconds(instance, now, attempts)
    fork = FORK_BYTES + (worst or 0) * PAGE_TABLE_SHARE

    def copied(rate: float | None, seconds: float | None) -> int | None:
        if rate is None or seconds is None:
            return None
        amount = rate * seconds + fork
        return int(amount if worst is None else min(amount, worst))

    return Copies(
        copied(expected_rate, expected_seconds),
        copied(cautious_rate, cautious_seconds),
        None if worst is None else int(worst),
        None if expected_rate is None else int(expected_rate),
        expected_seconds,
        seen,
    )


def refuses_writes(instance: Mapping) -> bool:
    """Clients' writes are refused until a save succeeds, and no master sends any: none comes while that save runs."""
    redis = _block(instance, "redis")
    config = _block(redis, "config")
    return (
        redis.get("role") == "master"
        and _block(redis, "info").get("rdb_last_bgsave_status") == "err"
        and config.get("stop-writes-on-bgsave-error") == "yes"
        and bool(str(config.get("save") or "").replace('"', "").strip())
    )


def _rates(instance: Mapping, host: Mapping | None, now: float) -> tuple[float | None, float | None]:
    """Bytes of memory that are written a second: to expect, and at most (null where a source of it is not known).

    What comes in over the network, a master's stream included; and the changes, each the size of a value, as a command
    can write much that is not sent (SETRANGE, COPY, a script).
    """
    info = _block(instance, "redis", "info")
    incoming = figure(info, "instantaneous_input_kbps")
    incoming = None if incoming is None else incoming * KIB
    uptime, total = figure(instance, "redis", "uptime_seconds"), figure(info, "total_net_input_bytes")
    if uptime is not None and total is not None and uptime >= STEADY_SECONDS:
        incoming = max(incoming or 0, total / uptime)
    changes = _changes_per_second(info, now)
    expected_value, largest_value = _value_bytes(instance, host)
    expected = [incoming, None if changes is None else changes * expected_value]
    known = [rate for rate in expected if rate is not None]
    if incoming is None or changes is None:
        return (max(known) if known else None), None
    return max(known), max(incoming, changes * largest_value)


def _changes_per_second(info: Mapping, now: float) -> float | None:
    """Since the last save; and now, by the commands of this moment and the share of changes in those so far."""
    changes, last = figure(info, "rdb_changes_since_last_save"), figure(info, "rdb_last_save_time")
    if changes is None or last is None:
        return None
    mean = changes / max(now - last, 1)
    commands, at_once = figure(info, "total_commands_processed"), figure(info, "instantaneous_ops_per_sec")
    if not commands or at_once is None:
        return mean
    return max(mean, at_once * min(changes / commands, 1))


def _value_bytes(instance: Mapping, host: Mapping | None) -> tuple[float, float]:
    """What a change writes: to expect, and at most. Never less than a page, which is the least that is copied."""
    info = _block(instance, "redis", "info")
    page = figure(host, "page_size_bytes") or PAGE_BYTES
    if figure(instance, "process", "anonymous_huge_pages_bytes") and _block(instance, "process").get("thp_enabled"):
        page = HUGE_PAGE_BYTES
    dataset, keys = figure(info, "used_memory_dataset"), figure(info, "key_count")
    mean = dataset / keys if dataset and keys else 0
    return max(min(mean, LARGEST_VALUE_BYTES), page), max(mean, page)


def copies_seen(instance: Mapping) -> int | None:
    """The most that a save of this server was seen to copy: a hint, as the next one may run in a busier hour."""
    info = _block(instance, "redis", "info")
    sizes = [figure(info, name) for name in ("rdb_last_cow_size", "current_cow_peak", "current_cow_size")]
    events = _block(instance, "redis_log").get("events")
    for event in events if isinstance(events, (list, tuple)) else ():
        if isinstance(event, dict) and event.get("event") == "copy_on_write":
            sizes.append(figure(event, "peak_bytes") or figure(event, "bytes"))
    known = [size for size in sizes if size]
    return int(max(known)) if known else None


# Seconds


def save_seconds(
    instance: Mapping, now: float, attempts: t.Sequence[Mapping] = ()
) -> tuple[float | None, float | None]:
    """How long the next save will take: to expect, and at most. Null where the size of the dataset is not known.

    A failed save ended before its time, so it only says that one takes at least as long.
    """
    info = _block(instance, "redis", "info")
    dataset, last_dump = figure(info, "used_memory_dataset"), figure(instance, "data_directory", "dump", "size_bytes")
    size = max(dataset or 0, last_dump or 0)
    least = _slow_seconds(info, attempts)
    shown = _last_success_seconds(info, attempts)
    if shown is not None and (last_dump or 0) >= SHOWN_BY_BYTES:
        growth = _growth(info)
        expected, cautious = max(shown, 1) * growth, (shown + 1) * growth
    elif dataset is None and last_dump is None:
        return None, None
    else:
        expected = max(size / EXPECTED_BYTES_PER_SECOND, 1)
        cautious = max(size / CAUTIOUS_BYTES_PER_SECOND, 1)
    delay = _key_delay_seconds(instance)
    return max(expected, least) + delay, max(cautious, least) + delay


def _growth(info: Mapping) -> float:
    """How much larger the dataset may be than at the last save: at most as many keys are new as there were changes."""
    keys, changes = figure(info, "key_count"), figure(info, "rdb_changes_since_last_save")
    if not keys or changes is None:
        return 2
    return keys / (keys - changes) if changes < keys / 2 else 2


def _last_success_seconds(info: Mapping, attempts: t.Sequence[Mapping]) -> float | None:
    """How long the last save took that succeeded. The server's own figure is that of the last save, whatever it was."""
    taken = figure(info, "rdb_last_bgsave_time_sec")
    if taken is not None and info.get("rdb_last_bgsave_status") == "ok":
        return taken
    lengths = [_length(attempt) for attempt in attempts if attempt.get("outcome") == "succeeded"]
    known = [length for length in lengths if length is not None]
    return known[-1] if known else None


def _slow_seconds(info: Mapping, attempts: t.Sequence[Mapping]) -> float:
    """A save takes at least as long as one that runs still, or that was cut short."""
    running = figure(info, "rdb_current_bgsave_time_sec") if figure(info, "rdb_bgsave_in_progress") else None
    lengths = [_length(attempt) for attempt in attempts if attempt.get("stage") in ("write", "child")]
    return max([running or 0, *(length or 0 for length in lengths)])


def _length(attempt: Mapping) -> float | None:
    if attempt.get("target") == "replicas":
        return None
    started, ended = figure(attempt, "started_unix"), figure(attempt, "ended_unix")
    return None if started is None or ended is None or ended < started else ended - started


def _key_delay_seconds(instance: Mapping) -> float:
    """``rdb-key-save-delay``: microseconds a key, or where negative a microsecond for so many keys."""
    value = _block(instance, "redis", "config").get("rdb-key-save-delay")
    try:
        delay = int(str(value))
    except ValueError:
        return 0
    keys = figure(instance, "redis", "info", "key_count") or 0
    microseconds = keys * delay if delay >= 0 else keys / -delay
    return float(min(microseconds / 1_000_000, LARGEST_FIGURE))


# Room


def tightest_group(instance: Mapping) -> tuple[dict[str, t.Any] | None, bool | None]:
    """The ancestor with the least room, and whether any group limits memory at all (null when unknown)."""
    groups = _block(instance, "cgroups").get("memory")
    entries = [entry for entry in groups or [] if isinstance(entry, dict)] if isinstance(groups, (list, tuple)) else []
    if not entries:
        return None, None
    tightest: dict[str, t.Any] | None = None
    is_unknown = False
    for entry in entries:
        if entry.get("limit_bytes") == "unlimited":
            continue
        ceiling, usage = figure(entry, "limit_bytes"), figure(entry, "usage_bytes")
        if ceiling is None:
            is_unknown = True
            continue
        headroom = None if usage is None else int(ceiling - usage + min(_reclaimable(entry), usage))
        found = {
            "path": entry.get("path"),
            "limit_bytes": int(ceiling),
            "usage_bytes": None if usage is None else int(usage),
            "headroom_bytes": headroom,
            "oom_kill_count": entry.get("oom_kill_count"),
            "max_event_count": entry.get("max_event_count"),
        }
        if tightest is None or (
            headroom is not None and (tightest["headroom_bytes"] is None or headroom < tightest["headroom_bytes"])
        ):
            tightest = found
    if tightest is not None:
        return tightest, True
    return None, None if is_unknown else False


def _reclaimable(entry: Mapping) -> float:
    """Page cache is given back before anything fails or is killed; what lies on a tmpfs is counted there and is not."""
    return max((figure(entry, "file_bytes") or 0) - (figure(entry, "shared_memory_bytes") or 0), 0)


def _host_room(host: Mapping | None) -> float | None:
    available = figure(host, "memory", "available_bytes")
    return None if available is None else available + (figure(host, "memory", "swap_free_bytes") or 0)


def dump_in_memory(instance: Mapping, dump_bytes: float | None = None) -> float | None:
    """What the next dump takes of the memory: on a tmpfs it lies there beside the old one until that is replaced."""
    kind = _block(instance, "data_directory", "process_view").get("type")
    if kind not in MEMORY_FILE_SYSTEMS:
        return None if kind is None else 0
    return dump_bytes if dump_bytes is not None else figure(instance, "data_directory", "dump", "size_bytes")


def _block(value: object, *path: str) -> Mapping:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
