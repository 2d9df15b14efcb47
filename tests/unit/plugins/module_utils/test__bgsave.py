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
        self.clock_set_by = 0.0
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
        return run_bgsave(
            self.client,
            SaveOptions(**options),
            lambda: self.now + self.clock_set_by,
            self.sleep,
            lambda: self.client,
            monotonic=lambda: self.now,
        )


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


# --- every order of events ------------------------------------------------------------------------------------------

FORK_FINISHED = 30.0


class Story(t.NamedTuple):
    """What the server says by the seconds since BGSAVE was sent, and what has to come of it.

    ``events``: (from this second on, fields that differ from before). ``silent``: from and to which second it does not
    answer. ``reply_seconds``: how long BGSAVE itself takes. ``lost``: the answer to it is lost.
    """

    events: tuple[tuple[float, dict[str, t.Any]], ...]
    state: str
    aborted: bool = False
    before: dict[str, t.Any] = {}  # noqa: RUF012  (read only)
    silent: tuple[float, float] | None = None
    reply_seconds: float = 0.0
    lost: bool = False
    set_clock: tuple[float, float] | None = None
    options: dict[str, t.Any] = {}  # noqa: RUF012


RUNNING = {"rdb_bgsave_in_progress": 1, "rdb_current_bgsave_time_sec": 0}
ENDED = {"rdb_bgsave_in_progress": 0}
SAVED = {**ENDED, "rdb_last_save_time": OLD_SAVE + 500, "rdb_last_bgsave_status": "ok"}
FAILED = {**ENDED, "rdb_last_bgsave_status": "err"}
ERR = {"rdb_last_bgsave_status": "err"}

STORIES = {
    "ended before the first question": Story(((0, SAVED),), "succeeded"),
    "failed before the first question": Story(((0, FAILED),), "failed"),
    "long": Story(((0, RUNNING), (300, SAVED)), "succeeded"),
    "slow fork, then at work": Story(((0, RUNNING), (40, SAVED)), "succeeded", reply_seconds=FORK_FINISHED),
    "slow fork, then failed": Story(((0, RUNNING), (40, FAILED)), "failed", reply_seconds=FORK_FINISHED),
    "slow fork while err": Story(((0, RUNNING), (40, SAVED)), "succeeded", before=ERR, reply_seconds=FORK_FINISHED),
    "slow fork, answer lost": Story(
        ((0, RUNNING), (40, SAVED)), "succeeded", silent=(0, FORK_FINISHED), reply_seconds=5, lost=True
    ),
    "answer lost, failed": Story(((0, RUNNING), (40, FAILED)), "failed", silent=(0, 30), reply_seconds=5, lost=True),
    "answer lost, command never arrived": Story((), "failed", reply_seconds=5, lost=True),
    "silent to the end": Story((), "timeout", silent=(0, 1e6), lost=True, options={"wait_timeout_seconds": 60}),
    "silent in the middle": Story(((0, RUNNING), (90, SAVED)), "succeeded", silent=(20, 80)),
    "ours succeeded, another runs": Story(((0, RUNNING), (1.2, {**SAVED, **RUNNING})), "succeeded"),
    "ours failed, another runs": Story(((0, RUNNING), (1.2, {**FAILED, **RUNNING})), "failed"),
    "ours succeeded, another failed": Story(((0, RUNNING), (1.2, {**SAVED, **FAILED})), "succeeded"),
    "ours failed as the last one, another runs and succeeds": Story(
        ((0, RUNNING), (1.2, RUNNING), (9, SAVED)), "succeeded", before=ERR
    ),
    "ours failed as the last one, another runs and fails": Story(
        ((0, RUNNING), (1.2, RUNNING), (9, FAILED)), "failed", before=ERR
    ),
    "failed as the last one": Story(((0, RUNNING), (3, FAILED)), "failed", before=ERR),
    "stopped": Story(((0, RUNNING), (3, ENDED)), "failed", aborted=True),
    "flag comes late": Story(((0, ENDED), (0.3, RUNNING), (5, SAVED)), "succeeded"),
    "flag goes before the outcome": Story(((0, RUNNING), (5, ENDED), (5.3, SAVED)), "succeeded"),
    "flag goes before the failure": Story(((0, RUNNING), (5, ENDED), (5.3, FAILED)), "failed"),
    "restarted": Story(((0, RUNNING), (5, {"run_id": "two", **ENDED})), "failed"),
    "restarted after a new save": Story(((0, RUNNING), (5, {**SAVED, "run_id": "two"})), "failed"),
    "server's clock set back": Story(
        ((0, RUNNING), (5, {**SAVED, "rdb_last_save_time": OLD_SAVE - 90_000})), "succeeded"
    ),
    "server says a negative age": Story(
        ((0, {**RUNNING, "rdb_current_bgsave_time_sec": -7200}), (5, SAVED)), "succeeded"
    ),
    "our clock set forward": Story(((0, RUNNING), (60, SAVED)), "succeeded", set_clock=(5, 90_000)),
    "our clock set back": Story(((0, RUNNING), (60, SAVED)), "succeeded", set_clock=(5, -90_000)),
    "our clock set back, no end": Story(
        ((0, RUNNING),), "timeout", set_clock=(5, -90_000), options={"wait_timeout_seconds": 60}
    ),
    "no age told": Story(((0, {"rdb_bgsave_in_progress": 1}), (50, SAVED)), "succeeded"),
}


class Teller(WorldClient):
    """Tells a story."""

    def __init__(self, world: World, story: Story) -> None:
        super().__init__(world)
        self.story = story

    def command(self, *arguments: str) -> t.Any:
        world, story = self.world, self.story
        age = world.age
        if arguments == ("BGSAVE",):
            world.commands.append("BGSAVE")
            world.sent_at = world.now
            world.now += story.reply_seconds
            if story.lost:
                raise RedisFailure("timeout", "timeout", "No answer")
            return "Background saving started"
        if age is not None and story.silent is not None and story.silent[0] <= age < story.silent[1]:
            world.now += 5
            raise RedisFailure("timeout", "timeout", "No answer")
        if age is not None and story.set_clock is not None and age > story.set_clock[0]:
            world.clock_set_by = story.set_clock[1]
        return super().command(*arguments)


def tell(story: Story) -> dict[str, t.Any]:
    def fields(world: World) -> dict[str, t.Any]:
        said = dict(story.before)
        for moment, changes in story.events:
            if world.age is not None and world.age >= moment:
                said.update(changes)
        return said

    world = World(fields)
    world.client = Teller(world, story)
    return world.run(**story.options)


@pytest.mark.parametrize("name", STORIES)
def test_each_order_of_events(name: str) -> None:
    story = STORIES[name]
    result = tell(story)
    assert (result["state"], result["aborted"]) == (story.state, story.aborted), result["message"]
    assert result["changed"] is True
    assert result["started_unix"] is not None
    assert (result["ended_unix"] is None) == (story.state == "timeout")
    assert 0 <= result["duration_seconds"] < 1000


def test_a_failure_after_ours_is_said_beside_the_success() -> None:
    result = tell(STORIES["ours succeeded, another failed"])
    assert result["status_after"] == "err"
    assert "another one" in result["message"]


def test_an_end_is_seen_twice_before_it_is_believed_and_no_longer() -> None:
    result = tell(STORIES["stopped"])
    assert 3 + _bgsave.CONFIRMATION_SECONDS <= result["duration_seconds"] < 6


@pytest.mark.parametrize(
    ("name", "may_be_running"), [("long", False), ("restarted", True), ("silent to the end", True), ("stopped", False)]
)
def test_whether_the_child_may_write_on(name: str, may_be_running: bool) -> None:
    assert tell(STORIES[name])["may_be_running"] is may_be_running


# --- what is done right before ----------------------------------------------------------------------------------------


class Careful:
    """A precaution that takes its time, and notes what it is told."""

    def __init__(self, world: World, answers: t.Sequence[str | None]) -> None:
        self.world = world
        self.answers = list(answers)
        self.given_back = 0

    def before(self, client: Client) -> str | None:
        assert client is self.world.client
        self.world.commands.append("look")
        self.world.now += 3
        return self.answers.pop(0)

    def started(self, client: Client) -> None:
        self.world.commands.append("started")

    def not_started(self, client: Client) -> None:
        self.given_back += 1


def run_carefully(world: World, answers: t.Sequence[str | None], **options: t.Any) -> tuple[dict[str, t.Any], Careful]:
    careful = Careful(world, answers)
    result = run_bgsave(
        world.client, SaveOptions(**options), lambda: world.now, world.sleep, None, careful, lambda: world.now
    )
    return result, careful


def test_it_is_looked_after_the_wait_and_right_before_the_command() -> None:
    world = World(other_until(20, "aof_rewrite_in_progress"))
    result, careful = run_carefully(world, [None])
    assert result["state"] == "succeeded"
    assert world.commands[world.commands.index("look") :][:5] == ["look", "INFO", "BGSAVE", "INFO", "started"]
    assert world.commands.count("started") == 1
    assert careful.given_back == 0


def test_what_it_says_is_why_no_save_is_started() -> None:
    world = World(lambda _w: {})
    result, careful = run_carefully(world, ["The file is another's."])
    assert (result["state"], result["changed"], result["message"]) == ("refused", False, "The file is another's.")
    assert result["started_unix"] is None
    assert "BGSAVE" not in world.commands
    assert careful.given_back == 0


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        ("NOPERM User diag has no permissions", "refused"),
        ("ERR", "failed"),
        ("MASTERDOWN Link with MASTER is down", "refused"),
    ],
)
def test_it_is_told_where_no_save_was_started(reply: str, state: str) -> None:
    world = World(lambda w: {} if w.age is None else ERR, [refused(reply)])
    result, careful = run_carefully(world, [None])
    assert (result["state"], careful.given_back) == (state, 1)


def test_it_looks_again_after_each_child_that_came_between() -> None:
    world = World(lambda _w: {}, [refused("ERR Another child process is active"), refused("NOPERM no")])
    result, careful = run_carefully(world, [None, None])
    assert (result["state"], careful.given_back, world.commands.count("look")) == ("refused", 2, 2)


def test_keys_are_counted_before_and_after() -> None:
    def fields(world: World) -> dict[str, t.Any]:
        counted = {"# Keyspace\r\ndb0": "keys=7,expires=0"} if world.age is None else {"# Keyspace\r\ndb3": "keys=9"}
        return {**saving(world, 2, {"rdb_last_save_time": int(T0)}), **counted}

    result = World(fields).run()
    assert (result["state"], result["keys_before"], result["keys_after"]) == ("succeeded", 7, 9)
    assert World(lambda w: saving(w, 2, SAVED)).run()["keys_before"] is None
