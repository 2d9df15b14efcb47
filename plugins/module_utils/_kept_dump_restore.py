# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A kept dump in the dump's place again: what a save of ours has replaced comes back.

Only where the file in place is still the one that our save wrote; that one is kept beside in its turn. The kept file
keeps its own name as well: the next save of the server replaces what is in place, and must not find the last copy.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _changes
from ansible_collections.redisops.persistence.plugins.module_utils._kept_dump import (
    CannotKeep,
    HasChanged,
    Seen,
    give_up,
    keep,
    kept_name,
    look_at_dump,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import clean_text

Mapping = t.Mapping[str, t.Any]
IDENTITY = ("bytes", "inode", "saved_unix")


def identity_of(seen: Seen, fields: Mapping) -> dict[str, t.Any]:
    """{bytes, inode, saved_unix, keys_at_least} of a file, as the module that saves tells them of a dump."""
    header = fields.get("header") or {}
    created = header.get("created_unix")
    return {
        "bytes": seen.size_bytes,
        "inode": seen.inode,
        "saved_unix": fields.get("modified_unix") if created is None else created,
        "keys_at_least": header.get("keys_at_least"),
    }


def put_back(
    directory: int, path: str, dump_name: str, wanted: Mapping, now_unix: float, run: str, check_mode: bool
) -> tuple[list[_changes.Change], str | None, str | None]:
    """(changes, why it was left alone, the name under which the replaced file is kept).

    :param directory: a handle of it. :param path: the directory for people.
    :param wanted: {name, bytes, inode, saved_unix, replaced: {bytes, inode, saved_unix}}: the kept file, and the one
        that our save wrote. :param run: what makes the new name this run's own.
    :raises CannotKeep: where the file in place can't be kept beside. :raises OSError: for what fails otherwise.
    """
    in_place, fields = look_at_dump(directory, dump_name)
    kept, kept_fields = look_at_dump(directory, str(wanted["name"]))
    if kept is None:
        return [], f"{wanted['name']} is not there any more: nothing can be put back.", None
    if in_place is None:
        return [], "There is no file in the dump's place any more: somebody has removed it.", None
    now, before = identity_of(in_place, fields), identity_of(kept, kept_fields)
    if all(now[name] == before[name] for name in IDENTITY):
        return [], None, None
    if not _is_same(before, wanted):
        return [], f"{wanted['name']} is not the file that was kept: it was changed or replaced since.", None
    if not _is_same(now, wanted["replaced"]):
        return [], "The file in the dump's place is not the one that our save wrote: something has saved since.", None
    change = _changes.change(_changes.put_back_dump(os.path.join(path, dump_name)), _text(now), _text(before))
    if check_mode:
        return [change], None, None
    beside = _exchange(directory, in_place, kept, dump_name, now_unix, run)
    return [change], None, clean_text(beside)


def _exchange(directory: int, in_place: Seen, kept: Seen, dump_name: str, now_unix: float, run: str) -> str:
    """Give both files a second name, then put the kept one over the other. The name of what was in place."""
    try:
        beside = keep(directory, in_place, kept_name(in_place.name, now_unix, run), 0)
        try:
            coming = keep(directory, kept, kept_name(in_place.name, now_unix, f"{run}-back"), 0)
        except BaseException:
            give_up(directory, beside)
            raise
    except HasChanged:
        raise CannotKeep("A file was replaced while it was looked at. See by whom, and try again.") from None
    try:
        os.rename(coming.name, in_place.name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        give_up(directory, coming)
        give_up(directory, beside)
        raise
    return beside.name


def _is_same(found: Mapping, expected: Mapping) -> bool:
    """Each of what is known of the expected file is so; its size and its time are needed."""
    known = [name for name in IDENTITY if expected.get(name) is not None]
    return {"bytes", "saved_unix"} <= set(known) and all(found[name] == expected[name] for name in known)


def _text(identity: Mapping) -> str:
    return _changes.dump_text(identity["bytes"], identity["keys_at_least"], identity["saved_unix"])
