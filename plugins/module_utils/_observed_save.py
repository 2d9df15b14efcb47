# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A background save watched from both sides: what the server answers, and what its log and the kernel's say of it."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempts import join_attempts
from ansible_collections.redisops.persistence.plugins.module_utils._bgsave import (
    SaveOptions,
    empty_result,
    observed_attempt,
    predict_bgsave,
    run_bgsave,
)
from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    Client,
    ConnectionOptions,
    RedisFailure,
    connect,
)
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import Survey, find_pid
from ansible_collections.redisops.persistence.plugins.module_utils._evidence import (
    Limits,
    collect_instance_host,
    settings_in_force,
)
from ansible_collections.redisops.persistence.plugins.module_utils._guarded_save import (
    Guard,
    Look,
    dump_block,
    nothing_added,
)
from ansible_collections.redisops.persistence.plugins.module_utils._instances import Target, resolve_targets
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_log import collect_kernel_log
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import collect_redis
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

KERNEL_LOG_LEAD_SECONDS = 5


def explain_save(
    result: t.Mapping[str, t.Any],
    pid: int | None,
    redis: t.Mapping[str, t.Any] | None,
    system: System,
    gaps: Gaps,
) -> dict[str, t.Any] | None:
    """The ATTEMPT of a save that :func:`_bgsave.run_bgsave` watched, with what the logs add; None if none was started.

    :param redis: the REDIS block of the evidence, whose settings say where the log is.
    """
    if result["started_unix"] is None:
        return None
    logged: list[dict[str, t.Any]] = []
    if pid is not None:
        settings = settings_in_force(redis, pid, [], system, Survey(system), gaps)
        blocks = collect_instance_host(system, pid, settings, gaps, Limits())
        if blocks["redis_log"] is not None:
            kernel_log = collect_kernel_log(system, gaps, since_unix=result["started_unix"] - KERNEL_LOG_LEAD_SECONDS)
            logged = join_attempts(
                blocks["redis_log"], kernel_log, blocks["process"], blocks["cgroups"], system.clock()
            )
    return observed_attempt(result, logged)


def observe_save(
    options: ConnectionOptions,
    redis: t.Mapping[str, t.Any],
    system: System,
    gaps: Gaps,
    save_options: SaveOptions | None = None,
) -> dict[str, t.Any] | None:
    """Make one server save and return the ATTEMPT; None, with a gap, where no save was started.

    Nothing is accepted here: a save that would replace anything but the server's own dump is not made for a diagnosis.
    """
    result, attempt, _guard = guarded_save(options, save_options or SaveOptions(), (), redis, system, gaps)
    if result["started_unix"] is None:
        gaps.add("observed save", str(result["message"]), "Try again when nothing stands in the way of a save.")
    return attempt


def guarded_save(
    options: ConnectionOptions,
    save_options: SaveOptions,
    accept: t.Collection[str],
    redis: t.Mapping[str, t.Any] | None,
    system: System,
    gaps: Gaps,
) -> tuple[dict[str, t.Any], dict[str, t.Any] | None, dict[str, t.Any]]:
    """(the result of :func:`_bgsave.run_bgsave`, the ATTEMPT, what the guard adds to the module's answer)."""
    target = Target(options, options.address, None)
    guard = Guard(target, system, gaps, accept)
    client: Client | None = None
    result = empty_result()
    try:
        client = connect(options, system)
        result = run_bgsave(
            client, save_options, system.clock, reconnect=lambda: connect(options, system), precaution=guard
        )
        guard.end(result)
    except RedisFailure as failure:
        result["message"] = f"The server can't be asked to save: {failure.message}"
        guard.not_started()
    finally:
        if client is not None:
            client.close()
        _lower_shield(guard, options, system)
        guard.close()
    attempt = None
    added = {**guard.added(), "dump_after": None}
    if result["started_unix"] is not None:
        pid = find_pid(system, options, redis)
        attempt = explain_save(result, pid, redis, system, gaps)
        added["dump_after"] = dump_after(target, system)
    return result, attempt, added


def _lower_shield(guard: Guard, options: ConnectionOptions, system: System) -> None:
    """Put the setting back where the save ended in another way than by an answer. Never raises."""
    if not guard.shield.is_up:
        return
    with contextlib.suppress(RedisFailure):
        client = connect(options, system)
        try:
            guard.shield.down(client)
        finally:
            client.close()


def dump_after(target: Target, system: System) -> dict[str, t.Any]:
    """The file in the dump's place after the save, with what tells it from a later one."""
    look = Look(target, system, Gaps())
    look.close()
    return {**dump_block(look.dump), "inode": None if look.seen is None else look.seen.inode}


def save_one_server(parameters: t.Mapping[str, t.Any], system: System, check_mode: bool) -> dict[str, t.Any]:
    """What the module ``redis_bgsave`` returns."""
    gaps = Gaps()
    # One server: the options name it, there is no search.
    target = resolve_targets({**parameters, "instances": None, "discover": False}, system, gaps)[0]
    options = target.options or ConnectionOptions()
    save_options = SaveOptions(
        float(parameters["wait_timeout_seconds"]),
        float(parameters["poll_interval_seconds"]),
        str(parameters["if_running"]),
    )
    accept = list(parameters.get("accept") or [])
    before = collect_redis(options, system, gaps)
    redis = before["redis"]
    attempt, added = None, nothing_added()
    if redis is None:
        # Nothing more is sent to a server that did not answer: it would cost its time-out again.
        message = str((before["connection"]["error"] or {}).get("message"))
        result = {**empty_result(), "message": f"The server can't be asked to save: {message}"}
    elif check_mode:
        result, added = _predict(options, accept, system, gaps)
    else:
        result, attempt, added = guarded_save(options, save_options, accept, redis, system, gaps)
    answer = {
        "address": before["address"],
        "connection": before["connection"],
        "attempt": attempt,
        **{name: value for name, value in result.items() if name not in ("stage", "aborted", "may_be_running")},
        **added,
    }
    answer["message"] = explained_message(result["message"], attempt)
    answer["gaps"] = gaps.entries()
    return answer


def _predict(
    options: ConnectionOptions, accept: t.Collection[str], system: System, gaps: Gaps
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """(what the save would begin with, what the guard adds to it); nothing is changed or kept."""
    guard = Guard(Target(options, options.address, None), system, gaps, accept)
    client: Client | None = None
    try:
        client = connect(options, system)
        result = predict_bgsave(client)
        problem = guard.judge() if result["state"] == "skipped" else None
        if problem is not None:
            result.update(state="refused", changed=False, message=problem)
        return result, {**guard.added(predicted=problem is None), "dump_after": None}
    except RedisFailure as failure:
        return {**empty_result(), "message": f"The server can't be asked to save: {failure.message}"}, nothing_added()
    finally:
        if client is not None:
            client.close()
        guard.close()


def explained_message(message: str | None, attempt: t.Mapping[str, t.Any] | None) -> str | None:
    """The message with what the log adds to it."""
    if message is None or attempt is None or attempt["outcome"] != "failed":
        return message
    if attempt["errno_text"]:
        return f"The save failed (stage {attempt['stage']}): {attempt['errno_text']}."
    if attempt["signal"]:
        return f"The child process was ended by signal {attempt['signal']}."
    return message
