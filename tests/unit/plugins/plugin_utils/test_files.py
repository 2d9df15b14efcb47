# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the control node: written where nobody else may write, and nowhere that somebody else has aimed at."""

from __future__ import annotations

import errno
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils import files, record

ANOTHER = 4242
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user has made")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path.resolve()


def planted_link(base: Path) -> Path:
    """A link of another user in a sticky directory, as in /tmp."""
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (base / "victim").mkdir()
    (shared / "records").symlink_to(base / "victim")
    os.chown(shared / "records", ANOTHER, ANOTHER, follow_symlinks=False)
    return shared / "records"


def below_planted_link(base: Path) -> Path:
    return planted_link(base) / "deeper" / "records"


def of_another_user(base: Path) -> Path:
    path = base / "theirs"
    path.mkdir()
    os.chown(path, ANOTHER, ANOTHER)
    return path


def below_another_users(base: Path) -> Path:
    return of_another_user(base) / "records"


def writable_by_all(base: Path) -> Path:
    path = base / "open"
    path.mkdir()
    path.chmod(0o777)
    return path


def below_writable_by_all(base: Path) -> Path:
    return writable_by_all(base) / "records"


def sticky_itself(base: Path) -> Path:
    path = base / "sticky"
    path.mkdir()
    path.chmod(0o1777)
    return path


def writable_by_a_group(base: Path) -> Path:
    path = base / "group"
    path.mkdir()
    os.chown(path, 0, ANOTHER)
    path.chmod(0o770)
    return path


def own_link_to_another_users(base: Path) -> Path:
    link = base / "link"
    link.symlink_to(of_another_user(base))
    return link


REFUSED: tuple[t.Callable[[Path], Path], ...] = (
    planted_link,
    below_planted_link,
    of_another_user,
    below_another_users,
    writable_by_all,
    below_writable_by_all,
    sticky_itself,
    writable_by_a_group,
    own_link_to_another_users,
)


@needs_root
@pytest.mark.parametrize("arrange", REFUSED)
def test_another_users_place_is_refused_and_nothing_is_written(arrange: t.Callable[[Path], Path], base: Path) -> None:
    place = arrange(base)
    before = sorted(base.rglob("*"))
    for attempt in (lambda: files.write_json(str(place), "report.json", {}), lambda: files.check_directory(str(place))):
        with pytest.raises(files.NotOurs) as refused:
            attempt()
        assert "only you and root can write" in str(refused.value.strerror)
    assert sorted(base.rglob("*")) == before


@needs_root
def test_a_record_that_another_user_may_have_written_is_not_rolled_back(base: Path) -> None:
    run = of_another_user(base) / "20261125T000000Z-1"
    run.mkdir()
    (run / "lab.json").write_text("{}")
    with pytest.raises(record.RecordError, match="belongs to the user"):
        record.find(str(run / "lab.json"), None, "lab")
    with pytest.raises(record.RecordError, match="belongs to the user"):
        record.find(str(run), None, "lab")


def own_link(base: Path) -> Path:
    (base / "real").mkdir()
    (base / "link").symlink_to("real")
    return base / "link"


def absolute_link_with_dots(base: Path) -> Path:
    (base / "real").mkdir()
    (base / "dots").symlink_to(f"{base}/real/../real/.")
    return base / "dots" / "records"


def own_in_sticky(base: Path) -> Path:
    return sticky_itself(base) / "records"


def own_link_in_sticky(base: Path) -> Path:
    (base / "real").mkdir()
    link = sticky_itself(base) / "link"
    link.symlink_to(base / "real")
    return link


def missing(base: Path) -> Path:
    return base / "not" / "there" / "yet"


@pytest.mark.parametrize("arrange", [own_link, absolute_link_with_dots, own_in_sticky, own_link_in_sticky, missing])
def test_a_place_of_ones_own_is_written_to(arrange: t.Callable[[Path], Path], base: Path) -> None:
    place = arrange(base)
    files.check_directory(str(place))
    path = files.write_json(str(place), "report.json", {"a": 1})
    assert path == str(place / "report.json")
    assert json.loads((place / "report.json").read_text()) == {"a": 1}
    assert (place / "report.json").stat().st_mode & 0o777 == files.FILE_MODE
    assert os.listdir(place) == ["report.json"]


@needs_root
def test_who_became_root_is_no_stranger(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = of_another_user(base)
    monkeypatch.setenv("SUDO_UID", str(ANOTHER))
    files.write_json(str(place), "report.json", {})
    assert os.listdir(place) == ["report.json"]


def test_checking_makes_nothing(base: Path) -> None:
    files.check_directory(str(missing(base)))
    assert os.listdir(base) == []


def test_a_circle_of_links_ends(base: Path) -> None:
    (base / "a").symlink_to("b")
    (base / "b").symlink_to("a")
    with pytest.raises(OSError) as ended:
        files.write_json(str(base / "a"), "report.json", {})
    assert ended.value.errno == errno.ELOOP


def test_no_handle_is_left_open(base: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _turn in range(20):
        files.write_json(str(base / "x"), "report.json", {})
        files.check_directory(str(base / "y" / "z"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_can_not_be_written_leaves_nothing_behind(base: Path) -> None:
    with pytest.raises(TypeError):
        files.write_json(str(base), "report.json", {"a": object()})
    assert os.listdir(base) == []
