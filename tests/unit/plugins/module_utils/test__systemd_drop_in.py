# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System
from ansible_collections.redisops.persistence.plugins.module_utils._systemd_drop_in import (
    MARK,
    DropIn,
    DropInError,
    make_changes,
    plan_changes,
    reload_systemd,
)

PARENT = "/etc/systemd/system/redis-server@one.service.d"
PATH = f"{PARENT}/zz-redisops-process-limit.conf"
TEXT = f"{MARK}: so that it holds after the next start.\n[Service]\nLimitNPROC=65536\n"


@pytest.fixture
def system(tmp_path: Path) -> System:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    return System(root=str(tmp_path))


def apply(system: System, content: str | None) -> list[dict[str, t.Any]]:
    wanted = DropIn(PATH, content)
    changes = plan_changes(system, wanted)
    make_changes(system, wanted, changes)
    return changes


def test_file_and_directory_come_and_go(system: System) -> None:
    made = apply(system, TEXT)
    assert [(entry["what"], entry["before"], entry["after"]) for entry in made] == [
        (f"directory {PARENT}", None, "present"),
        (f"file {PATH}", None, TEXT),
    ]
    assert system.read_text(PATH) == TEXT
    assert os.stat(system.path(PATH)).st_mode & 0o777 == 0o644
    assert apply(system, TEXT) == []
    gone = apply(system, None)
    assert [(entry["what"], entry["before"], entry["after"]) for entry in gone] == [
        (f"file {PATH}", TEXT, None),
        (f"directory {PARENT}", "present", None),
    ]
    assert not system.exists(PARENT)
    assert apply(system, None) == []


def test_prediction_changes_nothing(system: System) -> None:
    assert len(plan_changes(system, DropIn(PATH, TEXT))) == 2
    assert not system.exists(PARENT)


def test_directory_with_files_of_others_stays(system: System) -> None:
    apply(system, TEXT)
    Path(system.path(f"{PARENT}/other.conf")).write_text("[Service]\n")
    assert [entry["what"] for entry in apply(system, None)] == [f"file {PATH}"]
    assert system.list_directory(PARENT) == ["other.conf"]


def test_no_temporary_file_is_left(system: System) -> None:
    apply(system, TEXT)
    assert system.list_directory(PARENT) == ["zz-redisops-process-limit.conf"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/cron.d/zz-redisops-process-limit.conf",
        "/etc/systemd/system/../../cron.d/zz-redisops-x.conf",
        "/etc/systemd/system/a b.service.d/zz-redisops-x.conf",
        "/etc/systemd/system/redis.service.d/override.conf",
        "/etc/systemd/system/redis.service.d/zz-redisops-x.conf\n",
        "/etc/systemd/system/redis.service.d/sub/zz-redisops-x.conf",
    ],
)
def test_other_paths_are_refused(system: System, path: str) -> None:
    with pytest.raises(DropInError, match="is not the path of a drop-in"):
        plan_changes(system, DropIn(path, TEXT))


def test_text_without_our_mark_is_refused(system: System) -> None:
    with pytest.raises(DropInError, match="must begin with"):
        plan_changes(system, DropIn(PATH, "[Service]\n"))


def test_a_file_of_somebody_else_is_left_alone(system: System) -> None:
    os.mkdir(system.path(PARENT))
    Path(system.path(PATH)).write_text("[Service]\nLimitNPROC=1\n")
    for content in (TEXT, None):
        with pytest.raises(DropInError, match="was not written by this collection"):
            plan_changes(system, DropIn(PATH, content))


def test_links_are_not_followed(system: System, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", system.path(PARENT))
    with pytest.raises(DropInError, match="is not a directory"):
        plan_changes(system, DropIn(PATH, TEXT))
    os.unlink(system.path(PARENT))
    os.mkdir(system.path(PARENT))
    os.symlink("/etc/passwd", system.path(PATH))
    with pytest.raises(DropInError, match="is not a plain file"):
        plan_changes(system, DropIn(PATH, TEXT))


def test_a_reload_that_fails_is_told() -> None:
    def refuse(
        argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
    ) -> CommandResult:
        assert argv == ["systemctl", "daemon-reload"]
        return CommandResult(1, "", "Failed to connect to bus: No such file or directory\n")

    said = reload_systemd(System(runner=refuse))
    assert said is not None
    assert "Failed to connect to bus" in said
