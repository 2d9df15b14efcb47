# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A server restarted into a rescued file, and never without one that holds every key.

The order is what keeps the data safe. First everything is looked at that can be. Then the file is checked again, and
copied beside the place where the server will look for it. Then writes are held back, and only where nothing was written
since the file was made does it get its name. From the moment in which the server is told to stop the file is in place:
whatever happens next, a start loads every key.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shlex
import stat
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils import _forbidden_places
from ansible_collections.redisops.persistence.plugins.module_utils._changes import (
    Change,
    change,
    dump_in_place,
    service,
)
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
from ansible_collections.redisops.persistence.plugins.module_utils._next_start import (
    check_keys_will_be_served,
    settings_of_next_start,
)
from ansible_collections.redisops.persistence.plugins.module_utils._proc_text import field_integers, parse_fields
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import why_not_the_same
from ansible_collections.redisops.persistence.plugins.module_utils._rdb_check import check_rdb
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import (
    ask_info,
    collect_redis,
    pairs_of,
    version_tuple,
)
from ansible_collections.redisops.persistence.plugins.module_utils._replication import TransferFailed
from ansible_collections.redisops.persistence.plugins.module_utils._rescue import counts_of
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_place import (
    Place,
    open_place,
    status_below,
    why_no_name,
    why_not_writable,
)
from ansible_collections.redisops.persistence.plugins.module_utils._rescue_writer import NewFile, copy_bytes, hash_of
from ansible_collections.redisops.persistence.plugins.module_utils._service import (
    UNIT_NAME,
    Service,
    ServiceError,
    main_pid,
    stop_seconds,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text
from ansible_collections.redisops.persistence.plugins.module_utils._write_pause import PauseRefused, WritePause

RESCUED = "rescued file"
KEPT_BESIDE = "kept beside"
ABSENT = "absent"

PAUSE_SECONDS = 30.0
"""How long writes stay held back by themselves where this module dies."""
CHILD_SECONDS = 60.0
STOP_LIMIT_SECONDS = 600.0
POLL_SECONDS = 0.2
SETTLED_POLLS = 10
"""So many polls in a row without a process, and systemd has given the server up."""
DEFAULT_MODE = 0o640
DUMP_RESERVE_BYTES = 1024 * 1024
STOP_SETTING = "shutdown-on-sigterm"
"""7.0+: what SIGTERM does; ``save`` there saves also without save points."""


class StoppedMidway(Exception):
    """The server was told to stop, and does not serve every key again; ``str`` says what is known."""


def empty_result(address: str) -> dict[str, t.Any]:
    """What the module returns where nothing was done."""
    return {
        "address": address,
        "stage": "looked",
        "keys_before": None,
        "keys_after": None,
        "keys_expired": None,
        "dump": None,
        "previous_dump": None,
        "pid": None,
        "seconds": None,
        "commands": [],
        "message": None,
    }


def restart_server(parameters: t.Mapping[str, t.Any], system: System, check_mode: bool) -> Outcome:
    """What the module ``redis_restart`` does."""
    gaps = Gaps()
    target = resolve_targets({**parameters, "instances": None, "discover": False}, system, gaps)[0]
    options = target.options or ConnectionOptions()
    work = _Restart(parameters, options, system)
    failure = None
    try:
        with signals_raise():
            work.prepare(gaps, check_mode)
            if not check_mode:
                work.run()
    except (Refused, Interrupted, ServiceError, StoppedMidway) as stop:
        failure = str(stop)
    except TransferFailed as stop:
        failure = stop.message
    except RedisFailure as stop:
        failure = f"The server does not answer: {stop.message}"
    except OSError as error:
        failure = clean_text(str(error))
    changes = work.changes
    if check_mode and failure is None:
        changes = work.predicted_changes()
    result = work.result
    if failure is not None:
        work.explain(failure, check_mode)
        if not check_mode:
            work.let_writes_through()
    diff = [diff_of(entry["what"], entry["before"], entry["after"]) for entry in changes]
    return Outcome(
        changed_result(changes, diff, **result),
        result["message"] if failure is not None else None,
        tuple(work.warnings),
    )


class _Restart:
    """One restart of one server."""

    def __init__(self, parameters: t.Mapping[str, t.Any], options: ConnectionOptions, system: System) -> None:
        self._parameters = parameters
        self._options = options
        self._system = system
        self._service = Service(system, str(parameters["unit"] or ""))
        self._unit: dict[str, str] = {}
        self._facts: dict[str, t.Any] = {}
        self._pid = int(parameters["pid"])
        self._run_id = ""
        self._is_ours = False
        self._expires = 0
        self._new_owner = (0, 0)
        self._old_name: str | None = None
        self._settings_before: dict[str, str] = {}
        self.directory = posixpath.normpath(str(parameters["directory"]))
        self.name = str(parameters["dump_name"])
        self.dump = posixpath.join(self.directory, self.name)
        self.changes: list[Change] = []
        self.warnings: list[str] = []
        self.result = empty_result(options.address)

    # -- what only looks

    def prepare(self, gaps: Gaps, check_mode: bool) -> None:
        """Everything that can be judged beforehand. Raises Refused, ServiceError."""
        check_seconds(self._parameters, "stop_timeout_seconds", "wait_seconds", "check_timeout_seconds")
        self._check_process()
        facts = collect_redis(self._options, self._system, gaps)
        if facts["redis"] is None:
            raise Refused(str((facts["connection"]["error"] or {}).get("message")))
        self._facts = facts["redis"]
        found = find_pid(self._system, self._options, self._facts)
        if found != self._pid:
            raise Refused(
                f"The server at {self._options.address} is process {found or 'unknown'}, not process {self._pid}."
            )
        self._is_ours = True
        self._check_unit()
        self._check_target()
        self._check_server()
        self._check_what_will_be_loaded()
        self.result["keys_before"] = self._facts["info"].get("key_count", 0)
        self.result["dump"] = clean_text(self.dump)
        with open_place(self._system, self.directory, create=False) as place:
            self._check_place(place, check_mode)
        if not check_mode:
            self._check_numbers_given()
        self._warn_of_others()

    def _check_process(self) -> None:
        started = self._parameters["started_unix"]
        reason = why_not_the_same(self._system, self._pid, None if started is None else float(started))
        if reason is not None:
            raise Refused(f"{reason}.")

    def _check_unit(self) -> None:
        unit = self._service.unit
        if not unit:
            raise Refused(
                "No systemd unit is known for the server. How another manager (a container engine, a supervisor, a "
                "shell) restarts it, and into which directory, is not known here: restart it there, with the rescued "
                "file in place."
            )
        if not UNIT_NAME.fullmatch(unit):
            raise Refused(f"{clean_text(unit)!r} is not the name of a systemd service.")
        self._unit = self._service.show()
        if self._unit.get("LoadState") != "loaded":
            raise Refused(f"systemd has no unit {unit} (LoadState {self._unit.get('LoadState')}).")
        if main_pid(self._unit) != self._pid:
            raise Refused(
                f"{unit} does not run the server: its main process is {main_pid(self._unit) or 'none'}, "
                f"the server's is {self._pid}."
            )
        if self._unit.get("RootDirectory") or self._unit.get("RootImage"):
            raise Refused(f"{unit} runs in a root directory of its own; where its dump is on this host is not known.")
        link = self._system.path(f"/proc/{self._pid}/root")
        if not os.path.samefile(link, self._system.path("/")):
            raise Refused("The server runs in a root directory of its own (a container, or chroot).")

    def _check_target(self) -> None:
        reason = why_no_name(self.name)
        if reason is not None:
            raise Refused(f"dump_name: {reason}.")
        what = _forbidden_places.why_forbidden(self.directory)
        if what is not None:
            raise Refused(f"directory: {clean_text(self.directory)} is {what}; no dump is put there.")
        allowed = self._parameters["allowed_dirs"]
        if allowed is None:
            return
        wrong = [problem for problem in map(_forbidden_places.check_pattern, allowed) if problem]
        if wrong:
            raise Refused(f"allowed_dirs: {'; '.join(wrong)}.")
        if not _forbidden_places.is_allowed(self.directory, allowed):
            raise Refused(f"directory: {clean_text(self.directory)} is not among the allowed directories.")

    def _check_server(self) -> None:
        facts, info = self._facts, self._facts["info"]
        if facts["server"] not in ("redis", "valkey", "keydb") or facts["mode"] == "sentinel":
            raise Refused(f"This is no Redis or Valkey server with a dataset ({facts['server']}, {facts['mode']}).")
        if info.get("loading") == 1:
            raise Refused("The server is loading its dataset.")
        if facts["role"] == "replica":
            raise Refused(
                "The server is a replica: after a restart it gets every key from its master again, and a file put in "
                "place would be overwritten by them. Restart it by the usual way while its master is up."
            )
        if facts["config_state"] not in ("ok", "partial") or "save" not in facts["config"]:
            user = self._options.login_user or "default"
            raise Refused(
                "The save points can't be read, so that a stop could not be kept from saving over the file: "
                f"ACL SETUSER {user} +config|get +config|set"
            )

    def _check_what_will_be_loaded(self) -> None:
        """Which file the restarted server will load: decided beforehand, or there is no restart."""
        if self._facts["info"].get("aof_enabled") == 1 or self._facts["config"].get("appendonly") == "yes":
            raise Refused(
                "The server keeps an append-only file, and would load that one, not the rescued file. Its data is in "
                "the AOF where that can still be written (aof_last_write_status); with the AOF switched off in its "
                "configuration file and at run time (CONFIG SET appendonly no) it can be restarted into the rescue."
            )
        settings = settings_of_next_start(self._system, self._pid, self._unit, self._facts["config_file"])
        if settings.get("appendonly", "no") == "yes":
            raise Refused(
                "The configuration file says appendonly yes: after a restart the server would load the append-only "
                "file, not the rescued one."
            )
        directory = settings.get("dir")
        if directory is None or not directory.startswith("/"):
            raise Refused(
                "Which directory the restarted server will use is not known: neither its configuration file nor its "
                f"command line names one with an absolute path (dir: {directory})."
            )
        if not self._is_target(directory):
            raise Refused(
                f"The restarted server will use {clean_text(directory)} (dir), not {clean_text(self.directory)}."
            )
        name = settings.get("dbfilename", "dump.rdb")
        if name != self.name:
            raise Refused(f"The restarted server will load {clean_text(name)} (dbfilename), not {self.name}.")
        check_keys_will_be_served(self._system, self._pid, settings, self._facts, self.directory)

    def _is_target(self, directory: str) -> bool:
        if posixpath.normpath(directory) == self.directory:
            return True
        with contextlib.suppress(OSError):
            return os.path.samefile(self._system.path(directory), self._system.path(self.directory))
        return False

    def _check_place(self, place: Place, check_mode: bool) -> None:
        if place.missing:
            if check_mode:
                return
            raise Refused(f"{clean_text(self.directory)} is not there: make it first (redis_data_directory).")
        reason = why_not_writable(place.handle, place.path)
        if reason is not None:
            raise Refused(f"directory: {reason}.")
        status = status_below(place.handle, self.name)
        if status is None:
            return
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{clean_text(self.dump)} is not a plain file; what it is has to be found out first.")
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._system.clock()))
        self._old_name = f"{self.name}.before-{moment}"
        if status_below(place.handle, self._old_name) is not None:
            raise Refused(f"There is a file {self._old_name} already.")

    def _check_numbers_given(self) -> None:
        missing = [
            name
            for name in ("rescue_file", "rescue_sha256", "rescue_keys", "rescue_changes")
            if self._parameters[name] in (None, "")
        ]
        if missing:
            raise Refused(f"Without {', '.join(missing)} nothing proves that the file holds every key.")

    def _warn_of_others(self) -> None:
        info = self._facts["info"]
        replicas = info.get("connected_slaves") or 0
        if replicas:
            self.warnings.append(
                f"{replicas} replicas are connected: they copy the whole dataset again where they can't go on "
                "from where they were."
            )
        if info.get("cluster_enabled") == 1:
            self.warnings.append(
                "The server is a node of a cluster: one of its replicas takes over where it is away for longer than "
                "cluster-node-timeout, and it then gives up its own data for theirs."
            )
        if self._sentinels():
            self.warnings.append(
                "A Sentinel watches the server: where it is away for longer than down-after-milliseconds a replica "
                "takes over, and this server then gives up its own data for the replica's."
            )

    def _sentinels(self) -> bool:
        """Sentinels name their connections (sentinel.c:sentinelSetClientName). Unknown counts as none."""
        try:
            client = self._connect()
            try:
                return " name=sentinel-" in str(client.command("CLIENT", "LIST"))
            finally:
                client.close()
        except RedisFailure:
            return False

    def predicted_changes(self) -> list[Change]:
        """What a real run changes."""
        before = KEPT_BESIDE if self._old_name is not None else ABSENT
        return [
            change(dump_in_place(clean_text(self.dump)), before, RESCUED, reversible=False),
            change(service(self._service.unit), "running", "restarted", reversible=False),
        ]

    # -- what does it

    def _connect(self) -> Client:
        return connect(self._options, self._system)

    def run(self) -> None:
        """Restart. Raises Refused, ServiceError, TransferFailed, RedisFailure, StoppedMidway, Interrupted, OSError."""
        rescue = self._open_rescue()
        try:
            self._check_rescue(rescue)
            with open_place(self._system, self.directory, create=False) as place:
                self._check_place(place, False)
                with self._copy(rescue, place) as file:
                    self._with_writes_held(place, file)
        finally:
            os.close(rescue)

    def _open_rescue(self) -> int:
        path = str(self._parameters["rescue_file"])
        if not path.startswith("/"):
            raise Refused("rescue_file is no absolute path.")
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"The rescued file {clean_text(path)} can't be opened: {error.strerror}.") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Refused(f"{clean_text(path)} is not a plain file.")
        return handle

    def _check_rescue(self, rescue: int) -> None:
        """The same bytes as were checked, sound, and with as many keys."""
        path = clean_text(str(self._parameters["rescue_file"]))
        digest, _size = hash_of(rescue)
        if digest != str(self._parameters["rescue_sha256"]).lower():
            raise Refused(f"{path} is not the file that was checked: its SHA-256 is {digest}.")
        check = check_rdb(
            self._system,
            f"/proc/{os.getpid()}/fd/{rescue}",
            self._pid,
            float(self._parameters["check_timeout_seconds"]),
        )
        if not check.sound:
            raise Refused(f"{path} could not be checked, or is damaged: {check.message}")
        if check.keys != int(self._parameters["rescue_keys"]):
            raise Refused(f"{path} holds {check.keys} keys, not {self._parameters['rescue_keys']}.")
        self._expires = check.expires or 0
        self.result["stage"] = "checked"

    def _copy(self, rescue: int, place: Place) -> NewFile:
        """The rescued file beside its place, without a name."""
        uid, gid = self._new_owner = self._owner()
        mode = DEFAULT_MODE
        old = status_below(place.handle, self.name)
        if old is not None:
            mode = stat.S_IMODE(old.st_mode) & 0o664 | 0o600
        file = NewFile(self._system, place, f"{self.name}.rescued", DUMP_RESERVE_BYTES, None)
        try:
            copy_bytes(rescue, file.write)
            if file.sha256 != str(self._parameters["rescue_sha256"]).lower():
                raise Refused("The rescued file was changed while it was copied.")
            os.fchown(file.handle, uid, gid)
            os.fchmod(file.handle, mode)
            file.flush()
        except BaseException:
            file.close()
            raise
        return file

    def _owner(self) -> tuple[int, int]:
        status = parse_fields(self._system.try_read_text(f"/proc/{self._pid}/status") or "")
        ids = []
        for option, name in (("uid", "Uid"), ("gid", "Gid")):
            given = self._parameters[option]
            numbers = field_integers(status, name)
            if given is None and len(numbers) < 2:
                raise Refused(f"The server's {option} is not known.")
            ids.append(int(given) if given is not None else numbers[1])
        return ids[0], ids[1]

    def _with_writes_held(self, place: Place, file: NewFile) -> None:
        pause = WritePause(self._connect, PAUSE_SECONDS, self._system.clock)
        try:
            pause.begin()
        except PauseRefused as refusal:
            raise Refused(f"Nothing keeps keys from being written until the stop: {refusal}.") from None
        stopped = False
        try:
            client = self._connect()
            try:
                self._compare(client)
                self._silence_saves(client)
                self._put_in_place(place, file)
            finally:
                client.close()
            began = time.monotonic()
            self._order_restart()
            self._await_stop()
            stopped = True
            pause.abandon()
            self._await_start(began)
        finally:
            if not stopped:
                self._undo(place, pause)

    def _compare(self, client: Client) -> None:
        """Nothing written since the file was made, or there is no restart. Raises Refused."""
        give_up_at = time.monotonic() + CHILD_SECONDS
        while True:
            parsed = ask_info(client)
            if number(parsed, "rdb_bgsave_in_progress") != 1:
                break
            if time.monotonic() >= give_up_at:
                raise Refused("A save is running that could overwrite the file; run again when it is over.")
            time.sleep(POLL_SECONDS)
        self._check_process()
        self._run_id = parsed.fields.get("run_id", "")
        now = counts_of(parsed)
        self.result["keys_before"] = now.keys
        differences = []
        if now.keys != int(self._parameters["rescue_keys"]):
            differences.append(f"{now.keys} keys now, {self._parameters['rescue_keys']} in the file")
        if now.changes != int(self._parameters["rescue_changes"]):
            differences.append(f"{now.changes} changes since the last save, {self._parameters['rescue_changes']} then")
        offset = self._parameters["rescue_offset"]
        # With replicas the offset moves by itself: the master sends them PINGs.
        if offset is not None and not number(parsed, "connected_slaves") and now.offset != int(offset):
            differences.append(f"replication offset {now.offset} now, {offset} then")
        if differences:
            raise Refused(f"The server was written to since the file was made ({'; '.join(differences)}): run again.")

    def _silence_saves(self, client: Client) -> None:
        """No save at the stop: it could hang where saves fail, or write over the file."""
        self._set(client, "save", self._facts["config"]["save"], "")
        if version_tuple(self._facts["version"]) < (7, 0) and self._facts["server"] != "valkey":
            return
        try:
            before = pairs_of(client.command("CONFIG", "GET", STOP_SETTING)).get(STOP_SETTING)
        except RedisFailure:
            before = None
        if before is not None and "save" in before.split():
            self._set(client, STOP_SETTING, before, "nosave")

    def _set(self, client: Client, name: str, before: str, after: str) -> None:
        if before == after:
            return
        # Noted first: the answer can be lost and the value set all the same.
        self._settings_before[name] = before
        try:
            client.command("CONFIG", "SET", name, after)
        except RedisFailure as failure:
            if failure.state == "refused":
                del self._settings_before[name]
            user = self._options.login_user or "default"
            hint = f" (ACL SETUSER {user} +config|set)" if failure.kind == "NOPERM" else ""
            raise Refused(
                f"The save points can't be taken away, so the stop would try to save: {failure.message}{hint}"
            ) from None

    def _put_in_place(self, place: Place, file: NewFile) -> None:
        """The old dump beside, the rescued one under its name."""
        directory = place.handle
        if status_below(directory, self.name) is not None:
            if self._old_name is None:
                raise Refused(f"{clean_text(self.dump)} has come into being meanwhile; run again.")
            os.rename(self.name, self._old_name, src_dir_fd=directory, dst_dir_fd=directory)
            self.result["previous_dump"] = posixpath.join(clean_text(self.directory), self._old_name)
        before = KEPT_BESIDE if self.result["previous_dump"] else ABSENT
        # From here on an undo takes it away again: where the name is taken, it is not ours.
        file.publish_as(self.name)
        self.changes.append(change(dump_in_place(clean_text(self.dump)), before, RESCUED, reversible=False))
        self.result["stage"] = "placed"

    def _order_restart(self) -> None:
        self._check_process()
        if self._parameters["daemon_reload"] or self._unit.get("NeedDaemonReload") == "yes":
            self._service.reload_manager()
        self._service.forget_failures()
        # Noted first: an order that is not acknowledged may be carried out all the same.
        self.result["stage"] = "stopping"
        try:
            self._service.restart()
        except ServiceError as error:
            if not error.uncertain:
                self.result["stage"] = "placed"
            raise
        self.changes.append(change(service(self._service.unit), "running", "restarted", reversible=False))

    def _await_stop(self) -> None:
        """Until the old process is gone. systemd kills it after its own time."""
        limit = float(self._parameters["stop_timeout_seconds"])
        by_systemd = stop_seconds(self._unit)
        if by_systemd is not None:
            limit = max(limit, min(by_systemd + 5.0, STOP_LIMIT_SECONDS))
        give_up_at = time.monotonic() + limit
        while why_not_the_same(self._system, self._pid, self._parameters["started_unix"]) is None:
            if self._is_zombie():
                return
            if time.monotonic() >= give_up_at:
                raise StoppedMidway(
                    f"The server did not stop in {limit:g} seconds. It still runs, with its save points put back and "
                    f"writes let through; systemd may still kill it, and what is written from now on would be lost."
                )
            time.sleep(POLL_SECONDS)

    def _is_zombie(self) -> bool:
        status = parse_fields(self._system.try_read_text(f"/proc/{self._pid}/status") or "")
        return status.get("State", "").startswith(("Z", "X"))

    def _await_start(self, began: float) -> None:
        """Until a new process serves every key."""
        self.result["stage"] = "loading"
        give_up_at = time.monotonic() + float(self._parameters["wait_seconds"])
        without_process = 0
        said = "it does not answer"
        while time.monotonic() < give_up_at:
            parsed, said = self._ask_new_server()
            if parsed is not None:
                self._judge_loaded(parsed, began)
                return
            with contextlib.suppress(ServiceError):
                shown = self._service.show()
                state = shown.get("ActiveState")
                without_process = 0 if main_pid(shown) or state == "activating" else without_process + 1
                said += f"; {self._service.unit} is {state} ({shown.get('SubState')}, result {shown.get('Result')})"
                if state == "failed" or without_process >= SETTLED_POLLS:
                    raise StoppedMidway(f"The server did not start again: {said}.")
            time.sleep(POLL_SECONDS)
        waited = self._parameters["wait_seconds"]
        raise StoppedMidway(f"The server does not serve its keys after {waited:g} seconds: {said}.")

    def _ask_new_server(self) -> tuple[ParsedInfo | None, str]:
        """INFO of a new server that has loaded; else None and why."""
        try:
            client = self._connect()
            try:
                parsed = ask_info(client)
            finally:
                client.close()
        except RedisFailure as failure:
            return None, failure.message.rstrip(".")
        if parsed.fields.get("run_id") == self._run_id:
            return None, "the old server still answers"
        if number(parsed, "loading") == 1:
            return None, "it is loading"
        return parsed, ""

    def _judge_loaded(self, parsed: ParsedInfo, began: float) -> None:
        wanted = int(self._parameters["rescue_keys"])
        keys = key_count(parsed)
        self.result.update(keys_after=keys, seconds=round(time.monotonic() - began, 3))
        with contextlib.suppress(ServiceError):
            self.result["pid"] = main_pid(self._service.show())
        loaded, dropped = number(parsed, "rdb_last_load_keys_loaded"), number(parsed, "rdb_last_load_keys_expired")
        if loaded is not None and dropped is not None:  # 7.0+
            expired = int(dropped) + int(number(parsed, "expired_keys") or 0)
            enough = loaded + dropped >= wanted and keys + expired >= wanted
        else:
            expired = max(0, wanted - keys)
            enough = expired <= self._expires
        self.result["keys_expired"] = expired if enough else None
        if not enough:
            raise StoppedMidway(
                f"The server runs again with {keys} keys, and {wanted} were to be there (of which {self._expires} had "
                "a time to live)."
            )
        self.result["stage"] = "done"
        self.result["message"] = f"Restarted with {keys} keys in {self.result['seconds']} seconds."

    # -- when it goes wrong

    def _undo(self, place: Place, pause: WritePause) -> None:
        """Leave a server that still runs as it was. What can't be put back is said."""
        ignore_from_now()
        alive = why_not_the_same(self._system, self._pid, self._parameters["started_unix"]) is None
        if not alive or self._is_zombie():
            # The next start loads the file where it is in place already.
            pause.abandon()
            return
        try:
            client = self._connect()
            try:
                for name, value in self._settings_before.items():
                    client.command("CONFIG", "SET", name, value)
            finally:
                client.close()
        except RedisFailure as failure:
            wanted = ", ".join(f"CONFIG SET {name} {value!r}" for name, value in self._settings_before.items())
            self.warnings.append(f"What was set for the stop could not be put back ({failure.message}): {wanted}")
        if self.result["stage"] in ("looked", "checked", "placed"):
            self._take_away(place)
        pause.end(keep=False)

    def _take_away(self, place: Place) -> None:
        """The old dump back under its name; nothing was restarted."""
        directory = place.handle
        try:
            if self.result["stage"] == "placed":
                os.unlink(self.name, dir_fd=directory)
            if self._old_name is not None and status_below(directory, self._old_name) is not None:
                os.rename(self._old_name, self.name, src_dir_fd=directory, dst_dir_fd=directory)
                self.result["previous_dump"] = None
            self.changes.clear()
            self.result["stage"] = "checked"
        except OSError as error:
            self.warnings.append(f"The old dump could not be put back in {clean_text(self.directory)}: {error}")

    def explain(self, failure: str, check_mode: bool) -> None:
        """Where the data is, and what a person would type."""
        result = self.result
        text = f"{self._options.address}: {failure.rstrip('.')}."
        file = self._parameters["rescue_file"]
        stage = result["stage"]
        if stage != "looked":
            text += f" Every key ({self._parameters['rescue_keys']}) is in {clean_text(str(file))}"
            text += (
                "." if stage == "checked" else f" and in {clean_text(self.dump)}, which is loaded at the next start."
            )
        if stage in ("looked", "checked") or check_mode:
            result["message"] = f"{text} Nothing was restarted."
            return
        if result["previous_dump"]:
            text += f" The dump that was there before is {result['previous_dump']}."
        result["commands"] = self._commands()
        text += f" To look, and to start it again: {'; '.join(result['commands'])}"
        result["message"] = text

    def _commands(self) -> list[str]:
        unit = shlex.quote(self._service.unit)
        look = [f"systemctl status {unit}", f"journalctl -u {unit} -n 50"]
        if self.result["keys_after"] is None:
            return [*look, f"systemctl reset-failed {unit}", f"systemctl start {unit}"]
        # It runs with too few keys. The commands put the file in place once more.
        uid, gid = self._new_owner
        copy = ["install", "-m", "0640", "-o", str(uid), "-g", str(gid)]
        copy += [str(self._parameters["rescue_file"]), self.dump]
        return [*look, f"systemctl stop {unit}", clean_text(shlex.join(copy)), f"systemctl start {unit}"]

    def let_writes_through(self) -> None:
        """End a pause that was begun for this restart, which is not to be."""
        if not self._is_ours or self.result["stage"] not in ("looked", "checked"):
            return
        with contextlib.suppress(RedisFailure):
            client = self._connect()
            try:
                client.command("CLIENT", "UNPAUSE")
            finally:
                client.close()
