# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A setting for the moment of a fork, put back whatever happens."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _save_shield
from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    Client,
    ConnectionOptions,
    RedisFailure,
)
from ansible_collections.redisops.persistence.plugins.module_utils._save_shield import (
    Shield,
    is_ample,
    read_note,
    values_during,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

RUN_ID = "0123456789abcdef"
NO = {"oom-score-adj": "no", "oom-score-adj-values": "0 200 800"}
SCARCE = {"worst_bytes": 100, "room_bytes": 50}


class Server(Client):
    """Keeps its settings, and refuses or loses what it is told to."""

    kind = "redis-py"

    def __init__(self, config: t.Mapping[str, str] | None = None) -> None:
        super().__init__(ConnectionOptions())
        self.config = dict(NO if config is None else config)
        self.commands: list[tuple[str, ...]] = []
        self.refuses: set[str] = set()
        self.is_gone = False

    def command(self, *arguments: str) -> t.Any:
        if self.is_gone:
            raise RedisFailure("unreachable", "connection_refused", "Can't connect")
        if arguments[0] == "INFO":
            return f"# Server\r\nrun_id:{RUN_ID}\r\n"
        self.commands.append(arguments)
        if arguments[2] in self.refuses:
            raise self.refusal("NOPERM no permissions")
        self.config[arguments[2]] = arguments[3]
        return "OK"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    place = tmp_path / "state"
    monkeypatch.setattr(_save_shield, "directories", lambda: [str(place)])
    return System()


def notes(tmp_path: Path) -> list[str]:
    place = tmp_path / "state"
    return sorted(os.listdir(place)) if place.exists() else []


def test_it_is_set_and_put_back(system: System, tmp_path: Path) -> None:
    server = Server()
    shield = Shield(system, os.getpid())
    shield.up(server, server.config, SCARCE)
    assert server.config == {"oom-score-adj": "yes", "oom-score-adj-values": "0 0 800"}
    assert notes(tmp_path) == [f"shield-{RUN_ID}.json"]
    assert shield.is_up
    shield.down(server)
    assert server.config == NO
    assert shield.block == {"before": "no", "during": "yes", "restored": True, "problem": None}
    assert notes(tmp_path) == []
    sent = len(server.commands)
    shield.down(server)
    assert len(server.commands) == sent


@pytest.mark.parametrize(
    ("config", "memory"),
    [
        ({**NO, "oom-score-adj": "yes"}, SCARCE),
        ({**NO, "oom-score-adj": "relative"}, SCARCE),
        ({**NO, "oom-score-adj": "absolute"}, SCARCE),
        ({}, SCARCE),
        (NO, {"worst_bytes": 50, "room_bytes": 50}),
    ],
)
def test_nothing_is_to_be_done(system: System, config: dict[str, str], memory: dict[str, int]) -> None:
    server = Server(config)
    shield = Shield(system, os.getpid())
    shield.up(server, server.config, memory)
    shield.down(server)
    assert (server.commands, shield.block) == ([], None)


@pytest.mark.parametrize("parameter", ["oom-score-adj", "oom-score-adj-values"])
def test_what_is_refused_leaves_everything_as_it_was(system: System, tmp_path: Path, parameter: str) -> None:
    server = Server()
    server.refuses = {parameter}
    shield = Shield(system, os.getpid())
    shield.up(server, server.config, SCARCE)
    assert server.config == NO
    assert shield.block is not None
    assert (shield.block["during"], shield.block["restored"]) == (None, None)
    assert "NOPERM" in shield.block["problem"]
    assert (shield.is_up, notes(tmp_path)) == (False, [])


def test_a_server_that_went_away_is_put_back_later(system: System, tmp_path: Path) -> None:
    server = Server()
    shield = Shield(system, os.getpid())
    shield.up(server, server.config, SCARCE)
    server.is_gone = True
    shield.down(server)
    assert shield.block is not None and shield.block["restored"] is False
    assert shield.is_up and notes(tmp_path)
    server.is_gone = False
    shield.down(server)
    assert (server.config, shield.block["restored"], notes(tmp_path)) == (NO, True, [])


def test_without_a_note_nothing_is_changed(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_save_shield, "replace_file", lambda _path, _text: "No space left on device")
    server = Server()
    shield = Shield(system, os.getpid())
    shield.up(server, server.config, SCARCE)
    assert (server.commands, server.config) == ([], NO)
    assert shield.block is not None and "No space left" in shield.block["problem"]


@pytest.mark.parametrize(
    ("change", "restored"),
    [
        ({}, True),
        ({"oom-score-adj": "relative"}, True),
        ({"oom-score-adj": "absolute"}, False),
        ({"oom-score-adj-values": "0 10 20"}, False),
    ],
)
def test_what_a_killed_module_left_is_put_back_unless_somebody_has_set_it_since(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], restored: bool
) -> None:
    server = Server()
    killed = Shield(system, os.getpid())
    with monkeypatch.context() as then:
        then.setattr(_save_shield, "process_start_ticks", lambda _system, _pid: 1)
        killed.up(server, server.config, SCARCE)
    assert read_note(system, RUN_ID) is not None
    server.config.update(change)
    left = dict(server.config)
    following = Shield(system, os.getpid())
    following.up(server, server.config, {"worst_bytes": 1, "room_bytes": 1})
    assert server.config == (NO if restored else left)
    assert notes(tmp_path) == []


def test_a_module_that_is_at_work_has_left_nothing(system: System) -> None:
    server = Server()
    Shield(system, os.getpid()).up(server, server.config, SCARCE)
    assert read_note(system, RUN_ID) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"server_run_id": "another"},
        {"values_before": "0 0 0; shutdown"},
        {"values_before": None},
    ],
)
def test_a_note_that_says_something_else_is_not_believed(
    system: System, tmp_path: Path, change: dict[str, t.Any]
) -> None:
    place = tmp_path / "state"
    place.mkdir(mode=0o700)
    note = {"version": 1, "server_run_id": RUN_ID, "values_before": "0 200 800", "pid": 1, "pid_started_ticks": -1}
    file = place / f"shield-{RUN_ID}.json"
    file.write_text(json.dumps(note))
    file.chmod(0o600)
    assert read_note(system, RUN_ID) == note
    file.write_text(json.dumps({**note, **change}))
    assert read_note(system, RUN_ID) is None
    assert read_note(system, "../../etc") is None
    file.write_text("[]")
    assert read_note(system, RUN_ID) is None


@pytest.mark.parametrize(
    ("before", "during"),
    [
        ("0 200 800", "0 0 800"),
        ("-100 200 1000", "0 0 1000"),
        ("0 0 100", "0 0 800"),
        ("", None),
        ("0 200", None),
        ("a b c", None),
    ],
)
def test_the_server_keeps_its_score_and_the_child_gets_a_high_one(before: str, during: str | None) -> None:
    assert values_during(before) == during


def test_ample_is_what_holds_a_copy_of_everything() -> None:
    assert is_ample({"worst_bytes": 5, "room_bytes": 5})
    for memory in (None, {}, {"worst_bytes": 5}, {"worst_bytes": None, "room_bytes": 5}, SCARCE):
        assert not is_ample(memory)
