# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What is written down on the target about an emergency unblock that stands. Never a secret.

A file for each start of a server (its ``run_id``): two addresses of one server find the same file, and a restarted
server finds none. Only a file of root or of ourselves is believed. Whoever reads and changes it holds the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import parse_stat
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

STATE_VERSION = 1
SIZE_LIMIT_BYTES = 4096
OLD_SECONDS = 86400.0
SWEEP_LIMIT = 256
LOCK_WAIT_SECONDS = 30.0
LOCK_PAUSE_SECONDS = 0.05


class State(t.NamedTuple):
    """An emergency unblock that stands, or whose watcher was killed.

    ``run``: a name for it. ``watcher_started_ticks``: field 22 of /proc/PID/stat, which tells a reused pid. Times in
    seconds since the epoch. ``value_before``: what is to be put back.
    """

    address: str
    server_run_id: str
    run: str
    value_before: str
    since_unix: float
    deadline_unix: float
    last_save_unix: int
    watcher_pid: int
    watcher_started_ticks: int


class StateFailure(Exception):
    """The state can't be kept, so nothing may be changed."""


def directories() -> list[str]:
    """Where the state may lie, best first: /run is emptied at boot, /dev/shm is there on full hosts, too."""
    own = f"/dev/shm/redisops-persistence-{os.geteuid()}"
    return ["/run/redisops-persistence", own] if os.geteuid() == 0 else [own]


def file_name(server_run_id: str) -> str:
    """The state file of one start of a server. Raises StateFailure for what is no run_id."""
    if not re.match(r"[0-9A-Za-z]{8,64}\Z", server_run_id):
        raise StateFailure("The server does not say its run_id, so it could not be told from another one.")
    return f"emergency-{server_run_id}.json"


def read_state(system: System, server_run_id: str) -> State | None:
    """What is known of this server; None where nothing is, or nothing that can be believed."""
    try:
        name = file_name(server_run_id)
    except StateFailure:
        return None
    for directory in directories():
        if is_trusted_directory(system.path(directory)):
            state = parse_state(read_own_file(system.path(f"{directory}/{name}")))
            if state is not None and state.server_run_id == server_run_id:
                return state
    return None


def standing(system: System, server_run_id: str | None, running: str | None) -> dict[str, t.Any] | None:
    """``redis.emergency_unblock`` of docs/evidence.md: the unblock that this very process of a server is under.

    :param running: the value that the server runs with; another one than ``no`` means that none stands.
    """
    state = read_state(system, server_run_id) if server_run_id and running == "no" else None
    if state is None:
        return None
    return {
        "since_unix": state.since_unix,
        "deadline_unix": state.deadline_unix,
        "value_before": state.value_before,
        "watched": watcher_is_alive(system, state),
    }


def forget_unwatched(system: System, server_run_id: str) -> None:
    """Forget an unblock that is over and that no watcher will forget: what is set later is not its doing."""
    state = read_state(system, server_run_id)
    if state is not None and not watcher_is_alive(system, state):
        remove_state(system, server_run_id, state.run)


def write_state(system: System, state: State) -> None:
    """Write it at once or not at all, in the first place that has room. Raises StateFailure."""
    name = file_name(state.server_run_id)
    text = json.dumps({"version": STATE_VERSION, **state._asdict()})
    problems = []
    written = False
    for directory in directories():
        place = system.path(directory)
        if written:
            # What an earlier write left there would contradict this one.
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(place, name))
            continue
        problem = directory_problem(place, directory)
        if problem is None:
            problem = replace_file(os.path.join(place, name), text)
        if problem is None:
            written = True
        else:
            problems.append(f"{directory}: {problem}")
    if not written:
        raise StateFailure(f"The state can't be kept ({'; '.join(problems)}).")


def replace_file(path: str, text: str) -> str | None:
    """What keeps the file from being written, or None."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as handle:
            handle.write(text)
        os.rename(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        return error.strerror or str(error)
    return None


def remove_state(system: System, server_run_id: str, run: str) -> None:
    """Forget the unblock of that name; another one's state stays."""
    state = read_state(system, server_run_id)
    if state is None or state.run != run:
        return
    for directory in directories():
        with contextlib.suppress(OSError):
            os.unlink(system.path(f"{directory}/{file_name(server_run_id)}"))


def forget_old_states(system: System) -> None:
    """Remove what watchers left whose server went away, a day after their deadline. Call it with the lock held."""
    for directory in directories():
        place = system.path(directory)
        if not is_trusted_directory(place):
            continue
        for name in system.list_directory(directory)[:SWEEP_LIMIT]:
            if not re.match(r"emergency-[0-9A-Za-z]+\.json\Z", name):
                continue
            state = parse_state(read_own_file(os.path.join(place, name)))
            if state is None or watcher_is_alive(system, state):
                continue
            if system.clock() - state.deadline_unix > OLD_SECONDS:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(place, name))


def parse_state(text: str | None) -> State | None:
    """The state, or None for anything that is none."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("version") != STATE_VERSION:
        return None
    texts = ("address", "server_run_id", "run", "value_before")
    numbers = ("since_unix", "deadline_unix", "last_save_unix", "watcher_pid", "watcher_started_ticks")
    if not all(isinstance(found.get(name), str) for name in texts):
        return None
    if any(not isinstance(found.get(name), (int, float)) or isinstance(found[name], bool) for name in numbers):
        return None
    # Nothing else may ever be put back.
    if found["value_before"] != "yes":
        return None
    return State(**{name: found[name] for name in State._fields})


@contextlib.contextmanager
def locked(system: System, wait_seconds: float = LOCK_WAIT_SECONDS) -> t.Iterator[None]:
    """Hold the lock of all states of this user. It ends with the process. Raises StateFailure."""
    path = os.path.join(_make_directory(system), "emergency.lock")
    give_up_at = time.monotonic() + wait_seconds
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateFailure(f"{path} can't be opened: {error.strerror}") from None
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= give_up_at:
                    raise StateFailure(f"{path} is held by another process.") from None
                time.sleep(LOCK_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)


def process_start_ticks(system: System, pid: int) -> int | None:
    """When a process started, in ticks since boot (field 22 of /proc/PID/stat); None where none runs, or a zombie."""
    status = parse_stat(system.try_read_text(f"/proc/{pid}/stat", 4096) or "")
    return None if status is None or status.state in ("Z", "X") else status.start_ticks


def watcher_is_alive(system: System, state: State) -> bool:
    """Whether the very process that was started for it still runs."""
    return state.watcher_pid > 1 and process_start_ticks(system, state.watcher_pid) == state.watcher_started_ticks


def _make_directory(system: System) -> str:
    """The first directory that can be used, made where need be. Raises StateFailure."""
    problems = []
    for directory in directories():
        place = system.path(directory)
        problem = directory_problem(place, directory)
        if problem is None:
            return place
        problems.append(f"{directory}: {problem}")
    raise StateFailure(f"There is no place for the state ({'; '.join(problems)}).")


def directory_problem(place: str, directory: str) -> str | None:
    """Make the directory where it is absent; what keeps it from being used, or None."""
    try:
        os.mkdir(place, 0o755 if directory.startswith("/run/") else 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        return error.strerror or str(error)
    if not is_trusted_directory(place):
        return "not a directory of our own"
    return None if os.access(place, os.W_OK) else "can't be written"


def is_trusted_directory(place: str) -> bool:
    """A directory (no link) of root or ourselves that nobody else can write to."""
    try:
        status = os.lstat(place)
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid in (0, os.geteuid())
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def read_own_file(path: str) -> str | None:
    """A file of root or ourselves that nobody else can write to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as handle:
        status = os.fstat(descriptor)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_uid not in (0, os.geteuid())
            or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            or status.st_size > SIZE_LIMIT_BYTES
        ):
            return None
        return handle.read(SIZE_LIMIT_BYTES).decode("utf-8", errors="replace")
