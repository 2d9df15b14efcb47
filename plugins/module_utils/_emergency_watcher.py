# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The process that ends an emergency unblock, whatever becomes of the run, the connection or the terminal.

It puts ``stop-writes-on-bgsave-error`` back as soon as a save has succeeded, or at the deadline, and leaves a value
alone that somebody else has set meanwhile. The password is in its memory only: not in its arguments, its environment or
a file (redis-cli gets it in its own environment while it runs, which only its owner and root can read).
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._config_session import (
    ConfigFailure,
    ConfigSession,
)
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import (
    State,
    StateFailure,
    locked,
    process_start_ticks,
    read_state,
    remove_state,
    write_state,
)
from ansible_collections.redisops.persistence.plugins.module_utils._info import ParsedInfo, number, parse_info
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

PARAMETER = "stop-writes-on-bgsave-error"
UNBLOCKED = "no"

POLL_SECONDS = 2.0
GRACE_SECONDS = 900.0
"""How long after the deadline the server is asked again and again where it does not answer, or refuses."""
GONE_SECONDS = 60.0
"""How long nobody listens on an address of this machine before the server counts as ended: its value ended with it."""
STOPPED_GRACE_SECONDS = 20.0
"""The same after SIGTERM: a machine that shuts down waits no longer."""
NOBODY_LISTENS = ("connection_refused", "no_such_socket")
LOCK_SECONDS = 5.0
REPORT_LIMIT_BYTES = 16384
WATCHER_OOM_ADJUSTMENT = "-900"
"""Rather another process than the one that gives the server its protection back (needs CAP_SYS_RESOURCE)."""


class Watcher:
    """Sets the parameter, watches the server and puts the parameter back.

    :param connect: a new connection. Raises ConfigFailure.
    :param is_local: the address is this machine's own: where nobody listens on it, no server runs.
    :param monotonic: a clock that nobody sets back.
    """

    def __init__(
        self,
        state: State,
        system: System,
        connect: t.Callable[[], ConfigSession],
        is_local: bool = False,
        sleep: t.Callable[[float], None] = time.sleep,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = state
        self.stop_requested = False
        self.armed = False
        self._system = system
        self._connect = connect
        self._is_local = is_local
        self._sleep = sleep
        self._monotonic = monotonic
        self._deadline = monotonic() + (state.deadline_unix - system.clock())
        self._due_since: float | None = None
        self._gone_since: float | None = None
        self._session: ConfigSession | None = None

    def begin(self) -> str | None:
        """Let the writes through. What kept it from that, or None; ``armed``: there may be something to put back."""
        try:
            session = self._ready_session()
            # Written down first: whoever finds the value later must be able to tell what it was.
            write_state(self._system, self.state)
            self.armed = True
            session.set({PARAMETER: UNBLOCKED})
        except (ConfigFailure, StateFailure) as failure:
            # A command that was not answered may have been carried out all the same.
            self.stop_requested = True
            self._close()
            return str(failure)
        return None

    def run(self) -> str:
        """Watch until the end. How it ended: ``restored``, ``changed``, ``restarted``, ``gone``, ``given_up``."""
        while True:
            outcome = self._look()
            if outcome is not None:
                self._close()
                return outcome
            self._sleep(POLL_SECONDS)

    def _look(self) -> str | None:
        """One look at the server; how it ended, or None to go on."""
        self._follow_extension()
        try:
            session = self._ready_session()
            info = parse_info(str(session.send("INFO")))
            self._gone_since = None
            if info.fields.get("run_id") != self.state.server_run_id:
                # A new process has the value of its configuration file.
                return self._forget("restarted")
            if session.get([PARAMETER]).get(PARAMETER) != UNBLOCKED:
                return self._forget("changed")
            if self._is_due() or has_saved(info, self.state):
                return self._restore(session)
        except (ConfigFailure, StateFailure) as failure:
            self._close()
            if self._is_gone(failure):
                return "gone"
        return self.give_up_where_late()

    def _is_gone(self, failure: ConfigFailure | StateFailure) -> bool:
        """Whether nobody has listened for a while. The state stays, in case the server listens elsewhere now."""
        if not isinstance(failure, ConfigFailure) or failure.kind not in NOBODY_LISTENS or not self._is_local:
            self._gone_since = None
            return False
        now = self._monotonic()
        if self._gone_since is None:
            self._gone_since = now
        return now - self._gone_since > GONE_SECONDS

    def _restore(self, session: ConfigSession) -> str | None:
        """Put it back under the lock, so that nobody prolongs what is ending. Raises ConfigFailure, StateFailure."""
        with contextlib.ExitStack() as stack:
            if not self._is_late():
                stack.enter_context(locked(self._system, LOCK_SECONDS))
            self._follow_extension()
            info = parse_info(str(session.send("INFO")))
            if not self._is_due() and not has_saved(info, self.state):
                return None
            session.set({PARAMETER: self.state.value_before})
            if session.get([PARAMETER]).get(PARAMETER) != self.state.value_before:
                return None
            return self._forget("restored")

    def _follow_extension(self) -> None:
        """Another run may have moved the deadline, in the state file."""
        found = read_state(self._system, self.state.server_run_id)
        if found is not None and found.run == self.state.run and found.deadline_unix > self.state.deadline_unix:
            self._deadline += found.deadline_unix - self.state.deadline_unix
            self.state = found

    def _is_due(self) -> bool:
        return self.stop_requested or self._monotonic() >= self._deadline

    def _is_late(self) -> bool:
        """Whether the lock was waited for long enough: the server's protection matters more."""
        return self._due_since is not None and self._monotonic() - self._due_since > 2 * LOCK_SECONDS

    def give_up_where_late(self) -> str | None:
        """``given_up`` where the server was asked long enough after the end."""
        if not self._is_due():
            return None
        now = self._monotonic()
        if self._due_since is None:
            self._due_since = now
        grace = STOPPED_GRACE_SECONDS if self.stop_requested else GRACE_SECONDS
        # The state stays: it says what is left to do.
        return "given_up" if now - self._due_since > grace else None

    def _forget(self, outcome: str) -> str:
        remove_state(self._system, self.state.server_run_id, self.state.run)
        return outcome

    def _ready_session(self) -> ConfigSession:
        if self._session is None:
            self._session = self._connect()
        return self._session

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def has_saved(info: ParsedInfo, state: State) -> bool:
    """Whether a save has succeeded since the unblock."""
    last_save = number(info, "rdb_last_save_time")
    return (
        info.fields.get("rdb_last_bgsave_status") == "ok" and last_save is not None and last_save > state.last_save_unix
    )


# --- the process ----------------------------------------------------------------------------------------------------


Body = t.Callable[[t.Callable[[dict[str, t.Any]], None]], None]
"""What the process does; it is handed the function that reports to the starter, once."""


def start_watcher(
    state: State, system: System, connect: t.Callable[[], ConfigSession], is_local: bool, timeout_seconds: float
) -> dict[str, t.Any]:
    """Start the watcher in a process of its own and wait until it has set the parameter.

    Everything that it needs must be imported by now: the module's files are removed when the module has ended.

    :returns: ``{pid, started_ticks, error}``; ``error`` None where the parameter is set.
    """

    def body(report: t.Callable[[dict[str, t.Any]], None]) -> None:
        pid = os.getpid()
        ticks = process_start_ticks(system, pid) or 0
        watcher = Watcher(state._replace(watcher_pid=pid, watcher_started_ticks=ticks), system, connect, is_local)

        def request_stop(_signal: int, _frame: t.Any) -> None:
            watcher.stop_requested = True

        signal.signal(signal.SIGTERM, request_stop)
        began = time.monotonic()
        error = watcher.begin()
        if time.monotonic() - began > timeout_seconds:
            # Our starter has failed by now and said that nothing is unblocked.
            watcher.stop_requested = True
        report({"pid": pid, "started_ticks": ticks, "error": error})
        if watcher.armed:
            _watch_to_the_end(watcher)

    return run_detached(body, timeout_seconds)


def _watch_to_the_end(watcher: Watcher) -> None:
    """The rim: no error of any kind may end the watcher before the server has its protection back."""
    while True:
        try:
            watcher.run()
            return
        except (Exception, SystemExit):
            if watcher.give_up_where_late():
                return
            time.sleep(POLL_SECONDS)


def run_detached(body: Body, timeout_seconds: float) -> dict[str, t.Any]:
    """Run ``body`` in a process that belongs to no terminal, no session and no parent of ours; its first report.

    ``{pid, started_ticks, error}``; with an error where there was no report in time.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _become_detached(body, read_end, write_end)
    os.close(write_end)
    try:
        os.waitpid(child, 0)
        text = _read_report(read_end, timeout_seconds)
    finally:
        os.close(read_end)
    try:
        return dict(json.loads(text))
    except ValueError:
        return {"pid": None, "started_ticks": None, "error": "The watcher did not report in time."}


def _read_report(descriptor: int, timeout_seconds: float) -> str:
    """What the watcher wrote until it closed the pipe, or time was up."""
    data = b""
    give_up_at = time.monotonic() + timeout_seconds
    while len(data) < REPORT_LIMIT_BYTES:
        ready, _writable, _failed = select.select([descriptor], [], [], max(0.0, give_up_at - time.monotonic()))
        chunk = os.read(descriptor, REPORT_LIMIT_BYTES) if ready else b""
        if not chunk:
            break
        data += chunk
    return data.decode("utf-8", errors="replace")


def _become_detached(body: Body, read_end: int, write_end: int) -> t.NoReturn:
    """In the child: a new session, and in that one's child the body. Nothing of the module's own clean-up may run."""
    try:
        os.setsid()
        if os.fork() == 0:
            os.close(read_end)
            _let_go(keep=write_end)

            def report(answer: dict[str, t.Any]) -> None:
                # Nobody may be left to read it.
                with contextlib.suppress(OSError):
                    os.write(write_end, json.dumps(answer).encode())
                os.close(write_end)

            body(report)
    finally:
        os._exit(0)


def _let_go(keep: int) -> None:
    """Hold nothing of the caller's: terminal, pipes of an SSH session, working directory, signals."""
    for number_of_signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number_of_signal, signal.SIG_IGN)
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != keep:
            with contextlib.suppress(OSError):
                os.close(int(name))
    with contextlib.suppress(OSError, ValueError):
        # No password in a core file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
        handle.write(WATCHER_OOM_ADJUSTMENT)
