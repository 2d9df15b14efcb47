# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.plugins.module_utils._write import (
    make_directory,
    read_own_file,
    remove_file,
    why_not_writable,
    write_file,
)

PATH = "/etc/sysctl.d/99-own.conf"


@pytest.fixture
def system(tmp_path):
    (tmp_path / "etc" / "sysctl.d").mkdir(parents=True)
    return System(root=str(tmp_path))


def names(tmp_path):
    return sorted(os.listdir(tmp_path / "etc" / "sysctl.d"))


def test_a_file_is_replaced_whole_and_with_its_mode(system, tmp_path):
    previous = os.umask(0o077)
    try:
        write_file(system, PATH, "first\n")
        write_file(system, PATH, "second\n", 0o755)
    finally:
        os.umask(previous)
    assert read_own_file(system, PATH) == ("second\n", None)
    assert stat.S_IMODE(os.stat(system.path(PATH)).st_mode) == 0o755
    assert names(tmp_path) == ["99-own.conf"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(system, tmp_path, monkeypatch):
    write_file(system, PATH, "first\n")

    def disk_is_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        write_file(system, PATH, "second\n")
    assert read_own_file(system, PATH).text == "first\n"
    assert names(tmp_path) == ["99-own.conf"]


def test_a_link_is_replaced_and_not_followed(system, tmp_path):
    elsewhere = tmp_path / "shadow"
    elsewhere.write_text("precious\n")
    os.symlink(elsewhere, system.path(PATH))
    assert read_own_file(system, PATH) == (None, f"{PATH} is a symbolic link")
    write_file(system, PATH, "own\n")
    assert elsewhere.read_text() == "precious\n"


def test_a_directory_that_is_a_link_is_not_written_through(system, tmp_path):
    (tmp_path / "etc" / "elsewhere").mkdir()
    os.rmdir(tmp_path / "etc" / "sysctl.d")
    os.symlink(tmp_path / "etc" / "elsewhere", tmp_path / "etc" / "sysctl.d")
    assert why_not_writable(system, "/etc/sysctl.d") == "/etc/sysctl.d is a symbolic link"
    with pytest.raises(OSError):
        write_file(system, PATH, "own\n")
    assert os.listdir(tmp_path / "etc" / "elsewhere") == []


def test_a_fifo_holds_nobody_up(system):
    os.mkfifo(system.path(PATH))
    assert read_own_file(system, PATH) == (None, f"{PATH} is not a regular file")


def test_what_is_not_text_is_not_ours(system, tmp_path):
    (tmp_path / "etc" / "sysctl.d" / "99-own.conf").write_bytes(b"\xff\xfe\n")
    assert read_own_file(system, PATH).problem == f"{PATH} is not UTF-8 text"


def test_a_directory_that_others_may_change_is_refused(system, tmp_path):
    assert why_not_writable(system, "/etc/sysctl.d") is None
    (tmp_path / "etc" / "sysctl.d").chmod(0o775)
    assert "mode 0775" in why_not_writable(system, "/etc/sysctl.d")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(system, tmp_path):
    os.chown(tmp_path / "etc" / "sysctl.d", 61234, 61234)
    assert "belongs to uid 61234" in why_not_writable(system, "/etc/sysctl.d")


def test_a_missing_directory_can_be_made_below_one_that_is_there(system, tmp_path):
    os.rmdir(tmp_path / "etc" / "sysctl.d")
    assert why_not_writable(system, "/etc/sysctl.d") is None
    make_directory(system, "/etc/sysctl.d")
    assert stat.S_IMODE((tmp_path / "etc" / "sysctl.d").stat().st_mode) == 0o755
    os.rmdir(tmp_path / "etc" / "sysctl.d")
    os.rmdir(tmp_path / "etc")
    assert why_not_writable(system, "/etc/sysctl.d") == "/etc: No such file or directory"


def test_removal(system, tmp_path):
    write_file(system, PATH, "own\n")
    remove_file(system, PATH)
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        remove_file(system, PATH)
