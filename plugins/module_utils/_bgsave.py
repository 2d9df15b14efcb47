# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A background save that is waited for, and what came of it.

The end is told by ``rdb_bgsave_in_progress``, the outcome by ``rdb_last_bgsave_status`` together with another
``rdb_last_save_time``: LASTSAVE alone never shows a failure, and the status alone keeps its old value where the child
was told to stop (SIGUSR1, see rdb.c:backgroundSaveDoneHandlerDisk). Nothing is judged while a save runs unless one of
the two has moved: how old the server says a save is counts from after the fork, which may take seconds.
"""

from __future__ import annotations

import contextlib
import re
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempts import new_attempt
from ansible_collections.redisops.persistence.plugins.module_utils._client import Client, RedisFailure
from ansible_collections.redisops.persistence.plugins.module_utils._info import (
    ParsedInfo,
    key_count,
    number,
    parse_info,
)

FIRST_POLL_SECONDS = 0.05
LOST_SERVER_SECONDS = 10.0
"""How long a server that went away during its save is given to come back. One that is silent has not gone away: it is
forking, or stopped."""

CONFIRMATION_SECONDS = 0.5
"""An end of which nothing but the flag tells is seen twice, so far apart, before it is believed."""

ANOTHER_CHILD = re.compile(
    r"Another child process is active|AOF log rewriting in progress|can't BGSAVE right now", re.I
)
"""Reply while an AOF rewrite or a module's fork runs: since 6.2 and 7.0 the first, up to 6.0 the second."""

SAVE_RUNNING = re.compile(r"Background save already in progress|background save is in progress", re.I)

FORK_FAILED_REPLY = "ERR"
"""The bare ``-ERR`` (shared.err in rdb.c:bgsaveCommand): fork failed. Errors with a text say that no save was tried."""

OTHER_CHILDREN = ("aof_rewrite_in_progress", "module_fork_in_progress", "slot_migration_fork_in_progress")

CLOCK_SLACK_SECONDS = 2.0


class SaveOptions(t.NamedTuple):
    """How to save. ``if_running``: ``wait`` for a save that is under way and then start our own, or ``fail``."""

    wait_timeout_seconds: float = 600.0
    poll_interval_seconds: float = 1.0
    if_running: str = "wait"


class ServerLost(Exception):
    """The server went away, or was restarted, while it was saving."""


class ServerSilent(Exception):
    """The server has not answered until the end of the time given."""


class Precaution(t.Protocol):
    """What is done right before BGSAVE is sent, and undone where it started no save."""

    def before(self, client: Client) -> str | None:
        """Look, and prepare. Why no save may be started; None to go ahead."""

    def started(self, client: Client) -> None:
        """The server has taken the command, and answers again: the fork is over."""

    def not_started(self, client: Client) -> None:
        """The command was not taken: put back what was prepared."""


class _Session:
    """The conversation during a save: INFO again and again, over a new connection where the old one broke."""

    def __init__(
        self,
        client: Client,
        clock: t.Callable[[], float],
        sleep: t.Callable[[float], None],
        reconnect: t.Callable[[], Client] | None,
        monotonic: t.Callable[[], float],
        deadline: float,
    ) -> None:
        self.client = client
        self.clock = clock
        self.monotonic = monotonic
        self.deadline = deadline
        self.sleep = sleep
        self._reconnect = reconnect
        self._run_id: str | None = None

    def info(self) -> ParsedInfo:
        """INFO. Raises RedisFailure before the first answer; then :class:`ServerLost`, :class:`ServerSilent`."""
        lost_since: float | None = None
        while True:
            try:
                parsed = parse_info(str(self.client.command("INFO")))
            except RedisFailure as failure:
                if failure.state == "refused" or self._run_id is None:
                    raise
                lost_since = self._bear(failure, lost_since)
                self.sleep(0.5)
                self._renew()
                continue
            run_id = parsed.fields.get("run_id", "")
            if self._run_id is not None and run_id != self._run_id:
                raise ServerLost("The server was restarted during the save.")
            self._run_id = run_id
            return parsed

    def _bear(self, failure: RedisFailure, lost_since: float | None) -> float | None:
        """Since when the server has been gone, after one more failure; None while it is only silent."""
        now = self.monotonic()
        if self._reconnect is None:
            raise ServerLost(f"The server went away during the save: {failure.message}") from None
        if failure.state == "timeout":
            if now >= self.deadline:
                raise ServerSilent(f"The server did not answer any more: {failure.message}") from None
            return None
        lost_since = now if lost_since is None else lost_since
        if now - lost_since > LOST_SERVER_SECONDS:
            raise ServerLost(f"The server went away during the save: {failure.message}") from None
        return lost_since

    def _renew(self) -> None:
        self.client.close()
        # Where that fails the closed client fails again, and the time for that is limited.
        with contextlib.suppress(RedisFailure):
            self.client = self._reconnect() if self._reconnect is not None else self.client


def run_bgsave(
    client: Client,
    options: SaveOptions,
    clock: t.Callable[[], float] = time.time,
    sleep: t.Callable[[float], None] = time.sleep,
    reconnect: t.Callable[[], Client] | None = None,
    precaution: Precaution | None = None,
    monotonic: t.Callable[[], float] = time.monotonic,
) -> dict[str, t.Any]:
    """Save in the background, wait for the end and say what came of it.

    Returns ``{state, changed, reply, message, duration_seconds, status_before, status_after, last_save_before_unix,
    last_save_after_unix, last_save_advanced, keys_before, keys_after, peak_copy_on_write_bytes, progress, started_unix,
    ended_unix, stage, aborted, may_be_running}``; ``state`` is succeeded, failed, timeout, delayed or refused.

    :param clock: for the moments in the result; what is waited for is measured by ``monotonic``.
    :param reconnect: makes a new client where the connection breaks during the wait.
    :param precaution: what is done directly before the command, each time that it is sent.
    :raises RedisFailure: where not even INFO was answered at the beginning.
    """
    deadline = monotonic() + options.wait_timeout_seconds
    session = _Session(client, clock, sleep, reconnect, monotonic, deadline)
    save = _Save(session, options, precaution)
    try:
        save.run()
    except ServerLost as lost:
        # The child of a server that was killed writes on.
        save.result["may_be_running"] = save.result["started_unix"] is not None
        save.finish("failed", str(lost))
    except ServerSilent as silent:
        save.finish("timeout" if save.result["started_unix"] is not None else "delayed", str(silent))
    finally:
        if session.client is not client:
            session.client.close()
    return save.result


def predict_bgsave(client: Client) -> dict[str, t.Any]:
    """What :func:`run_bgsave` would begin with; sends nothing but INFO. ``state`` is skipped or refused."""
    parsed = parse_info(str(client.command("INFO")))
    result = empty_result()
    result["status_before"] = parsed.fields.get("rdb_last_bgsave_status")
    result["last_save_before_unix"] = number(parsed, "rdb_last_save_time")
    result["keys_before"] = keys_of(parsed)
    if number(parsed, "loading") == 1:
        result.update(state="refused", message=LOADING_MESSAGE)
    else:
        result.update(state="skipped", changed=True, message="A background save would be started (check mode).")
    return result


def keys_of(parsed: ParsedInfo) -> int | None:
    """Keys of all databases; None where the server does not say."""
    return key_count(parsed) if "keyspace" in parsed.sections else None


LOADING_MESSAGE = "The server is loading its dataset; it saves nothing before it has."


def empty_result() -> dict[str, t.Any]:
    """A save that was never started."""
    return {
        "state": "refused",
        "changed": False,
        "reply": None,
        "message": None,
        "duration_seconds": None,
        "status_before": None,
        "status_after": None,
        "last_save_before_unix": None,
        "last_save_after_unix": None,
        "last_save_advanced": False,
        "keys_before": None,
        "keys_after": None,
        "peak_copy_on_write_bytes": None,
        "progress": None,
        "started_unix": None,
        "ended_unix": None,
        "stage": None,
        "aborted": False,
        "may_be_running": False,
    }


class _Save:
    """One save from before to after."""

    def __init__(self, session: _Session, options: SaveOptions, precaution: Precaution | None) -> None:
        self._session = session
        self._options = options
        self._precaution = precaution
        self._sent_at: float | None = None
        self._peak: int | None = None
        self.result = empty_result()

    def run(self) -> None:
        pause = FIRST_POLL_SECONDS
        while True:
            parsed = self._wait_for_room()
            if parsed is None:
                return
            self._leave_second_of_last_save(parsed)
            if self._precaution is not None:
                problem = self._precaution.before(self._session.client)
                if problem is not None:
                    self._note_before(parsed)
                    self.finish("refused", problem, parsed)
                    return
                # That took its time.
                parsed = self._session.info()
                self._leave_second_of_last_save(parsed)
            self._note_before(parsed)
            if self._start():
                self._wait_for_end()
                return
            if self._precaution is not None:
                self._precaution.not_started(self._session.client)
            if self.result["message"] is not None:
                return
            # Somebody else's child came first, or one that INFO does not show: wait for room again.
            if self._is_late():
                self.finish("delayed", f"The save could not be started in the time given: {self.result['reply']}")
                return
            pause = self._pause(pause)

    def _is_late(self) -> bool:
        return self._session.monotonic() >= self._session.deadline

    def finish(self, state: str, message: str | None, parsed: ParsedInfo | None = None) -> None:
        """Write the end down."""
        result = self.result
        result.update(state=state, message=message)
        if result["started_unix"] is not None and self._sent_at is not None:
            result["duration_seconds"] = round(self._session.monotonic() - self._sent_at, 3)
            if state == "timeout":
                result["may_be_running"] = True
            else:
                result["ended_unix"] = self._session.clock()
        if parsed is not None:
            result["status_after"] = parsed.fields.get("rdb_last_bgsave_status")
            result["last_save_after_unix"] = number(parsed, "rdb_last_save_time")
            result["last_save_advanced"] = self._has_new_save(parsed)
            if result["started_unix"] is not None:
                result["keys_after"] = keys_of(parsed)
        result["peak_copy_on_write_bytes"] = self._peak

    def _wait_for_room(self) -> ParsedInfo | None:
        """INFO once no other child runs; None where that does not come to pass (the result says why)."""
        pause = FIRST_POLL_SECONDS
        while True:
            parsed = self._session.info()
            if number(parsed, "loading") == 1:
                self._note_before(parsed)
                self.finish("refused", LOADING_MESSAGE, parsed)
                return None
            saving = number(parsed, "rdb_bgsave_in_progress") == 1
            others = [name for name in OTHER_CHILDREN if number(parsed, name) == 1]
            if not saving and not others:
                return parsed
            self._note_before(parsed)
            running = "A background save" if saving else f"Another child process ({', '.join(others)})"
            if self._options.if_running == "fail":
                self.finish("refused" if saving else "delayed", f"{running} is already running.", parsed)
                return None
            if self._is_late():
                self._note_progress(parsed)
                self.finish("delayed", f"{running} was still running at the end of the time given.", parsed)
                return None
            pause = self._pause(pause)

    def _note_before(self, parsed: ParsedInfo) -> None:
        self.result["status_before"] = parsed.fields.get("rdb_last_bgsave_status")
        self.result["last_save_before_unix"] = number(parsed, "rdb_last_save_time")
        self.result["keys_before"] = keys_of(parsed)

    def _leave_second_of_last_save(self, parsed: ParsedInfo) -> None:
        """rdb_last_save_time counts whole seconds: a save in the second of the last one would not advance it."""
        last = number(parsed, "rdb_last_save_time")
        server_time = number(parsed, "server_time_usec")
        now = server_time / 1_000_000 if server_time else self._session.clock()
        if last is not None and 0 <= now - last < 1:
            self._session.sleep(1.01 - (now - last))

    def _start(self) -> bool:
        """Send BGSAVE. False: no save of ours runs (the message says why, or is None where one has to wait)."""
        self.result["started_unix"] = self._session.clock()
        self._sent_at = self._session.monotonic()
        try:
            reply = self._session.client.command("BGSAVE")
        except RedisFailure as failure:
            return self._not_started(failure)
        self.result["reply"] = str(reply)
        self.result["changed"] = True
        return True

    def _not_started(self, failure: RedisFailure) -> bool:
        self.result["reply"] = failure.message
        if failure.state != "refused":
            # Sent, and the answer lost: the save may run all the same.
            self.result["reply"] = None
            self.result["changed"] = True
            return True
        if SAVE_RUNNING.search(failure.message) or ANOTHER_CHILD.search(failure.message):
            self.result["started_unix"] = None
            if self._options.if_running == "fail":
                self.finish("delayed", f"The save was not started: {failure.message}")
            return False
        if failure.message.strip() != FORK_FAILED_REPLY:
            self.result["started_unix"] = None
            self.finish("refused", f"The save was refused: {failure.message}{_remedy(failure, self._session.client)}")
            return False
        self.result["stage"] = "fork"
        parsed = self._session.info()
        self.finish("failed", "The server could not start the child process (fork failed).", parsed)
        return False

    def _wait_for_end(self) -> None:
        pause = FIRST_POLL_SECONDS
        ended_at: float | None = None
        is_told = False
        while True:
            parsed = self._session.info()
            if self._precaution is not None and not is_told:
                self._precaution.started(self._session.client)
                is_told = True
            self._note_peak(parsed)
            if self._has_moved(parsed):
                self._judge(parsed)
                return
            if number(parsed, "rdb_bgsave_in_progress") == 1:
                ended_at = None
            elif ended_at is None:
                ended_at = self._session.monotonic()
            elif self._session.monotonic() - ended_at >= CONFIRMATION_SECONDS:
                self._judge(parsed)
                return
            if self._is_late():
                self._note_progress(parsed)
                self.finish("timeout", "The save was still running at the end of the time given; it goes on.", parsed)
                return
            pause = self._pause(pause)

    def _has_moved(self, parsed: ParsedInfo) -> bool:
        """Does the server itself say that a save has ended since BGSAVE was sent?

        No other save can have been the first: none ran when it was sent.
        """
        return self._has_new_save(parsed) or parsed.fields.get("rdb_last_bgsave_status") != self.result["status_before"]

    def _pause(self, pause: float) -> float:
        """Wait, a little longer each time up to the interval, never beyond the deadline."""
        left = self._session.deadline - self._session.monotonic()
        self._session.sleep(max(0.01, min(pause, left)))
        return min(pause * 2, self._options.poll_interval_seconds)

    def _has_new_save(self, parsed: ParsedInfo) -> bool:
        """Only a save that succeeds sets the time of the last one; a clock that was set back makes that earlier."""
        before = self.result["last_save_before_unix"]
        after = number(parsed, "rdb_last_save_time")
        return before is not None and after is not None and after != before

    def _judge(self, parsed: ParsedInfo) -> None:
        status = parsed.fields.get("rdb_last_bgsave_status")
        if self._has_new_save(parsed):
            # Known since 4.0, and only of a save that succeeded.
            self._keep_peak(number(parsed, "rdb_last_cow_size"))
            self.result["stage"] = "done"
            later = None if status != "err" else "The save succeeded; another one that followed it failed."
            self.finish("succeeded", later, parsed)
        elif status == "err":
            self.finish("failed", "The child process did not write the dump; the server's log says why.", parsed)
        elif self.result["reply"] is None:
            self.finish("failed", "The answer to BGSAVE was lost, and no save was seen.", parsed)
        else:
            self.result["aborted"] = True
            self.finish("failed", "The save was stopped before its end (FLUSHALL, SHUTDOWN or a signal).", parsed)

    def _note_peak(self, parsed: ParsedInfo) -> None:
        for name in ("current_cow_size", "current_cow_peak"):
            self._keep_peak(number(parsed, name))

    def _keep_peak(self, value: float | None) -> None:
        if value is not None and value > (self._peak or -1):
            self._peak = int(value)

    def _note_progress(self, parsed: ParsedInfo) -> None:
        """How far the child is (6.2+)."""
        processed = number(parsed, "current_save_keys_processed")
        total = number(parsed, "current_save_keys_total")
        if processed is None or total is None:
            return
        self.result["progress"] = {
            "keys_processed": processed,
            "keys_total": total,
            "percent": round(100.0 * processed / total, 1) if total else None,
        }


def _remedy(failure: RedisFailure, client: Client) -> str:
    if failure.kind == "NOPERM":
        return f" (ACL SETUSER {client.options.login_user or 'default'} +bgsave)"
    return ""


# --- the attempt ----------------------------------------------------------------------------------------------------


def observed_attempt(
    result: t.Mapping[str, t.Any], logged_attempts: t.Sequence[t.Mapping[str, t.Any]]
) -> dict[str, t.Any] | None:
    """The ATTEMPT of docs/evidence.md for a save that we watched; None where no save was started.

    :param logged_attempts: what ``_attempts.join_attempts`` made of the server's log and the kernel's; empty where no
        log could be read. The one that was made while we watched gives child pid, errno and signal.
    """
    started = result["started_unix"]
    if started is None:
        return None
    outcome = {"succeeded": "succeeded", "failed": "failed", "timeout": "running"}.get(result["state"], "unknown")
    outcome = "aborted" if result["aborted"] else outcome
    watched = {"started_unix": started, "ended_unix": result["ended_unix"], "outcome": outcome, "trigger": "command"}
    attempt = new_attempt(stage=result["stage"], silent=None)
    logged = find_logged_attempt(result, logged_attempts)
    if logged is not None:
        attempt.update({name: value for name, value in logged.items() if value is not None})
    attempt.update(watched, source="observed")
    return attempt


def find_logged_attempt(
    result: t.Mapping[str, t.Any], logged_attempts: t.Sequence[t.Mapping[str, t.Any]]
) -> t.Mapping[str, t.Any] | None:
    """The logged attempt that is ours: to disk, begun or ended while we watched, and not of another outcome."""
    first = result["started_unix"] - CLOCK_SLACK_SECONDS
    last = (result["ended_unix"] or float("inf")) + CLOCK_SLACK_SECONDS
    candidates = []
    for logged in logged_attempts:
        moment = logged.get("started_unix") or logged.get("ended_unix")
        if moment is None or not first <= moment <= last or logged.get("target") not in ("disk", None):
            continue
        outcomes = {str(result["state"]), str(logged.get("outcome"))}
        if outcomes == {"succeeded", "failed"}:
            continue
        candidates.append(logged)
    # Closest to the moment in which we asked: an automatic retry comes 5 s later at the earliest.
    return min(
        candidates,
        key=lambda logged: abs((logged.get("started_unix") or logged["ended_unix"]) - result["started_unix"]),
        default=None,
    )
