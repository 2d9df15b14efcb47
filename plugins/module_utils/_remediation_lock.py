# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One remediation of a host at a time: a lock that names its holder, and that a crash does not leave behind for ever.

A lock is a small file. It lies in memory or in /run, because a host in trouble may have no other writable place, and
where nobody but root (or the very user) can make it, hold it up or write into it. What is read in it decides only after
the file's owner was checked. Whoever changes it holds flock(2) on it, so that of two at once one waits and then reads
what the other wrote.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._system import System

LEASE_SECONDS = 3600
LEASE_LIMIT_SECONDS = 7 * 86400
CONTENT_LIMIT_BYTES = 8192
TEXT_LIMIT = 256
# For another process that reads and writes a few hundred bytes.
WAIT_SECONDS = 5.0
WAIT_STEP_SECONDS = 0.05

RUN_DIRECTORY = "/run/redisops-persistence"
MEMORY_DIRECTORY = "/dev/shm"

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

# {key: type}: what a lock file says, and what is returned of it.
FIELDS: dict[str, type] = {
    "run_id": str,
    "operator": str,
    "control_host": str,
    "control_identity": str,
    "control_pid": int,
    "control_started": str,
    "since_unix": float,
    "expires_unix": float,
}

Holder = dict[str, t.Any]


class LockError(Exception):
    """The lock could not be had, looked at or given back. ``result`` is the module's result."""

    def __init__(self, message: str, result: dict[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


class Clock(t.NamedTuple):
    """Now: since the epoch, since the boot (it goes on while the host sleeps and nobody can set it), and which boot."""

    unix: float
    since_boot: float
    boot_id: str


def argument_spec() -> dict[str, t.Any]:
    """The options of remediation_lock."""
    return {
        "state": {"type": "str", "default": "acquired", "choices": ["acquired", "released"]},
        "run_id": {"type": "str", "required": True},
        "operator": {"type": "str"},
        "lease_seconds": {"type": "int", "default": LEASE_SECONDS},
        "control_host": {"type": "str"},
        "control_identity": {"type": "str"},
        "control_pid": {"type": "int"},
        "control_started": {"type": "str"},
        "take_over_from": {"type": "str"},
    }


def run_lock(options: dict[str, t.Any], system: System, check_mode: bool) -> dict[str, t.Any]:
    """Take, prolong or give back the lock; in check mode look who has it. Raises LockError.

    :return: the module's result, and ``warnings``.
    """
    for name in ("run_id", "take_over_from"):
        if options[name] is not None and not _SAFE_ID.fullmatch(options[name]):
            raise LockError(f"{name} {options[name]!r} is not made of letters, digits, dots, colons, - and _ alone.")
    if not 1 <= options["lease_seconds"] <= LEASE_LIMIT_SECONDS:
        raise LockError(f"lease_seconds is {options['lease_seconds']}: give 1 to {LEASE_LIMIT_SECONDS}.")
    lock = Lock(system, options)
    try:
        if options["state"] == "released":
            return lock.release(check_mode)
        return lock.acquire(check_mode)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise LockError(f"The lock can't be used: {where}{error.strerror or error}.", lock.result(False)) from None


def describe_holder(host: str, holder: Holder, path: str | None) -> str:
    """Who remediates a host, and what can be done about it."""
    since = _moment(holder["since_unix"])
    until = _moment(holder["expires_unix"])
    by = holder["operator"] or holder["control_host"] or "somebody"
    return (
        f"{host} is being remediated by {by} since {since} (run {holder['run_id'] or 'unknown'}); wait for it, or for "
        f"the end of its lease at {until}. Where you know that the run is no more, remove {path or 'its lock'} there."
    )


def _moment(unix: float | None) -> str:
    if unix is None:
        return "an unknown time"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix))
    except (OverflowError, ValueError, OSError):
        return "an unknown time"


def parse_content(content: bytes) -> Holder | None:
    """What a lock file says: the holder, with ``lease`` and ``taken_from``; None for an empty file: nobody holds it.

    What can't be read as a holder is one whose fields are None: somebody has it, and nobody knows who.
    """
    line = content.split(b"\n", 1)[0]
    if not line.strip(b"\0 "):
        return None
    try:
        document = json.loads(line.decode("utf-8"))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    holder: Holder = {name: _typed(document.get(name), kind) for name, kind in FIELDS.items()}
    holder["taken_from"] = _typed(document.get("taken_from"), str)
    lease = document.get("lease")
    lease = lease if isinstance(lease, dict) else {}
    holder["lease"] = {
        "boot_id": _typed(lease.get("boot_id"), str),
        "ends_since_boot": _typed(lease.get("ends_since_boot"), float),
    }
    return holder


def _typed(value: t.Any, kind: type) -> t.Any:
    """A value of that type; text without what could move a terminal's cursor. None for any other."""
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return clean_label(value)
    return None


def clean_label(text: str) -> str:
    """A line of text that can be shown to somebody else."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:TEXT_LIMIT]


def is_expired(holder: Holder, written_unix: float, clock: Clock) -> bool:
    """Whether a lease is over. A clock that was set meanwhile neither ends nor prolongs it within one boot.

    :param written_unix: when the file was last written, for one that can't be read.
    """
    lease = holder["lease"]
    if lease["boot_id"] == clock.boot_id and lease["ends_since_boot"] is not None:
        return bool(lease["ends_since_boot"] <= clock.since_boot)
    ends = holder["expires_unix"]
    return bool((written_unix + LEASE_SECONDS if ends is None else ends) <= clock.unix)


def is_same_run(holder: Holder, options: dict[str, t.Any]) -> bool:
    """Whether the holder is this very run. Two containers may count the same pids in the same second."""
    if holder["run_id"] != options["run_id"]:
        return False
    known = (holder["control_identity"], options["control_identity"])
    return None in known or known[0] == known[1]


class _Found(t.NamedTuple):
    """A lock file that may be believed."""

    path: str
    holder: Holder
    expired: bool


class Lock:
    """The lock of one host.

    :param uid: whose; root's is one for the machine.
    """

    def __init__(self, system: System, options: dict[str, t.Any], uid: int | None = None) -> None:
        self.system = system
        self.options = options
        self.uid = os.geteuid() if uid is None else uid
        self.taken_over: Holder | None = None
        self.warnings: list[str] = []
        self.path: str | None = None
        self.holder: Holder | None = None

    def places(self) -> list[str]:
        """Where the lock may lie, the better one first."""
        memory = self.system.path(f"{MEMORY_DIRECTORY}/redisops-persistence-{self.uid}.lock")
        if self.uid != 0:
            return [memory]
        return [self.system.path(f"{RUN_DIRECTORY}/lock"), memory]

    def clock(self) -> Clock:
        """Now."""
        boot_id = (self.system.try_read_text("/proc/sys/kernel/random/boot_id") or "").strip()
        return Clock(self.system.clock(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id)

    def result(self, acquired: bool) -> dict[str, t.Any]:
        """The module's result."""
        holder = self.holder
        taken_over = self.taken_over
        return {
            "changed": False,
            "changes": [],
            "diff": [],
            "acquired": acquired,
            "lock_file": self.path,
            "holder": None if holder is None else {name: holder[name] for name in FIELDS},
            "taken_over": None if taken_over is None else {name: taken_over[name] for name in FIELDS},
        }

    # -- to take it

    def acquire(self, check_mode: bool) -> dict[str, t.Any]:
        """Take or prolong it. Raises LockError where somebody else has it, OSError where there is no place for it."""
        found = self._look()
        self._refuse_if_held(found)
        if check_mode:
            self.path, self.holder = (found[0].path, found[0].holder) if found else (None, None)
            return {**self.result(False), "warnings": self.warnings}
        # What may be taken over is taken where it lies: nothing of it stays behind.
        taken = sorted(found, key=lambda entry: not is_same_run(entry.holder, self.options))
        failure: OSError | None = None
        for path in dict.fromkeys([*(entry.path for entry in taken), *self.places()]):
            try:
                self._write(path)
            except OSError as error:
                failure = failure or error
                continue
            self.path = path
            self._give_way(path)
            return {**self.result(True), "warnings": self.warnings}
        raise failure or OSError(errno.ENOENT, "there is no place for it")

    def _look(self) -> list[_Found]:
        """The locks that are there, whoever has them."""
        found = []
        for path in self.places():
            opened = self._open(path, os.O_RDONLY)
            if opened is None:
                continue
            try:
                entry = self._read(path, opened)
            finally:
                os.close(opened)
            if entry is not None:
                found.append(entry)
        return found

    def _read(self, path: str, opened: int) -> _Found | None:
        holder = parse_content(os.pread(opened, CONTENT_LIMIT_BYTES, 0))
        status = os.fstat(opened)
        # Another name of some file of ours, that somebody has put there, is no lock.
        if holder is None or (holder["run_id"] is None and status.st_nlink != 1):
            return None
        return _Found(path, holder, is_expired(holder, status.st_mtime, self.clock()))

    def _refuse_if_held(self, found: t.Iterable[_Found]) -> None:
        for entry in found:
            if self._is_free(entry):
                continue
            self.path, self.holder = entry.path, entry.holder
            raise LockError(describe_holder("This host", entry.holder, entry.path), self.result(False))

    def _is_free(self, entry: _Found) -> bool:
        """Whether it may be taken: it is ours, its time is over, or whoever asks knows that its run is no more."""
        told = self.options["take_over_from"]
        return (
            is_same_run(entry.holder, self.options)
            or entry.expired
            or (told is not None and entry.holder["run_id"] == told)
        )

    def _write(self, path: str) -> None:
        """Write ourselves into a lock file, unless somebody else did since. Raises LockError and OSError."""
        opened = self._open_locked(path)
        try:
            entry = self._read(path, opened)
            since_unix, taken_from = self.clock().unix, None
            if entry is not None:
                self._refuse_if_held([entry])
                if is_same_run(entry.holder, self.options):
                    since_unix = entry.holder["since_unix"] or since_unix
                    taken_from = entry.holder["taken_from"]
                else:
                    taken_from = entry.holder["run_id"]
                    self._note_takeover(entry)
            content = self._content(since_unix, taken_from)
            try:
                if os.pwrite(opened, content, 0) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                os.ftruncate(opened, len(content))
            except OSError:
                # No room for it: an empty file would be nobody's, and half a one somebody's.
                os.unlink(path)
                raise
        finally:
            os.close(opened)
        self.holder = parse_content(content)

    def _note_takeover(self, entry: _Found) -> None:
        self.taken_over = entry.holder
        why = "its lease is over" if entry.expired else "its run is no more"
        by = entry.holder["operator"] or "somebody"
        self.warnings.append(
            f"The lock of {by} since {_moment(entry.holder['since_unix'])} (run {entry.holder['run_id'] or 'unknown'}) "
            f"was taken over: {why}. What that run has changed is in its own record."
        )

    def _content(self, since_unix: float, taken_from: str | None) -> bytes:
        clock = self.clock()
        lease_seconds = self.options["lease_seconds"]
        document: dict[str, t.Any] = {name: _typed(self.options.get(name), kind) for name, kind in FIELDS.items()}
        document["since_unix"] = round(since_unix, 3)
        document["expires_unix"] = round(clock.unix + lease_seconds, 3)
        document["taken_from"] = taken_from
        document["lease"] = {
            "boot_id": clock.boot_id,
            "ends_since_boot": round(clock.since_boot + lease_seconds, 3),
        }
        return json.dumps(document).encode() + b"\n"

    def _give_way(self, written: str) -> None:
        """Where somebody took the other place meanwhile: both look after they wrote, so at least one sees the other."""
        for entry in self._look():
            if entry.path == written or self._is_free(entry):
                continue
            self._remove_own(written)
            self._refuse_if_held([entry])

    # -- to give it back

    def release(self, check_mode: bool) -> dict[str, t.Any]:
        """Give it back. Somebody else's is left alone; a run that was refused gives back what it never had."""
        for entry in self._look():
            if is_same_run(entry.holder, self.options):
                self.path = entry.path
                if not check_mode:
                    self._remove_own(entry.path)
            elif not entry.expired:
                self.path, self.holder = entry.path, entry.holder
                if entry.holder["taken_from"] == self.options["run_id"]:
                    self.warnings.append(
                        "The lock was taken from this run, whose lease was over. "
                        + describe_holder("This host", entry.holder, entry.path)
                    )
        return {**self.result(False), "warnings": self.warnings}

    def _remove_own(self, path: str) -> None:
        opened = self._open(path, os.O_RDONLY)
        if opened is None:
            return
        try:
            self._wait_for(opened, path)
            entry = self._read(path, opened)
            if entry is not None and self._is_current(opened, path) and is_same_run(entry.holder, self.options):
                os.unlink(path)
        finally:
            os.close(opened)

    # -- the file

    def _open(self, path: str, flags: int) -> int | None:
        """Open a lock file that may be believed; None where there is none. Raises OSError."""
        if not self._directory_is_safe(path):
            return None
        try:
            opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            # A link, a directory, somebody else's file or a place that is not there: nobody's lock.
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.EACCES, errno.ENOTDIR, errno.ENXIO):
                return None
            raise
        status = os.fstat(opened)
        is_own = stat.S_ISREG(status.st_mode) and status.st_uid == self.uid
        # A file with a second name is never written into: it is something else's too.
        if is_own and (flags == os.O_RDONLY or status.st_nlink == 1):
            return opened
        os.close(opened)
        return None

    def _directory_is_safe(self, path: str) -> bool:
        """Whether nobody else could put a file into its place: a directory of ours, or a sticky one as /dev/shm is."""
        try:
            status = os.lstat(os.path.dirname(path))
        except OSError:
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, self.uid):
            return False
        return not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX)

    def _open_locked(self, path: str) -> int:
        """Our lock file, made where it is missing, with flock(2) held on it. Raises OSError."""
        self._make_directory(os.path.dirname(path))
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            opened = self._open(path, os.O_RDWR)
            if opened is None:
                opened = self._create(path)
            if opened is not None:
                try:
                    self._wait_for(opened, path)
                    # It may have been given back, and its file removed, while we waited.
                    if self._is_current(opened, path):
                        return opened
                except BaseException:
                    os.close(opened)
                    raise
                os.close(opened)
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            time.sleep(WAIT_STEP_SECONDS)

    def _make_directory(self, directory: str) -> None:
        if os.path.basename(directory) == os.path.basename(RUN_DIRECTORY):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        if not self._directory_is_safe(os.path.join(directory, "lock")):
            raise OSError(errno.EPERM, "the directory is not there, or others may put files in it", directory)

    def _create(self, path: str) -> int | None:
        """A new lock file; None where somebody made one meanwhile. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileExistsError:
            self._remove_intruder(path)
            return None

    def _remove_intruder(self, path: str) -> None:
        """Take away what others left under our name; root alone may. Raises OSError."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISREG(status.st_mode) and status.st_uid == self.uid and status.st_nlink == 1:
            return
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)

    @staticmethod
    def _wait_for(opened: int, path: str) -> None:
        """Hold flock(2), for which others wait as well. Raises OSError (EBUSY) where it takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path) from None
                time.sleep(WAIT_STEP_SECONDS)
            else:
                return

    @staticmethod
    def _is_current(opened: int, path: str) -> bool:
        try:
            now = os.lstat(path)
        except FileNotFoundError:
            return False
        then = os.fstat(opened)
        return (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino)
