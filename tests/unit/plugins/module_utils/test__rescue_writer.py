# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where copies may lie, and that a file has its name only when it is whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _rescue_writer
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._replication import TransferFailed
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_place import (
    free_bytes,
    open_place,
    why_forbidden,
    why_no_name,
)
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_writer import NewFile
from ansible_collections.redisops.persistence.plugins.module_utils._system import System


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/etc", "//etc/x", "/etc/./cron.d", "/usr/local/x", "/proc/1/root/tmp", "/dev", "/dev/mqueue",
     "/dev/shmx", "/sys", "/boot/x", "/root/.ssh", "/home/a/.ssh", "/var/spool/x", "/var/www", "/a/../etc", "..",
     "a", "", "/a\nb", "/a\0b"],
)  # fmt: skip
def test_places_of_the_system(path: str) -> None:
    assert why_forbidden(path) is not None


@pytest.mark.parametrize("path", ["/dev/shm", "/dev/shm/x", "/var/backups/redis", "/mnt/a b", "/srv/{{ x }}", "/tmp/x"])
def test_places_for_copies(path: str) -> None:
    assert why_forbidden(path) is None


def test_names() -> None:
    assert why_no_name("127.0.0.1-6379-20260101T000000Z.rdb") is None
    for name in ("", ".", "..", "a/b", ".x", "-x", "a b", "a\n", "x.so", "authorized_keys", "{{x}}", "a" * 300):
        assert why_no_name(name) is not None, name


def test_what_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    with open_place(System(), str(wanted), create=False) as place:
        assert place.missing == ("a", "b") and not wanted.exists()
    with open_place(System(), str(wanted), create=True) as place:
        assert place.missing == ()
        assert free_bytes(System(), place.handle) > 0
    assert wanted.stat().st_mode & 0o777 == 0o700


def test_no_component_may_be_a_link_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    for path in ("link", "link/x", "file", "file/x"):
        with pytest.raises(Refused):
            open_place(System(), str(tmp_path / path), create=True)
    assert os.listdir(tmp_path / "real") == []


@pytest.fixture(params=["nameless", "partial"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With O_TMPFILE, and as on a file system without it."""
    if request.param == "partial":
        real_open = os.open

        def without(path: str, flags: int, *arguments: int, **more: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, "Operation not supported")
            return real_open(path, flags, *arguments, **more)

        monkeypatch.setattr(_rescue_writer.os, "open", without)
    return str(request.param)


def test_a_file_has_its_name_when_it_is_published(tmp_path: Path, way: str) -> None:
    with open_place(System(), str(tmp_path), create=False) as place:
        with NewFile(System(), place, "copy", 0, None) as file:
            assert os.listdir(tmp_path) == ([] if way == "nameless" else [".copy.partial"])
            file.write(b"abc")
            file.write(b"def")
            file.flush()
            file.publish()
            assert file.sha256 == hashlib.sha256(b"abcdef").hexdigest() and file.size_bytes == 6
        assert os.listdir(tmp_path) == ["copy"] and (tmp_path / "copy").read_bytes() == b"abcdef"
        assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
        with NewFile(System(), place, "copy", 0, None) as second, pytest.raises(FileExistsError):
            second.publish()
    assert os.listdir(tmp_path) == ["copy"] and (tmp_path / "copy").read_bytes() == b"abcdef"


def test_nothing_is_left_of_a_file_that_was_not_published(tmp_path: Path, way: str) -> None:
    with open_place(System(), str(tmp_path), create=False) as place:
        with pytest.raises(TransferFailed) as caught, NewFile(System(), place, "copy", 0, 10) as file:
            file.write(b"x" * 10)
            file.write(b"x")
        assert caught.value.kind == "too_large"
        with pytest.raises(TransferFailed) as caught, NewFile(System(), place, "copy", 2**62, None) as file:
            file.write(b"x")
        assert caught.value.kind == "no_space"
    assert os.listdir(tmp_path) == []
