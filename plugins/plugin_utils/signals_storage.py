# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Signals about the data directory: space, inodes, the size of the next dump, read-only views, attributes, access."""

from __future__ import annotations

import posixpath
import re
import typing as t

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

# What a key costs in memory beside its bytes in the dump: entry, object header, string headers, rounding (64 bit).
KEY_OVERHEAD_BYTES = 100
# LZF takes repetitive values down this far; no dump is smaller than this share of what is in memory.
COMPRESSED_LEAST_SHARE = 0.02
UNCOMPRESSED_LEAST_SHARE = 0.5
# The dump may come out a little larger than the estimate: compression and encodings change with the data.
ESTIMATE_MARGIN = 1.1
# A save that failed this short ago for want of space is itself a measurement of the space.
FRESH_FAILURE_SECONDS = 120
# A disk with less than a block left is full whatever the dump's size.
BLOCK_BYTES = 4096
NO_SPACE = "ENOSPC"
SIGNAL_FILE_SIZE = 25


def _estimate(case: Case) -> dict[str, int | None]:
    """How large the next dump will be: best guess, least and most.

    The last dump grows with the keys that were added since (at most as many as there were changes); the dataset in
    memory bounds it from above, and what of it is neither overhead nor compressible from below.
    """
    dump = mapping(case.directory, "dump")
    last = number(dump, "size_bytes") if dump.get("type") == "file" else None
    dataset, keys = number(case.info, "used_memory_dataset"), number(case.info, "key_count")
    changes = number(case.info, "rdb_changes_since_last_save")
    share = UNCOMPRESSED_LEAST_SHARE if flag(case.config, "rdbcompression") is False else COMPRESSED_LEAST_SHARE
    least = None if dataset is None or keys is None else max(dataset - keys * KEY_OVERHEAD_BYTES, 0) * share
    guess: float | None = None
    if last and dataset is not None and keys and changes is not None:
        growth = keys / (keys - changes) if changes < keys else None
        guess = max(dataset, last) if growth is None else min(last * growth, max(dataset, last))
        if changes == 0:
            least = last
    elif last:
        guess = last
    if guess is not None and least is not None:
        guess = max(guess, least)
    most = None if dataset is None else max(dataset, guess or 0) * (1 if guess is None else ESTIMATE_MARGIN)
    return {
        "last_rdb_bytes": finite(last),
        "next_rdb_estimate_bytes": finite(guess),
        "next_rdb_least_bytes": finite(least),
        "next_rdb_most_bytes": finite(most),
    }


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


def disk_short(case: Case, usable: float | None, estimate: t.Mapping[str, int | None]) -> bool | None:
    """Is there too little space for the next dump beside the old one?"""
    if usable is None:
        return None
    if usable < BLOCK_BYTES:
        return True
    least, guess, most = (estimate[f"next_rdb_{name}_bytes"] for name in ("least", "estimate", "most"))
    if least is not None and usable < least:
        return True
    if guess is not None:
        if usable >= guess * ESTIMATE_MARGIN:
            return False
        return True if usable < guess else None
    if most is not None and usable >= most:
        return False
    # Between the bounds only a measurement helps: the server has just tried.
    return True if most is not None and _failed_fresh(case, NO_SPACE) else None


def _space(case: Case) -> dict[str, t.Any]:
    view = mapping(case.directory, "process_view")
    usable = number(view, "usable_bytes")
    estimate = _estimate(case)
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
    orphans = [entry for entry in entries(case.directory, "temp_files") if entry.get("holder") == "none"]
    orphan_bytes = sum(number(entry, "size_bytes") or 0 for entry in orphans)
    known = isinstance(dig(case.directory, "temp_files"), (list, tuple))
    short = disk_short(case, usable, estimate)
    guess = estimate["next_rdb_estimate_bytes"] or estimate["next_rdb_most_bytes"]
    file_limit = limit(case.process, "limits", "fsize", "soft")
    return {
        **estimate,
        "usable_bytes": finite(usable),
        "disk_free_to_rdb_ratio": ratio(usable, estimate["next_rdb_estimate_bytes"]),
        "disk_short": short,
        "inodes_usable": inodes if total else None,
        "inodes_exhausted": exhausted,
        "orphan_temp_count": len(orphans) if known else None,
        "orphan_temp_bytes": int(orphan_bytes) if known else None,
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


def _file_size_limited(case: Case, ceiling: float | None, estimate: t.Mapping[str, int | None]) -> bool | None:
    if ceiling is None:
        return None
    if ceiling == float("inf"):
        return False
    least, guess, most = (estimate[f"next_rdb_{name}_bytes"] for name in ("least", "estimate", "most"))
    if guess is not None:
        return ceiling < guess
    if most is not None and ceiling >= most:
        return False
    if least is not None and ceiling < least:
        return True
    reached = _failed_fresh(case, "EFBIG") or _signalled_fresh(case, SIGNAL_FILE_SIZE)
    return True if most is not None and reached else None


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


def _access(case: Case) -> dict[str, t.Any]:
    access, owner = mapping(case.directory, "access"), mapping(case.directory, "owner")
    attributes, dump = mapping(case.directory, "attributes"), mapping(case.directory, "dump")
    # The running server stands in its directory: a parent that is closed to it stops a restart, not a save.
    blocked = negate(flag(access, "writable"))
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


def _denials(case: Case) -> dict[str, t.Any]:
    """Security modules: the kernel's records of refusals that concern this server."""
    pids = {integer(case.process, "pid")}
    commands = {text(case.process, "command")} - {None}
    pids |= {integer(attempt, "host_pid") or integer(attempt, "child_pid") for attempt in case.streak}
    pids.discard(None)
    directory, _name = running_place(case)
    records = [
        event
        for event in entries(case.kernel, "events")
        if event.get("event") == "access_denied"
        and (integer(event, "pid") in pids or (text(event, "command") in commands and _concerns(event, directory)))
    ]
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
        "access_denial_seen": True if records else False if flag(case.kernel, "available") else None,
        "security_module_may_deny": possible,
    }


def _concerns(event: Mapping, directory: str | None) -> bool:
    path = text(event, "path")
    return directory is None or path is None or path.startswith(directory) or "/" not in path


def storage_signals(case: Case) -> dict[str, t.Any]:
    """All signals of this subject."""
    return {**_space(case), **_views(case), **_access(case), **_hijack(case), **_denials(case)}
