# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watcher's decisions, with a server and clocks of paper, and what is written down on the target."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _emergency_state
from ansible_collections.redisops.persistence.plugins.module_utils._config_session import ConfigFailure
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import (
    State,
    StateFailure,
    forget_old_states,
    locked,
    parse_state,
    process_start_ticks,
    read_state,
    remove_state,
    watcher_is_alive,
    write_state,
)
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_watcher import (
    GONE_SECONDS,
    GRACE_SECONDS,
    PARAMETER,
    Watcher,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

RUN_ID = "a" * 40
STATE = State("127.0.0.1:6379", RUN_ID, "run", "yes", 1000.0, 1100.0, 500, 4711, 99)


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "state"
    monkeypatch.setattr(_emergency_state, "directories", lambda: [str(place)])
    return place


class PaperServer:
    """Answers as a server does; ``events``: {second: what happens then}."""

    def __init__(self, **events: t.Callable[[PaperServer], None]) -> None:
        self.now = 0.0
        self.value = "yes"
        self.run_id = RUN_ID
        self.status = "err"
        self.last_save = 500
        self.failure: ConfigFailure | None = None
        self.set_failure: ConfigFailure | None = None
        self.events = {float(name.lstrip("at_")): event for name, event in events.items()}
        self.sets: list[tuple[float, str]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in sorted(self.events):
            if moment <= self.now:
                self.events.pop(moment)(self)

    def connect(self) -> t.Any:
        if self.failure:
            raise self.failure
        return self

    def send(self, *arguments: str) -> str:
        if self.failure:
            raise self.failure
        return f"run_id:{self.run_id}\nrdb_last_bgsave_status:{self.status}\nrdb_last_save_time:{self.last_save}\n"

    def get(self, names: t.Sequence[str]) -> dict[str, str]:
        self.send()
        return {PARAMETER: self.value}

    def set(self, values: t.Mapping[str, str]) -> None:
        self.send()
        if self.set_failure:
            raise self.set_failure
        self.value = values[PARAMETER]
        self.sets.append((self.now, self.value))

    def close(self) -> None:
        pass


def watch(server: PaperServer, is_local: bool = True) -> tuple[str | None, str]:
    system = System(clock=lambda: 1000.0 + server.now)
    watcher = Watcher(STATE, system, server.connect, is_local, server.sleep, lambda: server.now)
    with locked(system):
        error = watcher.begin()
    return error, watcher.run() if watcher.armed else "not armed"


def save(server: PaperServer) -> None:
    server.status, server.last_save = "ok", 1040


def test_a_successful_save_ends_it() -> None:
    server = PaperServer(at_40=save)
    assert watch(server) == (None, "restored")
    assert server.sets == [(0.0, "no"), (40.0, "yes")]
    assert read_state(System(), RUN_ID) is None


def test_the_deadline_ends_it() -> None:
    server = PaperServer()
    assert watch(server) == (None, "restored")
    assert server.sets == [(0.0, "no"), (100.0, "yes")]


def test_an_ok_of_before_ends_nothing() -> None:
    """A child that was told to stop leaves the status, and no newer save."""
    server = PaperServer(at_10=lambda server: setattr(server, "status", "ok"))
    watch(server)
    assert server.sets[-1] == (100.0, "yes")


def test_a_moved_deadline_is_followed() -> None:
    def extend(_server: PaperServer) -> None:
        state = read_state(System(), RUN_ID)
        assert state is not None
        write_state(System(), state._replace(deadline_unix=1300.0))

    server = PaperServer(at_50=extend)
    watch(server)
    assert server.sets[-1] == (300.0, "yes")


def test_a_value_of_somebody_else_is_left_alone() -> None:
    server = PaperServer(at_10=lambda server: setattr(server, "value", "yes"))
    assert watch(server) == (None, "changed")
    assert len(server.sets) == 1


def test_a_restart_ends_it_without_a_change() -> None:
    server = PaperServer(at_10=lambda server: setattr(server, "run_id", "b" * 40))
    assert watch(server) == (None, "restarted")
    assert server.sets == [(0.0, "no")]


def test_a_hanging_server_is_asked_after_the_deadline() -> None:
    server = PaperServer(
        at_20=lambda server: setattr(server, "failure", ConfigFailure("No answer", kind="timeout")),
        at_400=lambda server: setattr(server, "failure", None),
    )
    assert watch(server) == (None, "restored")
    assert server.sets[-1] == (400.0, "yes")


def test_there_is_an_end_to_asking_and_the_state_stays() -> None:
    server = PaperServer(at_20=lambda server: setattr(server, "failure", ConfigFailure("No answer", kind="timeout")))
    assert watch(server) == (None, "given_up")
    assert 100 + GRACE_SECONDS <= server.now < 100 + GRACE_SECONDS + 10
    assert read_state(System(), RUN_ID) is not None


def test_a_server_that_nobody_listens_for_is_gone() -> None:
    refused = ConfigFailure("Refused", kind="connection_refused")
    server = PaperServer(at_20=lambda server: setattr(server, "failure", refused))
    assert watch(server) == (None, "gone")
    assert server.now < 20 + GONE_SECONDS + 10
    remote = PaperServer(at_20=lambda server: setattr(server, "failure", refused))
    assert watch(remote, is_local=False) == (None, "given_up")


def test_nothing_is_done_where_the_server_does_not_answer() -> None:
    server = PaperServer()
    server.failure = ConfigFailure("No answer", kind="timeout")
    assert watch(server) == ("No answer", "not armed")
    assert read_state(System(), RUN_ID) is None


def test_a_refusal_to_set_leaves_nothing_behind() -> None:
    server = PaperServer()
    server.set_failure = ConfigFailure("not permitted", kind="NOPERM")
    assert watch(server) == ("not permitted", "changed")
    assert server.sets == [] and read_state(System(), RUN_ID) is None


def test_a_set_whose_answer_was_lost_is_taken_back() -> None:
    server = PaperServer()

    def set_and_lose(values: t.Mapping[str, str]) -> None:
        server.value = values[PARAMETER]
        if values[PARAMETER] == "no":
            raise ConfigFailure("No answer", kind="timeout")

    server.set = set_and_lose  # type: ignore[method-assign]
    assert watch(server) == ("No answer", "restored")
    assert server.value == "yes" and server.now < 5


def test_no_state_no_unblock(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PaperServer()
    system = System(clock=lambda: 1000.0)
    monkeypatch.setattr(_emergency_state, "directories", lambda: ["/proc/nowhere"])
    watcher = Watcher(STATE, system, server.connect, True, server.sleep, lambda: server.now)
    assert "can't be kept" in str(watcher.begin())
    assert server.sets == [] and not watcher.armed


# --- the state -------------------------------------------------------------------------------------------------------


def test_the_state_is_read_as_written(own_directory: Path) -> None:
    write_state(System(), STATE)
    assert read_state(System(), RUN_ID) == STATE
    assert (own_directory / f"emergency-{RUN_ID}.json").stat().st_mode & 0o777 == 0o600
    assert own_directory.stat().st_mode & 0o022 == 0
    remove_state(System(), RUN_ID, "another run")
    assert read_state(System(), RUN_ID) == STATE
    remove_state(System(), RUN_ID, "run")
    assert read_state(System(), RUN_ID) is None


@pytest.mark.parametrize("trouble", ["mode", "link", "directory", "content", "value"])
def test_a_state_that_others_could_have_written_is_not_believed(own_directory: Path, trouble: str) -> None:
    write_state(System(), STATE)
    file = own_directory / f"emergency-{RUN_ID}.json"
    if trouble == "mode":
        file.chmod(0o666)
    elif trouble == "link":
        file.rename(own_directory / "elsewhere")
        file.symlink_to(own_directory / "elsewhere")
    elif trouble == "directory":
        own_directory.chmod(0o777)
    elif trouble == "content":
        file.write_text('{"version": 1, "watcher_pid": true}')
    else:
        file.write_text(file.read_text().replace('"yes"', '"no"'))
    assert read_state(System(), RUN_ID) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_state_of_another_user_is_not_believed(own_directory: Path) -> None:
    write_state(System(), STATE)
    file = own_directory / f"emergency-{RUN_ID}.json"
    os.chown(file, 65534, 65534)
    assert read_state(System(), RUN_ID) is None


def test_what_a_gone_server_left_is_forgotten_after_a_day(own_directory: Path) -> None:
    ticks = process_start_ticks(System(), os.getpid()) or 0
    write_state(System(), STATE)
    write_state(System(), STATE._replace(server_run_id="b" * 40, watcher_pid=os.getpid(), watcher_started_ticks=ticks))
    (own_directory / "lock").write_text("")
    forget_old_states(System(clock=lambda: STATE.deadline_unix + 86000))
    assert read_state(System(), RUN_ID) is not None
    forget_old_states(System(clock=lambda: STATE.deadline_unix + 86500))
    assert read_state(System(), RUN_ID) is None
    assert read_state(System(), "b" * 40) is not None and (own_directory / "lock").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 2}', None])
def test_nonsense_is_no_state(text: str | None) -> None:
    assert parse_state(text) is None


@pytest.mark.parametrize("run_id", ["", "../../etc/passwd", "x/y", "a" * 65])
def test_only_a_run_id_names_a_file(run_id: str) -> None:
    assert read_state(System(), run_id) is None
    with pytest.raises(StateFailure):
        write_state(System(), STATE._replace(server_run_id=run_id))


def test_the_lock_is_held_once() -> None:
    with locked(System()), pytest.raises(StateFailure, match="held"), locked(System(), 0.1):
        pass
    with locked(System(), 0.1):
        pass


def test_a_reused_pid_is_no_watcher() -> None:
    ticks = process_start_ticks(System(), os.getpid())
    assert ticks is not None
    alive = STATE._replace(watcher_pid=os.getpid(), watcher_started_ticks=ticks)
    assert watcher_is_alive(System(), alive)
    assert not watcher_is_alive(System(), alive._replace(watcher_started_ticks=ticks - 1))


def test_evidence_has_the_unblock_of_this_very_process_and_whether_somebody_watches_it() -> None:
    system = System(clock=lambda: 1000.0)
    write_state(system, STATE)
    told = _emergency_state.standing(system, RUN_ID, "no")
    assert told == {"since_unix": 1000.0, "deadline_unix": 1100.0, "value_before": "yes", "watched": False}
    assert _emergency_state.standing(system, RUN_ID, "yes") is None, "somebody has put it back"
    assert _emergency_state.standing(system, "b" * 40, "no") is None, "another process of the server"
    assert _emergency_state.standing(system, None, "no") is None


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_state_in_a_place_that_others_can_write_is_not_believed(own_directory: Path, mode: int) -> None:
    write_state(System(), STATE)
    own_directory.chmod(mode)
    assert _emergency_state.standing(System(), RUN_ID, "no") is None


def test_what_is_over_is_forgotten_unless_somebody_watches_it() -> None:
    system = System(clock=lambda: 1000.0)
    own = process_start_ticks(system, os.getpid())
    assert own is not None
    write_state(system, STATE._replace(watcher_pid=os.getpid(), watcher_started_ticks=own))
    _emergency_state.forget_unwatched(system, RUN_ID)
    assert read_state(system, RUN_ID) is not None
    write_state(system, STATE)
    _emergency_state.forget_unwatched(system, RUN_ID)
    assert read_state(system, RUN_ID) is None
