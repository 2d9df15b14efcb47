# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file kept beside: by a second name, by a copy, and never over anything."""

from __future__ import annotations

import errno
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _kept_dump, _own_touch
from ansible_collections.redisops.persistence.plugins.module_utils._kept_dump import (
    CannotKeep,
    HasChanged,
    Kept,
    Seen,
    give_up,
    hold,
    is_unchanged,
    keep,
    kept_name,
    let_go,
    look_at_dump,
    why_no_room,
)

CONTENT = b"REDIS0009" + b"x" * 3_000_000
HUGE = 1 << 62


@pytest.fixture
def directory(tmp_path: Path) -> t.Iterator[int]:
    (tmp_path / "dump.rdb").write_bytes(CONTENT)
    handle = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@pytest.fixture(autouse=True)
def notes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where is noted what was ours, instead of the host's place for it."""
    place = tmp_path_factory.mktemp("notes")
    monkeypatch.setattr(_own_touch, "directories", lambda: [str(place)])
    return place


def seen(directory: int, name: str = "dump.rdb") -> Seen:
    found, _block = look_at_dump(directory, name)
    assert found is not None
    return found


def without_links(monkeypatch: pytest.MonkeyPatch, number: int = errno.EPERM) -> None:
    def refuse(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)


def test_a_look_tells_the_file(directory: int, tmp_path: Path) -> None:
    found, block = look_at_dump(directory, "dump.rdb")
    status = (tmp_path / "dump.rdb").stat()
    assert found is not None and found.inode == block["inode"] == status.st_ino
    assert (block["exists"], block["type"], block["size_bytes"]) == (True, "file", len(CONTENT))
    assert block["header"]["rdb_version"] == 9
    assert look_at_dump(directory, "none.rdb") == (
        None,
        {"exists": False, "type": None, "size_bytes": None, "header": None},
    )
    for name in ("", "..", "a/b", "a\0b"):
        with pytest.raises(OSError, match=r"."):
            look_at_dump(directory, name)


def test_a_link_is_looked_at_itself(directory: int, tmp_path: Path) -> None:
    (tmp_path / "link.rdb").symlink_to("dump.rdb")
    found, block = look_at_dump(directory, "link.rdb")
    assert found is not None and not found.is_regular
    assert (block["type"], block["header"]) == ("symlink", None)
    with pytest.raises(CannotKeep, match="no ordinary file"):
        keep(directory, found, "kept", 0)
    os.mkfifo(tmp_path / "fifo.rdb")
    assert not seen(directory, "fifo.rdb").is_regular


@pytest.mark.parametrize("change", ["written", "replaced", "removed", "swapped for a link"])
def test_any_difference_is_seen(directory: int, tmp_path: Path, change: str) -> None:
    judged = seen(directory)
    assert is_unchanged(directory, "dump.rdb", judged)
    file = tmp_path / "dump.rdb"
    if change == "written":
        with file.open("ab") as handle:
            handle.write(b"more")
    else:
        file.rename(tmp_path / "away.rdb")
        if change == "replaced":
            file.write_bytes(CONTENT)
        elif change == "swapped for a link":
            file.symlink_to("away.rdb")
    assert not is_unchanged(directory, "dump.rdb", judged)
    with pytest.raises(HasChanged):
        keep(directory, judged, "kept", 0)
    assert not (tmp_path / "kept").exists()


def test_absence_is_judged_too(directory: int, tmp_path: Path) -> None:
    assert is_unchanged(directory, "none.rdb", None)
    assert not is_unchanged(directory, "dump.rdb", None)


def test_a_second_name(directory: int, tmp_path: Path) -> None:
    kept = keep(directory, seen(directory), "kept", 1000)
    assert (kept.method, kept.name, kept.inode) == ("link", "kept", (tmp_path / "dump.rdb").stat().st_ino)
    assert os.path.samefile(tmp_path / "kept", tmp_path / "dump.rdb")


@pytest.mark.parametrize("number", sorted(_kept_dump.NO_LINKS))
def test_a_copy_where_no_second_name_is_made(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    original = tmp_path / "dump.rdb"
    original.chmod(0o640)
    os.utime(original, (1_700_000_000, 1_700_000_000))
    without_links(monkeypatch, number)
    kept = keep(directory, seen(directory), "kept", 1000)
    assert kept.method == "copy"
    copied, status = (tmp_path / "kept").stat(), original.stat()
    assert (tmp_path / "kept").read_bytes() == CONTENT
    assert (copied.st_mode, copied.st_uid, copied.st_mtime_ns) == (status.st_mode, status.st_uid, status.st_mtime_ns)
    assert copied.st_ino == kept.inode != status.st_ino


def test_an_error_that_is_none_of_links_keeps_nothing(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_links(monkeypatch, errno.EROFS)
    with pytest.raises(CannotKeep, match="Read-only file system"):
        keep(directory, seen(directory), "kept", 1000)
    assert os.listdir(tmp_path) == ["dump.rdb"]


@pytest.mark.parametrize("fault", ["full", "differs", "interrupted"])
def test_a_copy_that_fails_leaves_nothing(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    without_links(monkeypatch)

    def fail(*_arguments: t.Any) -> t.NoReturn:
        raise KeyboardInterrupt if fault == "interrupted" else OSError(errno.ENOSPC, "No space left on device")

    if fault == "differs":
        monkeypatch.setattr(_kept_dump, "_digest_of", lambda _handle: b"another")
    else:
        monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt if fault == "interrupted" else CannotKeep):
        keep(directory, seen(directory), "kept", 1000)
    assert os.listdir(tmp_path) == ["dump.rdb"]


@pytest.mark.parametrize("has_links", [True, False])
def test_nothing_that_is_there_is_replaced_or_followed(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "kept").symlink_to(victim)
    (tmp_path / "kept.1").symlink_to(tmp_path / "nowhere")
    if not has_links:
        without_links(monkeypatch)
    kept = keep(directory, seen(directory), "kept", 1000)
    assert kept.name == "kept.2"
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "nowhere").exists()


def test_names_that_are_all_taken(directory: int, tmp_path: Path) -> None:
    for name in ("kept", "kept.1", "kept.2", "kept.3", "kept.4"):
        (tmp_path / name).write_text("")
    with pytest.raises(CannotKeep, match="all taken"):
        keep(directory, seen(directory), "kept", 1000)


@pytest.mark.parametrize(("copy_bytes", "new_bytes"), [(0, HUGE), (HUGE, 0), (0, None)])
def test_room_is_counted(directory: int, copy_bytes: int, new_bytes: int | None) -> None:
    problem = why_no_room(directory, copy_bytes, new_bytes)
    assert problem is not None and problem.endswith(".")
    assert why_no_room(directory, 0, 1000) is None


def test_room_for_this_dump_and_the_next(directory: int) -> None:
    status = os.fstatvfs(directory)
    free = status.f_bavail * status.f_frsize
    assert why_no_room(directory, 0, free * 2 // 3) is not None
    assert why_no_room(directory, free // 2, free // 3) is not None
    assert why_no_room(directory, 0, free // 3) is None


@pytest.mark.parametrize("has_links", [True, False])
def test_what_was_kept_in_vain_is_removed(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        without_links(monkeypatch)
    kept = keep(directory, seen(directory), "kept", 1000)
    assert give_up(directory, kept)
    assert os.listdir(tmp_path) == ["dump.rdb"]
    assert not give_up(directory, kept)


@pytest.mark.parametrize("change", ["replaced", "removed", "beside is another"])
def test_what_may_be_the_last_copy_is_never_removed(directory: int, tmp_path: Path, change: str) -> None:
    kept = keep(directory, seen(directory), "kept", 1000)
    changed = tmp_path / ("kept" if change == "beside is another" else "dump.rdb")
    changed.unlink()
    if change != "removed":
        changed.write_text("another")
    assert not give_up(directory, kept)
    assert (tmp_path / "kept").exists()


def test_what_is_held_goes_or_stays(directory: int, tmp_path: Path) -> None:
    held = hold(directory, seen(directory), "held")
    assert held is not None and (tmp_path / "held").read_bytes() == CONTENT
    (tmp_path / "dump.rdb").unlink()
    (tmp_path / "dump.rdb").write_text("the new one")
    assert let_go(directory, held)
    assert os.listdir(tmp_path) == ["dump.rdb"]
    assert not let_go(directory, held)


def test_a_save_that_failed_leaves_no_trace_in_the_times(directory: int, tmp_path: Path) -> None:
    """Else the next run would find that somebody has moved or linked the file."""
    before = look_at_dump(directory, "dump.rdb")[1]["changed_unix"]
    for _time in range(2):
        held = hold(directory, seen(directory), "held")
        assert held is not None and give_up(directory, held)
        assert (tmp_path / "dump.rdb").stat().st_ctime > before
        assert look_at_dump(directory, "dump.rdb")[1]["changed_unix"] == pytest.approx(before, abs=1e-6)
    (tmp_path / "dump.rdb").chmod(0o640)
    assert look_at_dump(directory, "dump.rdb")[1]["changed_unix"] > before + 1e-6


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"before_ns": "x", "after_ns": 1}', "x" * 10_000])
def test_a_broken_note_says_nothing(directory: int, tmp_path: Path, notes: Path, note: str) -> None:
    status = (tmp_path / "dump.rdb").stat()
    (notes / f"touched-{status.st_dev:x}-{status.st_ino:x}.json").write_text(note)
    assert look_at_dump(directory, "dump.rdb")[1]["changed_unix"] == status.st_ctime


def test_what_somebody_has_put_under_the_name_is_not_removed(directory: int, tmp_path: Path) -> None:
    held = hold(directory, seen(directory), "held")
    assert held is not None
    (tmp_path / "held").unlink()
    (tmp_path / "held").write_text("somebody's")
    assert not let_go(directory, held)
    assert (tmp_path / "held").read_text() == "somebody's"


def test_nothing_is_held_where_no_second_name_can_be_made(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = seen(directory)
    without_links(monkeypatch)
    assert hold(directory, before, "held") is None


def test_a_file_that_was_replaced_is_not_held(directory: int, tmp_path: Path) -> None:
    before = seen(directory)
    (tmp_path / "dump.rdb").write_text("another")
    with pytest.raises(HasChanged):
        hold(directory, before, "held")


def test_a_second_name_that_is_taken_away_at_once(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plant(_source: str, name: str, **_options: t.Any) -> None:
        (tmp_path / name).write_text("planted")

    monkeypatch.setattr(os, "link", plant)
    with pytest.raises(CannotKeep, match="replaced by somebody"):
        keep(directory, seen(directory), "kept", 1000)
    assert (tmp_path / "kept").read_text() == "planted"


def test_the_name_says_when_and_stays_a_name() -> None:
    assert kept_name("dump.rdb", 1_764_090_000, "4711") == "dump.rdb.kept-20251125T170000Z-4711"
    long = kept_name("ä" * 200, 1_764_090_000, "4711")
    assert len(os.fsencode(long)) <= 255
    assert long.endswith(".kept-20251125T170000Z-4711")


def test_what_is_kept_says_of_what(directory: int) -> None:
    judged = seen(directory)
    assert isinstance(keep(directory, judged, "kept", 1000), Kept)
    assert keep(directory, judged, "kept", 1000).original == judged
