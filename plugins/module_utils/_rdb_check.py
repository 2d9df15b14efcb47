# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A dump checked with the server's own redis-check-rdb: every record is read, the checksum compared, the keys counted.

The server's program is its own check program under another name (server.c:main looks for ``redis-check-rdb`` in
``argv[0]``, Valkey also for ``valkey-check-rdb``), so it fits the file's format even where no package of tools is
installed, or one of another version. It is run only where nobody but root and ourselves could have put it there: a
container's program never is.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    CLI_DIRECTORIES,
    is_executable,
    is_trustworthy,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System, clean_text

CHECKERS = ("redis-check-rdb", "valkey-check-rdb", "keydb-check-rdb")
SCRATCH_DIRECTORIES = ("/dev/shm", "/run", "/tmp", "/var/tmp")
"""Where the private directory with the other name may be; a full root file system must not be in the way."""
TOO_NEW = re.compile(r"Can't handle RDB format version (\d+)")


class RdbCheck(t.NamedTuple):
    """``sound`` is None where nothing could check the file; ``message`` says why, or what is wrong with it."""

    sound: bool | None
    keys: int | None
    expires: int | None
    already_expired: int | None
    checker: str | None
    message: str | None


def unchecked(message: str, checker: str | None = None) -> RdbCheck:
    """Nothing is known of the file."""
    return RdbCheck(None, None, None, None, checker, message)


def check_rdb(system: System, path: str, pid: int | None, timeout_seconds: float) -> RdbCheck:
    """Check a dump.

    :param path: a file that is open here may be named as ``/proc/PID/fd/N``.
    :param pid: the server whose program is to be taken; None, or one that can't be trusted: a program of this machine.
    """
    program = own_program(system, pid)
    if program is None:
        checker = find_checker(system)
        if checker is None:
            return unchecked(
                "The server's own program can't be run here, and neither redis-check-rdb nor valkey-check-rdb is "
                "installed (package redis-tools or valkey-tools)."
            )
        return _run(system, checker, path, checker, timeout_seconds)
    with _other_name(f"/proc/{pid}/exe", checker_name(program)) as command:
        if command is None:
            return unchecked(f"No private directory could be made in any of {', '.join(SCRATCH_DIRECTORIES)}.", program)
        return _run(system, command, path, f"{program} as {checker_name(program)}", timeout_seconds)


def checker_name(program: str) -> str:
    """The name under which a server's program checks dumps."""
    name = os.path.basename(program)
    return next((checker for checker in CHECKERS if name.startswith(checker.split("-", 1)[0])), CHECKERS[0])


def own_program(system: System, pid: int | None) -> str | None:
    """The path of a server's program, where it is this machine's and may be run; else None.

    In a container, or after an upgrade, the path does not lead to the file that runs.
    """
    if pid is None:
        return None
    try:
        path = system.read_link(f"/proc/{pid}/exe")
        running = os.stat(system.path(f"/proc/{pid}/exe"))
        found = os.stat(system.path(path))
    except OSError:
        return None
    if (running.st_dev, running.st_ino) != (found.st_dev, found.st_ino) or not is_trustworthy(system, path):
        return None
    return clean_text(path)


def find_checker(system: System) -> str | None:
    """A check program in PATH or in the usual directories."""
    directories = [entry for entry in os.environ.get("PATH", "").split(":") if entry.startswith("/")]
    directories += [entry for entry in CLI_DIRECTORIES if entry not in directories]
    for name in CHECKERS:
        for directory in directories:
            path = os.path.join(directory, name)
            if is_executable(system, path):
                return path
    return None


@contextlib.contextmanager
def _other_name(program: str, name: str) -> t.Iterator[str | None]:
    """A path of another name that leads to a program; None where no directory for it could be made.

    Entered through an open descriptor: nobody can put another directory in its place meanwhile.
    """
    directory = None
    for candidate in SCRATCH_DIRECTORIES:
        with contextlib.suppress(OSError):
            directory = tempfile.mkdtemp(prefix="redisops-check-", dir=candidate)
            break
    if directory is None:
        yield None
        return
    handle = None
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.symlink(program, name, dir_fd=handle)
        yield f"/proc/{os.getpid()}/fd/{handle}/{name}"
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=handle)
            os.close(handle)
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _run(system: System, command: str, path: str, checker: str, timeout_seconds: float) -> RdbCheck:
    result = system.run([command, path], timeout_seconds=timeout_seconds)
    if result.rc == 124:
        return unchecked(f"The check was not over in {timeout_seconds:g} seconds.", checker)
    if result.rc in (126, 127):
        return unchecked(f"The check program can't be run: {clean_text(result.stderr.strip())[:300]}", checker)
    return parse_check(result.rc, result.stdout, checker)


def parse_check(rc: int, output: str, checker: str | None) -> RdbCheck:
    """What redis-check-rdb said (redis-check-rdb.c:rdbShowGenericInfo): the same lines from 3.2 to Valkey 9.1."""
    newer = TOO_NEW.search(output)
    if newer:
        return unchecked(f"{checker} is too old for the file's format {newer.group(1)}.", checker)
    keys = _count(output, r"keys read")
    sound = rc == 0 and "RDB looks OK" in output and keys is not None
    message = None
    if not sound:
        wrong = re.search(r"RDB ERROR DETECTED.*", output, re.DOTALL)
        text = wrong.group() if wrong else output
        message = clean_text(" ".join(text.split()))[:500] or f"The check program ended with {rc}."
    return RdbCheck(sound, keys, _count(output, r"expires"), _count(output, r"already expired"), checker, message)


def _count(output: str, what: str) -> int | None:
    match = re.search(rf"^\[info\] (\d+) {what}\s*$", output, re.MULTILINE)
    return int(match.group(1)) if match else None
