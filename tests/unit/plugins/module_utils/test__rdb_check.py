# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis-check-rdb says, and whose program is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._rdb_check import (
    check_rdb,
    checker_name,
    own_program,
    parse_check,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System

SOUND = """[offset 0] Checking RDB file /proc/1/fd/3
[offset 26] AUX FIELD redis-ver = '7.0.15'
[offset 449071] Checksum OK
[offset 449071] \\o/ RDB looks OK! \\o/
[info] 20000 keys read
[info] 12 expires
[info] 3 already expired
"""
CUT = """[offset 0] Checking RDB file dump.rdb
--- RDB ERROR DETECTED ---
[offset 4096] Unexpected EOF reading RDB file
[additional info] While doing: read-object-value
[info] 7 keys read
[info] 0 expires
[info] 0 already expired
"""


def test_a_sound_file() -> None:
    check = parse_check(0, SOUND, "/usr/bin/redis-check-rdb")
    assert check == (True, 20000, 12, 3, "/usr/bin/redis-check-rdb", None)


@pytest.mark.parametrize(("rc", "output"), [(1, CUT), (0, CUT), (1, SOUND), (139, ""), (0, "Usage: nothing")])
def test_a_file_that_is_not_found_sound(rc: int, output: str) -> None:
    check = parse_check(rc, output, None)
    assert check.sound is False and check.message
    assert "Unexpected EOF" in check.message or output != CUT


def test_a_program_that_is_too_old_knows_nothing_of_the_file() -> None:
    check = parse_check(1, "--- RDB ERROR DETECTED ---\n[offset 9] Can't handle RDB format version 80\n", "old")
    assert check.sound is None and check.message is not None and "format 80" in check.message


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/usr/bin/redis-server", "redis-check-rdb"),
        ("/usr/bin/redis-check-rdb", "redis-check-rdb"),
        ("/opt/valkey/valkey-server", "valkey-check-rdb"),
        ("/usr/bin/keydb-server", "keydb-check-rdb"),
        ("/srv/my-server", "redis-check-rdb"),
    ],
)
def test_the_name_under_which_a_server_checks(program: str, name: str) -> None:
    assert checker_name(program) == name


def recorded(tmp_path: Path, mode: int) -> System:
    program = tmp_path / "usr/bin/redis-server"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(mode)
    (tmp_path / "proc/7").mkdir(parents=True)
    os.link(program, tmp_path / "proc/7/exe.file")
    return System(root=str(tmp_path))


def test_a_program_that_others_can_change_or_that_is_gone_is_not_run(tmp_path: Path) -> None:
    machine = recorded(tmp_path, 0o755)
    assert own_program(machine, 7) is None and own_program(machine, None) is None
    own = System()
    assert own_program(own, os.getpid()) is None or os.path.exists(str(own_program(own, os.getpid())))


def test_a_check_that_is_not_over_in_time_says_nothing_of_the_file() -> None:
    def slow(argv: list[str], environment: dict[str, str], timeout: float, stdin: str | None) -> CommandResult:
        return CommandResult(124, "", "")

    check = check_rdb(System(runner=slow), "/nowhere", None, 3)
    assert check.sound is None and check.keys is None
