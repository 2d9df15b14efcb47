# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Let a server take writes for a while although its saves fail, and put its protection back."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._changes import change, parameter
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions, cli_options
from ansible_collections.redisops.persistence.plugins.module_utils._config_session import (
    CHANGING_RIGHTS,
    ConfigFailure,
    ConfigSession,
    closing,
    connect_session,
    open_session,
)
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import (
    State,
    StateFailure,
    forget_old_states,
    forget_unwatched,
    locked,
    read_state,
    remove_state,
    watcher_is_alive,
    write_state,
)
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_watcher import (
    PARAMETER,
    UNBLOCKED,
    start_watcher,
)
from ansible_collections.redisops.persistence.plugins.module_utils._info import number, role
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import diff_of
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

MOST_SECONDS = 86400
WATCHER_END_SECONDS = 6.0
"""How long the watcher is given to end: it looks at the server every two seconds."""


def run_emergency(parameters: t.Mapping[str, t.Any], system: System, check_mode: bool) -> dict[str, t.Any]:
    """What the module ``redis_emergency_unblock`` returns, with ``failed`` and ``msg`` where it failed."""
    options = ConnectionOptions.from_mapping(parameters)
    result = _empty_result(options)
    gaps = Gaps()
    try:
        if not 1 <= parameters["seconds"] <= MOST_SECONDS:
            raise ConfigFailure(f"seconds must be from 1 to {MOST_SECONDS}.")
        with closing(open_session(parameters, system, gaps)) as session:
            act = _present if parameters["state"] == "present" else _absent
            if check_mode:
                act(session, parameters["seconds"], system, True, result)
            else:
                with locked(system):
                    forget_old_states(system)
                    act(session, parameters["seconds"], system, False, result)
    except (ConfigFailure, StateFailure) as failure:
        result.update(failed=True, msg=f"{result['address']}: {failure}")
    return result


def command_by_hand(options: ConnectionOptions, value: str) -> str:
    """What a person types to put the value back; never a password."""
    arguments = ["redis-cli", *cli_options(options), "CONFIG", "SET", PARAMETER, value]
    return " ".join(shlex.quote(argument) for argument in arguments)


def _empty_result(options: ConnectionOptions) -> dict[str, t.Any]:
    return {
        "address": options.address,
        "changed": False,
        "changes": [],
        "diff": [],
        "value_before": None,
        "deadline_unix": None,
        "watcher_pid": None,
        "extended": False,
        "left_to_do": None,
        "message": None,
    }


def _note_change(result: dict[str, t.Any], before: str, after: str) -> None:
    what = parameter(PARAMETER)
    result["changed"] = True
    result["changes"] = [change(what, before, after)]
    header = f"{what} of {result['address']}"
    result["diff"] = [diff_of(header, before, after)]


def _running_value(session: ConfigSession) -> str:
    value = session.get([PARAMETER]).get(PARAMETER)
    if value is None:
        raise ConfigFailure(f"The server does not know {PARAMETER}.")
    return value


# --- present --------------------------------------------------------------------------------------------------------


def _present(session: ConfigSession, seconds: int, system: System, check_mode: bool, result: dict[str, t.Any]) -> None:
    state = read_state(system, session.run_id)
    running = _running_value(session)
    if state is not None and running == UNBLOCKED:
        _keep(session, state, seconds, system, check_mode, result)
        return
    if state is not None and not check_mode:
        # Somebody else has put the parameter back, and no watcher is left to notice.
        forget_unwatched(system, session.run_id)
    reason = why_not(session, running)
    if reason is not None:
        raise ConfigFailure(f"There is nothing to unblock: {reason}")
    _note_change(result, running, UNBLOCKED)
    result["value_before"] = running
    if check_mode:
        result["message"] = f"Writes would be let through for {seconds} seconds, or until a save succeeds."
        return
    now = system.clock()
    new = State(
        address=session.options.address,
        server_run_id=session.run_id,
        run=secrets.token_hex(8),
        value_before=running,
        since_unix=now,
        deadline_unix=now + seconds,
        last_save_unix=int(number(session.info, "rdb_last_save_time") or 0),
        watcher_pid=0,
        watcher_started_ticks=0,
    )
    _start(session, new, system, result)


def why_not(session: ConfigSession, running: str) -> str | None:
    """Why the server refuses no writes for its saves' sake (server.c:writeCommandsDeniedByDiskError), or None."""
    status = session.info.fields.get("rdb_last_bgsave_status")
    if running != "yes":
        return f"{PARAMETER} is {running} already, and was not set by an unblock of ours."
    if status != "err":
        return f"the status of the last save is {status}."
    if role(session.info) not in ("master", None):
        return "the server is a replica; it takes its writes from its master whatever its saves do."
    points = session.get(["save"]).get("save")
    if points is not None and not points.strip():
        return "the server has no save points, and refuses writes for failed saves only where it has."
    return None


def _start(session: ConfigSession, state: State, system: System, result: dict[str, t.Any]) -> None:
    """Let the watcher set the parameter. Raises ConfigFailure."""
    options = session.options
    timeout_seconds = 6 * options.timeout_seconds + 5
    report = start_watcher(
        state, system, lambda: connect_session(options, system), options.is_loopback, timeout_seconds
    )
    if report["error"] is not None:
        result.update(changed=False, changes=[], diff=[])
        raise ConfigFailure(
            f"Writes are not let through: {report['error']} Least rights: {CHANGING_RIGHTS}. "
            f"If in doubt: {command_by_hand(options, state.value_before)}"
        )
    _describe(result, state._replace(watcher_pid=report["pid"]), options)
    if _running_value(session) != UNBLOCKED:
        raise ConfigFailure("The parameter was set back by somebody else at once.")


def _keep(
    session: ConfigSession,
    state: State,
    seconds: int,
    system: System,
    check_mode: bool,
    result: dict[str, t.Any],
) -> None:
    """An unblock stands: move its end, never lose the value before; a watcher that was killed gets a successor."""
    deadline = system.clock() + seconds
    wanted = state._replace(deadline_unix=max(deadline, state.deadline_unix))
    if watcher_is_alive(system, state):
        _describe(result, wanted, session.options)
        result["extended"] = wanted.deadline_unix > state.deadline_unix
        if result["extended"] and not check_mode:
            write_state(system, wanted)
        return
    result["value_before"] = state.value_before
    result["message"] = "The watcher of the standing unblock was gone; a new one takes its place."
    if not check_mode:
        _start(session, wanted._replace(deadline_unix=deadline, run=secrets.token_hex(8)), system, result)


def _describe(result: dict[str, t.Any], state: State, options: ConnectionOptions) -> None:
    result.update(
        value_before=state.value_before,
        deadline_unix=int(state.deadline_unix),
        watcher_pid=state.watcher_pid,
        left_to_do=command_by_hand(options, state.value_before),
    )


# --- absent ---------------------------------------------------------------------------------------------------------


def _absent(session: ConfigSession, seconds: int, system: System, check_mode: bool, result: dict[str, t.Any]) -> None:
    state = read_state(system, session.run_id)
    if state is None:
        result["message"] = "No emergency unblock of ours stands."
        return
    running = _running_value(session)
    result["value_before"] = state.value_before
    if running == UNBLOCKED:
        _note_change(result, running, state.value_before)
        if not check_mode:
            _put_back(session, state, result)
    else:
        result["message"] = "Somebody else has set the parameter since; it is left alone."
    if not check_mode:
        end_watcher(state, system)
        remove_state(system, state.server_run_id, state.run)


def _put_back(session: ConfigSession, state: State, result: dict[str, t.Any]) -> None:
    """Raises ConfigFailure; the watcher goes on trying then."""
    try:
        session.set({PARAMETER: state.value_before})
        if _running_value(session) != state.value_before:
            raise ConfigFailure("The server did not keep the value.")
    except ConfigFailure:
        result.update(changed=False, changes=[], diff=[])
        _describe(result, state, session.options)
        raise


def end_watcher(state: State, system: System) -> None:
    """End the very process that was started for this unblock, and no other one that has its pid by now."""
    if not watcher_is_alive(system, state):
        return
    try:
        os.kill(state.watcher_pid, signal.SIGTERM)
    except OSError:
        # Ended just now, or of another user: it finds the parameter changed and ends by itself.
        return
    give_up_at = time.monotonic() + WATCHER_END_SECONDS
    while watcher_is_alive(system, state) and time.monotonic() < give_up_at:
        time.sleep(0.05)
