# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _bgsave
from ansible_collections.redisops.persistence.plugins.module_utils._bgsave import SaveOptions, run_bgsave
from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    Client,
    ConnectionOptions,
    RedisFailure,
)

T0 = 1_000_000.0
OLD_SAVE = 900_000


class World:
    """A clock and a server whose fields are a function of the time."""

    def __init__(self, fields: t.Callable[[World], dict[str, t.Any]], replies: t.Sequence[t.Any] = ()) -> None:
        self.now = T0
        self.sent_at: float | None = None
        self.fields = fields
        self.replies = list(replies) or ["Background saving started"]
        self.commands: list[str] = []
        self.client = WorldClient(self)

    @property
    def age(self) -> float | None:
        """Seconds since BGSAVE."""
        return None if self.sent_at is None else self.now - self.sent_at

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, **options: t.Any) -> dict[str, t.Any]:
        return run_bgsave(self.client, SaveOptions(**options), lambda: self.now, self.sleep, lambda: self.client)


class WorldClient(Client):
    kind = "redis-py"

    def __init__(self, world: World) -> None:
        super().__init__(ConnectionOptions(login_user="diag"))
        self.world = world

    def command(self, *arguments: str) -> t.Any:
        self.world.commands.append(arguments[0])
        self.world.now += 0.001
        if arguments == ("BGSAVE",):
            self.world.sent_at = self.world.now
            reply = self.world.replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply
        fields = {
            "redis_version": "7.0.15",
            "run_id": "one",
            "rdb_last_save_time": OLD_SAVE,
            "rdb_last_bgsave_status": "ok",
        }
        answer = self.world.fields(self.world)
        if "raise" in answer:
            raise answer["raise"]
        fields.update(answer)
        return "\r\n".join(f"{name}:{value}" for name, value in fields.items())


def refused(text: str) -> RedisFailure:
    return Client(ConnectionOptions()).refusal(text)


def saving(world: World, seconds: float, after: dict[str, t.Any]) -> dict[str, t.Any]:
    if world.age is None:
        return {}
    if world.age < seconds:
        return {
            "rdb_bgsave_in_progress": 1,
            "rdb_current_bgsave_time_sec": int(world.age),
            "current_cow_size": int(world.age * 1000),
            "current_cow_peak": int(world.age * 2000),
            "current_save_keys_processed": int(world.age * 10),
            "current_save_keys_total": int(seconds * 10),
        }
    return {"rdb_bgsave_in_progress": 0, **after}


def test_success_is_an_advanced_save_time() -> None:
    world = World(lambda w: saving(w, 5, {"rdb_last_save_time": int(T0) + 5, "rdb_last_cow_size": 7}))
    result = world.run()
    assert (result["state"], result["changed"], result["message"]) == ("succeeded", True, None)
    assert result["last_save_before_unix"] == OLD_SAVE
    assert result["last_save_after_unix"] == int(T0) + 5
    assert 5 <= result["duration_seconds"] <= 6.1
    assert 7000 < result["peak_copy_on_write_bytes"] < 10000
    assert "LASTSAVE" not in world.commands
    assert world.commands[0] == "INFO"


def test_peak_of_the_finished_save_counts() -> None:
    world = World(lambda w: saving(w, 0.01, {"rdb_last_save_time": int(T0), "rdb_last_cow_size": 123456}))
    assert world.run()["peak_copy_on_write_bytes"] == 123456


def test_status_ok_without_an_advanced_time_is_no_success() -> None:
    result = World(lambda w: saving(w, 2, {})).run()
    assert (result["state"], result["status_after"], result["aborted"]) == ("failed", "ok", True)


def test_failure_of_the_child() -> None:
    result = World(lambda w: saving(w, 2, {"rdb_last_bgsave_status": "err"})).run()
    assert (result["state"], result["status_before"], result["status_after"]) == ("failed", "ok", "err")
    assert (result["aborted"], result["stage"], result["changed"]) == (False, None, True)


def test_bare_error_is_a_failed_fork() -> None:
    world = World(lambda w: {"rdb_last_bgsave_status": "ok" if w.age is None else "err"}, [refused("ERR")])
    result = world.run()
    assert (result["state"], result["stage"], result["reply"], result["changed"]) == ("failed", "fork", "ERR", False)
    assert result["status_after"] == "err"
    attempt = _bgsave.observed_attempt(result, [])
    assert attempt is not None
    assert (attempt["stage"], attempt["outcome"], attempt["source"]) == ("fork", "failed", "observed")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("MASTERDOWN Link with MASTER is down", "MASTERDOWN"),
        ("LOADING Redis is loading", "LOADING"),
        ("NOPERM User diag has no permissions", "ACL SETUSER diag +bgsave"),
        ("ERR unknown command 'BGSAVE'", "unknown command"),
        ("ERR BGSAVE is not allowed by this service", "not allowed"),
    ],
)
def test_refusals_start_no_save(reply: str, said: str) -> None:
    result = World(lambda _w: {}, [refused(reply)]).run()
    assert (result["state"], result["changed"], result["started_unix"]) == ("refused", False, None)
    assert said in result["message"]
    assert _bgsave.observed_attempt(result, []) is None


def test_loading_server_is_not_asked_to_save() -> None:
    world = World(lambda _w: {"loading": 1})
    assert world.run()["state"] == "refused"
    assert "BGSAVE" not in world.commands


def other_until(moment: float, name: str) -> t.Callable[[World], dict[str, t.Any]]:
    def fields(world: World) -> dict[str, t.Any]:
        if world.now < T0 + moment:
            return {name: 1}
        return saving(world, 2, {"rdb_last_save_time": int(T0 + moment) + 2})

    return fields


@pytest.mark.parametrize(
    "name",
    ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "module_fork_in_progress", "slot_migration_fork_in_progress"],
)
def test_another_child_is_waited_for(name: str) -> None:
    result = World(other_until(20, name)).run()
    assert result["state"] == "succeeded"
    assert result["started_unix"] >= T0 + 20
    assert result["duration_seconds"] < 5


def test_another_child_that_does_not_end_delays_the_save() -> None:
    world = World(other_until(1e9, "aof_rewrite_in_progress"))
    result = world.run(wait_timeout_seconds=30)
    assert (result["state"], result["changed"]) == ("delayed", False)
    assert "aof_rewrite_in_progress" in result["message"]
    assert 30 <= world.now - T0 < 32
    assert "BGSAVE" not in world.commands


@pytest.mark.parametrize(
    ("name", "state"), [("rdb_bgsave_in_progress", "refused"), ("aof_rewrite_in_progress", "delayed")]
)
def test_running_child_can_be_a_reason_to_stop(name: str, state: str) -> None:
    world = World(other_until(20, name))
    result = world.run(if_running="fail")
    assert (result["state"], result["changed"]) == (state, False)
    assert world.now - T0 < 1


@pytest.mark.parametrize(
    "reply",
    [
        "ERR Background save already in progress",
        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE",
        "ERR An AOF log rewriting in progress: can't BGSAVE right now. Use BGSAVE SCHEDULE",
    ],
)
def test_child_that_came_between_is_waited_for(reply: str) -> None:
    world = World(
        lambda w: saving(w, 2, {"rdb_last_save_time": int(T0) + 4}), [refused(reply), "Background saving started"]
    )

    def fields(w: World) -> dict[str, t.Any]:
        if len(w.replies) == 1:
            w.sent_at = None
        return saving(w, 2, {"rdb_last_save_time": int(T0) + 4})

    world.fields = fields
    assert world.run()["state"] == "succeeded"
    assert world.commands.count("BGSAVE") == 2


def test_child_that_info_never_shows_does_not_hold_us_for_ever() -> None:
    world = World(lambda _w: {}, [refused("ERR Another child process is active")] * 1000)
    result = world.run(wait_timeout_seconds=10)
    assert (result["state"], result["started_unix"]) == ("delayed", None)
    assert world.commands.count("BGSAVE") < 30


def test_time_out_reports_progress() -> None:
    result = World(lambda w: saving(w, 100, {})).run(wait_timeout_seconds=10)
    assert (result["state"], result["changed"], result["ended_unix"]) == ("timeout", True, None)
    assert result["progress"]["keys_total"] == 1000
    assert 8 <= result["progress"]["percent"] <= 12
    attempt = _bgsave.observed_attempt(result, [])
    assert attempt is not None
    assert attempt["outcome"] == "running"


def test_next_save_of_somebody_else_is_not_ours() -> None:
    def fields(world: World) -> dict[str, t.Any]:
        if world.age is not None and world.age > 5:
            return {"rdb_bgsave_in_progress": 1, "rdb_current_bgsave_time_sec": 0, "rdb_last_bgsave_status": "err"}
        return saving(world, 5, {})

    result = World(fields).run()
    assert (result["state"], result["status_after"]) == ("failed", "err")
    assert result["duration_seconds"] < 10


def test_save_in_the_second_of_the_last_one_waits_for_the_next_second() -> None:
    world = World(
        lambda w: {"server_time_usec": int((w.now) * 1e6), **saving(w, 0.1, {"rdb_last_save_time": int(T0) + 1})}
    )

    def fields(w: World) -> dict[str, t.Any]:
        base = {"server_time_usec": int(w.now * 1e6), "rdb_last_save_time": int(T0)}
        return {**base, **saving(w, 0.1, {"rdb_last_save_time": int(w.now)})}

    world.fields = fields
    result = world.run()
    assert result["state"] == "succeeded"
    assert world.sent_at is not None and world.sent_at >= T0 + 1


def lost(state: str = "unreachable") -> dict[str, t.Any]:
    return {"raise": RedisFailure(state, "connection_refused", "Can't connect")}


def test_server_that_dies_during_the_save() -> None:
    world = World(lambda w: lost() if w.age is not None and w.age > 2 else saving(w, 10, {}))
    result = world.run()
    assert (result["state"], result["changed"]) == ("failed", True)
    assert "went away" in result["message"]
    assert world.now - T0 < 30


def test_server_that_is_restarted_during_the_save() -> None:
    def fields(world: World) -> dict[str, t.Any]:
        if world.age is None or world.age < 2:
            return saving(world, 10, {})
        return lost() if world.age < 4 else {"run_id": "two", "rdb_last_save_time": int(T0) + 3}

    result = World(fields).run()
    assert (result["state"], result["message"]) == ("failed", "The server was restarted during the save.")


def test_short_silence_is_not_a_failure() -> None:
    world = World(
        lambda w: (
            lost("timeout")
            if w.age is not None and 2 < w.age < 5
            else saving(w, 8, {"rdb_last_save_time": int(T0) + 8})
        )
    )
    assert world.run()["state"] == "succeeded"


def test_server_that_does_not_answer_at_the_beginning_raises() -> None:
    with pytest.raises(RedisFailure):
        World(lambda _w: lost()).run()


def test_logged_attempt_lends_errno_and_pid() -> None:
    result = World(lambda w: saving(w, 2, {"rdb_last_bgsave_status": "err"})).run()
    logged = [
        {"started_unix": T0 - 100, "target": "disk", "outcome": "failed", "errno": "ENOSPC", "child_pid": 1},
        {"started_unix": T0 + 0.01, "target": "replicas", "outcome": "failed", "errno": "EPIPE", "child_pid": 2},
        {
            "started_unix": T0 + 0.02,
            "target": "disk",
            "outcome": "failed",
            "errno": "EACCES",
            "child_pid": 3,
            "stage": "open",
        },
        {"started_unix": T0 + 0.03, "target": "disk", "outcome": "succeeded", "errno": None, "child_pid": 4},
    ]
    attempt = _bgsave.observed_attempt(result, logged)
    assert attempt is not None
    assert (attempt["errno"], attempt["child_pid"], attempt["stage"]) == ("EACCES", 3, "open")
    assert (attempt["trigger"], attempt["source"], attempt["outcome"]) == ("command", "observed", "failed")


def test_prediction_asks_only() -> None:
    world = World(lambda _w: {"rdb_last_bgsave_status": "err"})
    result = _bgsave.predict_bgsave(world.client)
    assert (result["state"], result["changed"], result["status_before"]) == ("skipped", True, "err")
    assert world.commands == ["INFO"]
