# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A copy of every key of a server whose own directory does not work: taken over the replication link, checked, counted.

Nothing is written to the server's disk: where its replication goes by way of it (``repl-diskless-sync no``, the default
up to 6.2), that is switched for the time of the transfer. The file has its name only when redis-check-rdb has found it
sound and it holds as many keys as the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._changes import change, rescue_file
from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    Client,
    ConnectionOptions,
    RedisFailure,
    connect,
)
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import find_pid
from ansible_collections.redisops.persistence.plugins.module_utils._info import ParsedInfo, key_count, number
from ansible_collections.redisops.persistence.plugins.module_utils._instances import resolve_targets
from ansible_collections.redisops.persistence.plugins.module_utils._interruption import (
    Interrupted,
    ignore_from_now,
    signals_raise,
)
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import (
    Outcome,
    Refused,
    changed_result,
    check_seconds,
    diff_of,
)
from ansible_collections.redisops.persistence.plugins.module_utils._rdb_check import RdbCheck, check_rdb
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import (
    ask_info,
    collect_redis,
    version_tuple,
)
from ansible_collections.redisops.persistence.plugins.module_utils._replication import (
    Bounds,
    ReplicationLink,
    Transfer,
    TransferFailed,
)
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_place import (
    Place,
    free_bytes,
    open_place,
    same_directory,
    status_below,
    why_no_name,
    why_not_writable,
)
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_writer import NewFile
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._write_pause import PauseRefused, WritePause

EVERY_KEY = "every key"
DISKLESS = "repl-diskless-sync"
DISKLESS_DEFAULT_SINCE = (7, 0)
"""The version from which the default of ``repl-diskless-sync`` is yes; all of Valkey."""

COMPRESSED_SHARE = 0.5
"""A dump of fewer bytes than this share of the dataset's memory is not counted on when the free space is judged."""

CHILD_GONE_SECONDS = 10.0
NAMES_LIMIT = 100
SAMPLE_SECONDS = 1.0


class Counts(t.NamedTuple):
    """What INFO says at one moment. ``offset`` is the replication stream's, ``changes`` those since the last save."""

    keys: int
    offset: int | None
    changes: int | None
    last_save_unix: int | None


def counts_of(parsed: ParsedInfo) -> Counts:
    """Out of INFO."""
    return Counts(
        key_count(parsed),
        _integer(parsed, "master_repl_offset"),
        _integer(parsed, "rdb_changes_since_last_save"),
        _integer(parsed, "rdb_last_save_time"),
    )


def nothing_was_written(before: Counts, after: Counts) -> bool:
    """Whether the dataset stood still. The offset does not tell: the server sends its replica PINGs meanwhile."""
    counts = [(moment.keys, moment.changes, moment.last_save_unix) for moment in (before, after)]
    return None not in counts[0] and counts[0] == counts[1]


def _integer(parsed: ParsedInfo, name: str) -> int | None:
    value = number(parsed, name)
    return None if value is None else int(value)


def empty_result(address: str) -> dict[str, t.Any]:
    """What the module returns where nothing came about."""
    return {
        "address": address,
        "path": None,
        "size_bytes": None,
        "sha256": None,
        "keys_in_file": None,
        "expires_in_file": None,
        "expired_in_file": None,
        "keys_in_server": {"before": None, "after": None},
        "complete": None,
        "consistent": None,
        "checked": False,
        "checker": None,
        "diskless": None,
        "diskless_set": False,
        "offsets": {
            "before": {"replication": None, "changes": None},
            "after": {"replication": None, "changes": None},
        },
        "writes_paused": False,
        "writes_paused_until_unix": None,
        "free_bytes_before": None,
        "seconds": None,
        "message": None,
    }


def rescue_server(parameters: t.Mapping[str, t.Any], system: System, check_mode: bool) -> Outcome:
    """What the module ``redis_rescue`` does."""
    gaps = Gaps()
    target = resolve_targets({**parameters, "instances": None, "discover": False}, system, gaps)[0]
    options = target.options or ConnectionOptions()
    work = _Rescue(parameters, options, system)
    failure = None
    try:
        with signals_raise():
            work.prepare(gaps, check_mode)
            if not check_mode:
                work.run()
    except (Refused, Interrupted) as stop:
        failure = str(stop)
    except TransferFailed as stop:
        failure = f"No copy was made: {stop.message}"
    except RedisFailure as stop:
        failure = f"The server can't be asked for a copy: {stop.message}"
    except OSError as error:
        failure = f"No copy was made: {clean_text(error.strerror or str(error))}."
    result = work.result
    changes = []
    diff = []
    if failure is None:
        what = rescue_file(clean_text(work.directory))
        changes.append(change(what, None, EVERY_KEY, reversible=False))
        diff.append(diff_of(what, None, EVERY_KEY))
    else:
        result["message"] = f"{options.address}: {failure}"
    return Outcome(
        changed_result(changes, diff, **result), result["message"] if failure else None, tuple(work.warnings)
    )


class _Rescue:
    """One copy of one server."""

    def __init__(self, parameters: t.Mapping[str, t.Any], options: ConnectionOptions, system: System) -> None:
        self._parameters = parameters
        self._options = options
        self._system = system
        self._pid: int | None = None
        self._facts: dict[str, t.Any] = {}
        self._name = ""
        self._samples: list[int] = []
        self._sampled_at = 0.0
        self.directory = os.path.normpath(str(parameters["directory"])) if parameters["directory"] else ""
        self.warnings: list[str] = []
        self.result = empty_result(options.address)

    # -- what only looks

    def prepare(self, gaps: Gaps, check_mode: bool) -> None:
        """Everything that can be judged without a change. Raises Refused."""
        system, parameters = self._system, self._parameters
        check_seconds(parameters, "idle_timeout_seconds", "transfer_timeout_seconds", "check_timeout_seconds")
        check_seconds(parameters, "pause_writes_seconds", least=0)
        self._name = self._chosen_name()
        facts = collect_redis(self._options, system, gaps)
        if facts["redis"] is None:
            raise Refused(str((facts["connection"]["error"] or {}).get("message")))
        self._facts = facts["redis"]
        self._check_server()
        self._pid = find_pid(system, self._options, self._facts)
        with open_place(system, self.directory, create=False) as place:
            self._check_place(place)
        self._plan_diskless()
        self.result["path"] = os.path.join(clean_text(self.directory), self._name) if check_mode else None
        info = self._facts["info"]
        self.result["keys_in_server"]["before"] = info.get("key_count", 0)

    def _chosen_name(self) -> str:
        name = self._parameters["name"]
        if not name:
            address = re.sub(r"[^A-Za-z0-9._-]+", "-", self._options.address).strip("-.")[:120] or "redis"
            moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._system.clock()))
            name = f"{address}-{moment}.rdb"
        reason = why_no_name(str(name))
        if reason is not None:
            raise Refused(f"name: {reason}.")
        return str(name)

    def _check_server(self) -> None:
        facts, info = self._facts, self._facts["info"]
        if facts["server"] not in ("redis", "valkey", "keydb"):
            raise Refused(f"A server of the kind {facts['server']} does not pass its dataset on as Redis does.")
        if facts["mode"] == "sentinel":
            raise Refused("A Sentinel has no dataset.")
        if info.get("loading") == 1:
            raise Refused("The server is loading its dataset; it can't be copied before it has.")
        if facts["role"] == "replica" and info.get("master_link_status") not in (None, "up"):
            raise Refused(
                "A replica passes no copy on while the link to its own master is down (NOMASTERLINK). Copy the master, "
                "or let the replica reach it first."
            )

    def _check_place(self, place: Place) -> None:
        """Rights, space, and that it is not the directory that does not work."""
        reason = why_not_writable(place.handle, self._existing_path(place))
        if reason is not None:
            raise Refused(f"directory: {reason}.")
        if not place.missing:
            if self._pid is not None and same_directory(place.handle, self._system.path(f"/proc/{self._pid}/cwd")):
                raise Refused(
                    f"{clean_text(place.path)} is the server's own data directory: a copy beside the data is lost with "
                    "it. Name a directory elsewhere, on another file system where possible."
                )
            self._name = self._free_name(place)
        free = free_bytes(self._system, place.handle)
        self.result["free_bytes_before"] = free
        reserve = int(self._parameters["minimum_free_bytes"])
        expected, source = self._expected_bytes()
        if free < expected + reserve:
            raise Refused(
                f"{clean_text(place.path)} has {free} bytes free; the copy is expected to take {expected} ({source}) "
                f"and {reserve} are to be left (minimum_free_bytes)."
            )

    def _free_name(self, place: Place) -> str:
        """The name, or where the module made it and there is one of that second, one with a number behind it."""
        if status_below(place.handle, self._name) is None:
            return self._name
        if self._parameters["name"]:
            raise Refused(f"There is a file {self._name} in {clean_text(place.path)} already.")
        stem = self._name[: -len(".rdb")]
        numbered = (f"{stem}-{number}.rdb" for number in range(2, NAMES_LIMIT))
        found = next((name for name in numbered if status_below(place.handle, name) is None), None)
        if found is None:
            raise Refused(f"There are too many files like {self._name} in {clean_text(place.path)}.")
        return found

    @staticmethod
    def _existing_path(place: Place) -> str:
        return clean_text(place.path) + (" (or what is there of it)" if place.missing else "")

    def _expected_bytes(self) -> tuple[int, str]:
        """How large the file will be at least, and where that is from."""
        if self._parameters["expected_bytes"] is not None:
            return int(self._parameters["expected_bytes"]), "expected_bytes"
        info = self._facts["info"]
        dataset = info.get("used_memory_dataset")
        if not isinstance(dataset, int):
            dataset = info.get("used_memory", 0)
        return int(dataset * COMPRESSED_SHARE), "half of the dataset's memory; expected_bytes says it better"

    def _plan_diskless(self) -> None:
        """Decide how the server is to send, and whether it can. Raises Refused."""
        setting = self._facts["config"].get(DISKLESS)
        self._set_diskless = setting == "no"
        if setting is not None:
            return
        if self._facts["server"] == "valkey" or version_tuple(self._facts["version"]) >= DISKLESS_DEFAULT_SINCE:
            self.warnings.append(f"CONFIG GET does not show {DISKLESS}; it is taken to be yes, the default.")
            return
        raise Refused(
            f"Whether the server sends its dataset by way of its disk can't be seen ({DISKLESS}), and by default it "
            f"does. {self._config_right()}"
        )

    def _config_right(self) -> str:
        user = self._options.login_user or "default"
        rights = "+config" if version_tuple(self._facts["version"]) < (7,) else "+config|get +config|set"
        return f"Let the user read and set it: ACL SETUSER {user} {rights}"

    # -- what does it

    def run(self) -> None:
        """Make the copy. Raises Refused, TransferFailed, RedisFailure, Interrupted, OSError."""
        began = time.monotonic()
        pause = self._begin_pause()
        kept = False
        try:
            with open_place(self._system, self.directory, create=True) as place:
                self._check_place(place)
                with self._new_file(place) as file:
                    self._transfer_and_check(file)
                    file.publish()
            kept = True
            self.result["path"] = os.path.join(clean_text(self.directory), self._name)
        finally:
            ignore_from_now()
            if pause is not None:
                pause.end(keep=kept)
                self.result["writes_paused"] = kept and pause.until_unix is not None
                self.result["writes_paused_until_unix"] = pause.until_unix if kept else None
            self.result["seconds"] = round(time.monotonic() - began, 3)

    def _new_file(self, place: Place) -> NewFile:
        maximum = self._parameters["maximum_bytes"]
        reserve = int(self._parameters["minimum_free_bytes"])
        try:
            return NewFile(self._system, place, self._name, reserve, None if maximum is None else int(maximum))
        except OSError as error:
            raise Refused(f"No file can be made in {clean_text(place.path)}: {error.strerror}.") from None

    def _connect(self) -> Client:
        return connect(self._options, self._system)

    def _begin_pause(self) -> WritePause | None:
        seconds = float(self._parameters["pause_writes_seconds"])
        if seconds <= 0:
            return None
        pause = WritePause(self._connect, seconds, self._system.clock)
        try:
            pause.begin()
        except PauseRefused as refusal:
            self.warnings.append(f"Writes are not held back: {refusal}.")
            return None
        return pause

    def _transfer_and_check(self, file: NewFile) -> None:
        client = self._connect()
        try:
            before = counts_of(ask_info(client))
            self._note_counts("before", before)
            with self._diskless(client):
                transfer = self._transfer(client, file)
            file.flush()
            self.result.update(size_bytes=file.size_bytes, sha256=file.sha256, diskless=transfer.framing == "eof")
            after = counts_of(self._after_the_child(client))
            self._note_counts("after", after)
        finally:
            client.close()
        self.result["consistent"] = nothing_was_written(before, after)
        check = check_rdb(self._system, file.path, self._pid, float(self._parameters["check_timeout_seconds"]))
        self._judge(check, transfer)

    def _transfer(self, client: Client, file: NewFile) -> Transfer:
        bounds = Bounds(
            float(self._parameters["idle_timeout_seconds"]), float(self._parameters["transfer_timeout_seconds"])
        )

        def sample() -> None:
            """The count of keys while the server prepares and sends: where writes run, it moves."""
            now = time.monotonic()
            if now - self._sampled_at >= SAMPLE_SECONDS:
                self._sampled_at = now
                with contextlib.suppress(RedisFailure):
                    self._samples.append(key_count(ask_info(client)))

        self._sampled_at = time.monotonic()
        with ReplicationLink(self._options, bounds, sample) as link:
            return link.fetch(file.write)

    @contextlib.contextmanager
    def _diskless(self, client: Client) -> t.Iterator[None]:
        """Sending without the server's disk, for as long as this lasts."""
        if not self._set_diskless:
            yield
            return
        try:
            client.command("CONFIG", "SET", DISKLESS, "yes")
        except RedisFailure as failure:
            self._go_by_disk(failure)
            yield
            return
        self.result["diskless_set"] = True
        try:
            yield
        finally:
            self._put_back_diskless()

    def _go_by_disk(self, failure: RedisFailure) -> None:
        """The server's disk is good enough where its last save worked; else the transfer would fail like the saves."""
        if self._facts["info"].get("rdb_last_bgsave_status") != "ok":
            raise Refused(
                f"The server sends its dataset by way of its disk ({DISKLESS} no), where its saves fail, and that "
                f"can't be switched: {failure.message}. {self._config_right()}"
            ) from None
        self.warnings.append(
            f"The server sends its dataset by way of its own directory ({DISKLESS} no, and it can't be switched: "
            f"{failure.message}): the transfer is a save there."
        )

    def _put_back_diskless(self) -> None:
        """Over a new connection: the old one may have died with what went wrong."""
        try:
            client = self._connect()
            try:
                client.command("CONFIG", "SET", DISKLESS, "no")
            finally:
                client.close()
        except RedisFailure as failure:
            self.warnings.append(
                f"{DISKLESS} was set to yes for the transfer and could not be put back ({failure.message}). Type: "
                f"CONFIG SET {DISKLESS} no. A server that was restarted meanwhile has its old value."
            )

    def _after_the_child(self, client: Client) -> ParsedInfo:
        """INFO once the child that sent the dataset is gone: a save that is asked for before would be refused."""
        give_up_at = time.monotonic() + CHILD_GONE_SECONDS
        while True:
            parsed = ask_info(client)
            if number(parsed, "rdb_bgsave_in_progress") != 1 or time.monotonic() >= give_up_at:
                return parsed
            time.sleep(0.1)

    def _note_counts(self, moment: str, counts: Counts) -> None:
        self.result["keys_in_server"][moment] = counts.keys
        self.result["offsets"][moment] = {"replication": counts.offset, "changes": counts.changes}
        self._samples.append(counts.keys)

    def _judge(self, check: RdbCheck, transfer: Transfer) -> None:
        """Whether the file holds every key. Raises Refused."""
        self.result.update(
            keys_in_file=check.keys,
            expires_in_file=check.expires,
            expired_in_file=check.already_expired,
            checked=check.sound is not None,
            checker=check.checker,
        )
        if check.sound is None:
            if self._parameters["require_check"]:
                raise Refused(f"The copy could not be checked, and was thrown away: {check.message}")
            self.warnings.append(f"The copy was not checked, and its keys were not counted: {check.message}")
            self.result["message"] = f"{transfer.size_bytes} bytes were copied, and nothing checked them."
            return
        if not check.sound or check.keys is None:
            self.result["complete"] = False
            raise Refused(f"The copy is damaged, and was thrown away: {check.message}")
        least, most = min(self._samples), max(self._samples)
        self.result["complete"] = least <= check.keys <= most
        if not self.result["complete"]:
            raise Refused(
                f"The copy holds {check.keys} keys and the server {least} to {most} meanwhile; it was thrown away. "
                "Where many keys come and go, hold writes back for it (pause_writes_seconds)."
            )
        ran = "" if self.result["consistent"] else " Writes ran meanwhile: it is the dataset of one moment among them."
        self.result["message"] = f"Every key is in the copy ({check.keys})." + ran
