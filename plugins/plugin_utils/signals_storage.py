# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about the data directory: space, inodes, the size of the next dump, read-only views, attributes, access."""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._kernel_match import (
    Identity,
    identity,
    is_of_another,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.hijack import Hijack, assess
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    all_of,
    any_of,
    dig,
    entries,
    finite,
    flag,
    integer,
    limit,
    mapping,
    negate,
    number,
    ratio,
    text,
)

# The kernel's clock and the log's are read apart.
DENIAL_SLACK_SECONDS = 30.0
# What a key costs in memory beside its bytes in the dump: entry, object header, string headers, rounding (64 bit).
KEY_OVERHEAD_BYTES = 100
# LZF takes repetitive values down this far; no dump is smaller than this share of what is in memory.
COMPRESSED_LEAST_SHARE = 0.02
UNCOMPRESSED_LEAST_SHARE = 0.5
# Data that is larger in memory by more than this than the dump says is most likely not yet in the dump.
HIGH_COMPRESSION = 5
# used_memory_dataset of a small dataset is lost in the noise of what else is allocated.
SMALLEST_DATASET_BYTES = 1024 * 1024
# The dump may come out a little larger than the estimate: compression and encodings change with the data.
ESTIMATE_MARGIN = 1.1
# A save that failed this short ago for want of space is itself a measurement of the space.
FRESH_FAILURE_SECONDS = 120
# The clock of the file system and that of the log lines are read apart.
CLOCK_SLACK_SECONDS = 1.0
# A disk with less than a block left is full whatever the dump's size.
BLOCK_BYTES = 4096
NO_SPACE = "ENOSPC"
SIGNAL_FILE_SIZE = 25


class Estimate(t.NamedTuple):
    """The size of the next dump in bytes.

    ``guess`` is for people and ratios. A judgement takes ``low`` (hardly less than that) and ``high`` (hardly more);
    what lies between nobody can tell before it was tried.
    """

    last: float | None
    guess: float | None
    least: float | None
    most: float | None
    low: float | None
    high: float | None


def estimate_dump(case: Case) -> Estimate:
    """How large the next dump will be.

    The last dump grows with the keys that were added since (at most as many as there were changes); the dataset in
    memory bounds it from above, and what of it is neither overhead nor compressible from below. Two things break the
    rule of three: where there were as many changes as there are keys, all may have been rewritten or a single counter
    incremented; and a few changes can bring more bytes than all that was there before.
    """
    dump = mapping(case.directory, "dump")
    last = number(dump, "size_bytes") if dump.get("type") == "file" else None
    dataset, keys = number(case.info, "used_memory_dataset"), number(case.info, "key_count")
    changes = number(case.info, "rdb_changes_since_last_save")
    share = UNCOMPRESSED_LEAST_SHARE if flag(case.config, "rdbcompression") is False else COMPRESSED_LEAST_SHARE
    content = None if dataset is None or keys is None else max(dataset - keys * KEY_OVERHEAD_BYTES, 0)
    least = None if content is None else content * share
    if last and changes == 0:
        most = None if dataset is None else max(dataset, last) * ESTIMATE_MARGIN
        return Estimate(last, last, last, most, last, last)
    if last is None or dataset is None or content is None or not keys or changes is None:
        guess = last if last is None or least is None else max(last, least)
        most = None if dataset is None else max(dataset, guess or 0) * (1 if guess is None else ESTIMATE_MARGIN)
        return Estimate(last, guess, least, most, least if guess is None else guess, most if guess is None else guess)
    # No dump is larger than what is in memory, also where most of it has been deleted since the last one.
    largest = max(dataset, SMALLEST_DATASET_BYTES)
    most = largest * ESTIMATE_MARGIN
    if changes >= keys:
        return Estimate(last, dataset, least, most, least, largest)
    grown = min(last * keys / (keys - changes), largest)
    guess = max(grown, least or 0)
    is_plausible = content <= guess * HIGH_COMPRESSION
    return Estimate(last, guess, least, most, guess, guess if is_plausible else largest)


def _failed_fresh(case: Case, errno: str) -> bool:
    attempt = case.attempt
    if attempt is None or attempt.get("errno") != errno:
        return False
    return _is_fresh(case, attempt)


def _is_fresh(case: Case, attempt: Mapping) -> bool:
    ended = number(attempt, "ended_unix") or number(attempt, "started_unix")
    return ended is not None and case.now - ended <= FRESH_FAILURE_SECONDS


def _signalled_fresh(case: Case, signal: int) -> bool:
    attempt = case.attempt
    return attempt is not None and attempt.get("signal") == signal and _is_fresh(case, attempt)


def disk_short(case: Case, usable: float | None, estimate: Estimate) -> bool | None:
    """Is there too little space for the next dump beside the old one?"""
    if usable is None:
        return None
    if usable < BLOCK_BYTES:
        return True
    attempt: Mapping = case.attempt or {}
    # No space to create a file is a want of inodes, and no measurement of the space.
    return _too_small(usable, estimate, _failed_fresh(case, NO_SPACE) and attempt.get("stage") != "open")


def _too_small(room: float, estimate: Estimate, was_reached: bool) -> bool | None:
    """Is this less than the next dump takes? Between the bounds only a measurement helps: the server has just tried."""
    if estimate.low is not None and room < estimate.low:
        return True
    if estimate.high is not None and room >= estimate.high * (1 if estimate.guess is None else ESTIMATE_MARGIN):
        return False
    return True if estimate.high is not None and was_reached else None


def _space(case: Case) -> dict[str, t.Any]:
    view = mapping(case.directory, "process_view")
    usable = number(view, "usable_bytes")
    estimate = estimate_dump(case)
    total = integer(view, "inodes_total")
    inodes = integer(view, "inodes_usable")
    if inodes is None:
        inodes = integer(view, "inodes_free")
    exhausted: bool | None = None
    if inodes is not None and total:
        exhausted = inodes <= 0
    elif number(view, "total_bytes") is not None:
        # Such a file system (btrfs, some network ones) makes inodes as it needs them.
        exhausted = False
    uid = integer(case.process, "uid", "effective")
    orphans = [entry for entry in entries(case.directory, "temp_files") if entry.get("holder") == "none"]
    own_orphans = [entry for entry in orphans if uid is not None and entry.get("uid") == uid]
    orphan_bytes = sum(number(entry, "size_bytes") or 0 for entry in orphans)
    known = isinstance(dig(case.directory, "temp_files"), (list, tuple))
    short = disk_short(case, usable, estimate)
    guess = finite(estimate.guess or estimate.most)
    file_limit = limit(case.process, "limits", "fsize", "soft")
    return {
        "last_rdb_bytes": finite(estimate.last),
        "next_rdb_estimate_bytes": finite(estimate.guess),
        "next_rdb_least_bytes": finite(estimate.least),
        "next_rdb_most_bytes": finite(estimate.most),
        "usable_bytes": finite(usable),
        "disk_free_to_rdb_ratio": ratio(usable, estimate.guess),
        "disk_short": short,
        "inodes_usable": inodes if total else None,
        "inodes_exhausted": exhausted,
        "orphan_temp_count": len(orphans) if known else None,
        "orphan_temp_bytes": int(orphan_bytes) if known else None,
        "orphan_temp_own_count": len(own_orphans) if known and uid is not None else None,
        "orphan_temp_own_bytes": int(sum(number(entry, "size_bytes") or 0 for entry in own_orphans)) if known else None,
        "orphan_temp_names": sorted(str(entry.get("name")) for entry in orphans)[:20] if known else None,
        "orphans_fill_disk": None if not known else _orphans_fill(orphan_bytes, usable, guess, view, short),
        "orphans_hold_inodes": None if not known else bool(orphans) and exhausted is True,
        "file_size_limit_bytes": finite(file_limit),
        "file_size_limited": _file_size_limited(case, file_limit, estimate),
    }


def _orphans_fill(
    orphan_bytes: float,
    usable: float | None,
    guess: int | None,
    view: Mapping,
    short: bool | None,
) -> bool | None:
    """Would the save fit without the orphans, and doesn't with them?"""
    if orphan_bytes <= 0 or short is False:
        return False
    if usable is None:
        return None
    if guess is not None and usable + orphan_bytes >= guess:
        return True
    total, free = number(view, "total_bytes"), number(view, "free_bytes")
    if total is None or free is None:
        return None
    return orphan_bytes * 2 >= total - free


def _file_size_limited(case: Case, ceiling: float | None, estimate: Estimate) -> bool | None:
    if ceiling is None:
        return None
    if ceiling == float("inf"):
        return False
    if estimate.low is not None and estimate.low == estimate.high:
        return ceiling < estimate.low
    return _too_small(ceiling, estimate, _failed_fresh(case, "EFBIG") or _signalled_fresh(case, SIGNAL_FILE_SIZE))


def _read_only(view: Mapping) -> bool | None:
    return any_of(flag(view, "read_only"), flag(view, "super_read_only"))


def _views(case: Case) -> dict[str, t.Any]:
    """Read-only for the server, for the host, or for the server alone."""
    process_view, host_view = mapping(case.directory, "process_view"), mapping(case.directory, "host_view")
    for_server, whole = _read_only(process_view), flag(process_view, "super_read_only")
    own_namespace = negate(flag(case.process, "namespaces", "mount", "is_host"))
    same_place = None
    if "device" in process_view and "device" in host_view:
        same_place = (process_view.get("device"), process_view.get("inode")) == (
            host_view.get("device"),
            host_view.get("inode"),
        )
    in_sandbox: bool | None
    if for_server is None or not for_server:
        in_sandbox = for_server
    elif whole is not False and same_place is not True:
        # The file system itself refuses writes: nobody else may write either.
        in_sandbox = None if whole is None else False
    elif own_namespace is False:
        in_sandbox = False
    elif same_place:
        in_sandbox = negate(_read_only(host_view))
    else:
        in_sandbox = own_namespace if own_namespace is not None else _sandbox_declared(case)
    return {
        "read_only_for_server": for_server,
        "read_only_in_sandbox": in_sandbox,
        "read_only_everywhere": all_of(for_server, negate(in_sandbox)),
        "own_mount_namespace": own_namespace,
        "sandbox_declared": _sandbox_declared(case),
        "same_place_on_host": same_place,
    }


def _sandbox_declared(case: Case) -> bool | None:
    """Does the unit (or a read-only container) take the directory away?"""
    sandbox = mapping(case.instance, "systemd", "sandbox")
    path = text(case.directory, "path")
    if sandbox and path:

        def inside(names: t.Any) -> bool:
            return isinstance(names, (list, tuple)) and any(
                path == name or path.startswith(name.rstrip("/") + "/")
                for name in (str(entry).lstrip("-+") for entry in names)
            )

        if inside(sandbox.get("ReadWritePaths")):
            return False
        return sandbox.get("ProtectSystem") == "strict" or inside(sandbox.get("ReadOnlyPaths"))
    return None


# Directories of the system whose owner and mode nobody changes for the sake of a dump.
FORBIDDEN_PLACES = (
    r"/",
    r"/(etc|root|usr|boot|proc|sys|dev|bin|sbin|lib|lib64)(/.*)?",
    r"/(var|home|srv|opt|tmp|run|mnt|media|var/(lib|spool|log|tmp|run|cache|www))",
    r"/var/(spool|www)/.*",
    r"(/.*)?/\.ssh(/.*)?",
)


def is_forbidden(path: str) -> bool:
    """Is this directory one of the system's own?"""
    return any(re.fullmatch(pattern, posixpath.normpath(path)) for pattern in FORBIDDEN_PLACES)


def _unchanged_since_denial(case: Case) -> bool:
    """Was the server refused here, and has nobody touched the directory since?

    What owner, mode and ACL allow now they allowed then, so that something else refused it and most likely still does:
    a security module, the server of a network file system, a file of that very name.
    """
    attempt: Mapping = case.attempt or {}
    changed, ended = number(case.directory, "owner", "changed_unix"), number(attempt, "ended_unix")
    if attempt.get("errno") != "EACCES" or attempt.get("stage") not in ("open", "rename"):
        return False
    return changed is not None and ended is not None and changed < ended - CLOCK_SLACK_SECONDS


def _access(case: Case) -> dict[str, t.Any]:
    access, owner = mapping(case.directory, "access"), mapping(case.directory, "owner")
    attributes, dump = mapping(case.directory, "attributes"), mapping(case.directory, "dump")
    # The running server stands in its directory: a parent that is closed to it stops a restart, not a save.
    blocked = negate(flag(access, "writable"))
    unexplained = None if case.attempt is None else blocked is False and _unchanged_since_denial(case)
    if unexplained:
        blocked = None
    capabilities = dig(case.process, "capabilities_effective")
    uid = integer(case.process, "uid", "effective")
    foreign: bool | None = None
    dump_exists = flag(dump, "exists")
    if dump_exists is False or flag(case.directory, "sticky") is False:
        foreign = False
    elif uid is not None and isinstance(capabilities, (list, tuple)):
        # In a sticky directory only the owner of the file, of the directory, or CAP_FOWNER replaces a file.
        foreign = all_of(
            flag(case.directory, "sticky"),
            dump_exists,
            None if dump.get("uid") is None else dump.get("uid") != uid,
            None if owner.get("uid") is None else owner.get("uid") != uid,
            "CAP_FOWNER" not in capabilities,
        )
    directory_fixed = any_of(flag(attributes, "immutable"), flag(attributes, "append_only"))
    dump_attributes = mapping(dump, "attributes")
    dump_fixed: bool | None = any_of(flag(dump_attributes, "immutable"), flag(dump_attributes, "append_only"))
    if dump_exists is False:
        dump_fixed = False
    kind = text(dump, "type")
    path, blocked_by = text(case.directory, "path"), text(access, "blocked_by")
    return {
        "directory_blocked_elsewhere": False
        if blocked is False
        else None
        if None in (path, blocked_by)
        else path != blocked_by,
        "directory_forbidden": None if path is None else is_forbidden(path),
        "directory_blocked": blocked,
        "denial_unexplained": unexplained,
        "directory_blocked_by": text(access, "blocked_by"),
        "directory_attribute_blocks": directory_fixed,
        "dump_is_directory": False if dump_exists is False else None if kind is None else kind == "directory",
        "dump_is_empty_directory": all_of(None if kind is None else kind == "directory", flag(dump, "directory_empty")),
        "dump_is_mount": False if dump_exists is False else flag(dump, "is_mount_point"),
        "dump_attribute_blocks": dump_fixed,
        "dump_of_another_owner": foreign,
        "dump_protected": any_of(dump_fixed, foreign),
        "directory_deleted": flag(case.directory, "deleted"),
        "directory_hidden": all_of(
            negate(flag(case.directory, "deleted")), negate(flag(case.directory, "same_directory"))
        ),
    }


def running_place(case: Case) -> tuple[str | None, str | None]:
    """Where the dump goes now: as Redis says, else as /proc says."""
    directory = text(case.config, "dir") or text(case.directory, "path")
    return directory, text(case.config, "dbfilename") or text(case.directory, "dump", "name")


def _attempt_hijack(case: Case) -> Hijack:
    attempt: t.Mapping[str, t.Any] = case.attempt or {}
    name = text(attempt, "destination") or text(attempt, "file")
    if name is not None and name.startswith("temp-"):
        name = None
    return assess(text(attempt, "directory"), name, None)


def _hijack(case: Case) -> dict[str, t.Any]:
    written = dig(case.redis, "config_file_settings")
    directory, dbfilename = running_place(case)
    now = assess(directory, dbfilename, written if isinstance(written, t.Mapping) else None)
    then = _attempt_hijack(case)
    return {
        "hijacked": now.hijacked,
        "hijack_reasons": list(now.reasons),
        "place_changed_at_run_time": now.changed_at_run_time,
        "attempt_was_hijacked": then.hijacked is True,
        "attempt_hijack_reasons": list(then.reasons),
    }


def _is_at_attempt(case: Case, event: Mapping) -> bool | None:
    """Whether a record is of the time of one of the streak's attempts; None where a time is not known."""
    moment, started = number(event, "time_unix"), number(case.process, "started_unix")
    if moment is not None and started is not None and moment < started - DENIAL_SLACK_SECONDS:
        return False  # of an earlier process
    spans = [(number(attempt, "started_unix"), number(attempt, "ended_unix")) for attempt in case.streak]
    known = [(start if start is not None else end, end if end is not None else start) for start, end in spans]
    times = [(start, end) for start, end in known if start is not None and end is not None]
    if moment is None or not times:
        return None
    return any(start - DENIAL_SLACK_SECONDS <= moment <= end + DENIAL_SLACK_SECONDS for start, end in times)


def _is_denial_of_server(case: Case, event: Mapping, who: Identity, directory: str | None) -> bool:
    """By the number of the server or of a failed child, or by program and path; user and program must fit."""
    pids = {who.host_pid} | {
        integer(attempt, "host_pid") or (integer(attempt, "child_pid") if who.shares_host_pids else None)
        for attempt in case.streak
    }
    if is_of_another(dict(event), who):
        return False
    by_number = integer(event, "pid") is not None and integer(event, "pid") in pids
    return by_number or (text(event, "command") == text(case.process, "command") and _concerns(event, directory))


def _denials(case: Case) -> dict[str, t.Any]:
    """Security modules: the kernel's records of refusals that concern this server, and one of its failed saves."""
    who = identity(case.process, case.cgroups)
    directory, _name = running_place(case)
    denied = [event for event in entries(case.kernel, "events") if event.get("event") == "access_denied"]
    found = [
        (event, _is_at_attempt(case, event))
        for event in denied
        if text(case.process, "command") is not None and _is_denial_of_server(case, event, who, directory)
    ]
    records = [event for event, fits in found if fits]
    perhaps = any(fits is None for _event, fits in found)
    selinux = text(case.host, "lsm", "selinux")
    apparmor = flag(case.host, "lsm", "apparmor")
    label = text(case.process, "security_label")
    confined = None if label is None else not label.startswith("unconfined")
    possible = any_of(
        None if selinux is None else selinux == "enforcing",
        all_of(apparmor, confined),
    )
    return {
        "access_denial_count": len(records) if flag(case.kernel, "available") else None,
        "access_denial_text": text(records[-1], "text") if records else None,
        "access_denial_seen": True if records else False if flag(case.kernel, "available") and not perhaps else None,
        "security_module_may_deny": possible,
    }


def _concerns(event: Mapping, directory: str | None) -> bool:
    path = text(event, "path")
    if directory is None or path is None or "/" not in path:
        return True
    place = directory.rstrip("/")
    return path == place or path.startswith(place + "/")


def storage_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    return {**_space(case), **_views(case), **_access(case), **_hijack(case), **_denials(case)}
