# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kept dump comes back, and neither file is ever the last one to be replaced."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._kept_dump_restore import put_back

KEPT = "dump.rdb.kept-20261125T100000Z-7"
OLD, NEW = b"what was there, and is much more", b"what our save wrote"
NOW = 1_790_000_000.0
OLD_SECOND, NEW_SECOND = 1_780_000_000, 1_789_000_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory after a save of ours: the old file kept beside, the new one in place."""
    for name, content, second in ((KEPT, OLD, OLD_SECOND), ("dump.rdb", NEW, NEW_SECOND)):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (second, second))
    return tmp_path


def wanted(place: Path) -> dict[str, t.Any]:
    def identity(name: str) -> dict[str, t.Any]:
        status = (place / name).stat()
        return {"bytes": status.st_size, "inode": status.st_ino, "saved_unix": status.st_mtime}

    return {"name": KEPT, **identity(KEPT), "replaced": identity("dump.rdb")}


def back(place: Path, what: dict[str, t.Any], check_mode: bool = False) -> tuple[list[t.Any], str | None, str | None]:
    handle = os.open(place, os.O_PATH | os.O_DIRECTORY)
    try:
        return put_back(handle, str(place), "dump.rdb", what, NOW, "9", check_mode)
    finally:
        os.close(handle)


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_both_files_are_kept(place: Path) -> None:
    what = wanted(place)
    before = contents(place)
    foretold = back(place, what, check_mode=True)
    assert contents(place) == before
    changes, conflict, beside = back(place, what)
    assert (changes, conflict) == (foretold[0], None)
    assert contents(place) == {"dump.rdb": OLD, KEPT: OLD, beside: NEW}
    assert changes == [
        {
            "what": f"dump put back: {place}/dump.rdb",
            "before": f"{len(NEW)} bytes, saved 2026-09-10T00:26:40Z",
            "after": f"{len(OLD)} bytes, saved 2026-05-28T20:26:40Z",
            "reversible": True,
        }
    ]


def test_a_second_time_there_is_nothing_to_do(place: Path) -> None:
    what = wanted(place)
    back(place, what)
    before = contents(place)
    assert back(place, what) == ([], None, None)
    assert contents(place) == before


def save_again(place: Path) -> None:
    (place / "new").write_bytes(NEW)
    os.utime(place / "new", (NEW_SECOND + 60, NEW_SECOND + 60))
    (place / "new").rename(place / "dump.rdb")


def grow(place: Path) -> None:
    with (place / KEPT).open("ab") as stream:
        stream.write(b"more")


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (save_again, "something has saved since"),
        (lambda place: (place / "dump.rdb").unlink(), "somebody has removed it"),
        (lambda place: (place / KEPT).unlink(), "is not there any more"),
        (grow, "changed or replaced since"),
    ],
)
def test_what_is_not_as_the_save_left_it_stays(place: Path, meanwhile: t.Callable[[Path], t.Any], why: str) -> None:
    what = wanted(place)
    meanwhile(place)
    before = contents(place)
    changes, conflict, beside = back(place, what)
    assert (changes, beside) == ([], None)
    assert why in str(conflict)
    assert contents(place) == before


def test_without_a_known_file_of_ours_nothing_is_replaced(place: Path) -> None:
    what = wanted(place)
    what["replaced"]["saved_unix"] = None
    assert "not the one that our save wrote" in str(back(place, what)[1])
