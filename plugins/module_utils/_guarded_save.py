# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What is looked at and done right before a save: judge what it would replace, keep that beside, or start none."""

from __future__ import annotations

import os
import posixpath
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._attempts import join_attempts
from ansible_collections.redisops.persistence.plugins.module_utils._client import Client
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_settings
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import (
    Process,
    Survey,
    argument_settings,
    find_config_file,
    find_pid,
    is_local_host,
)
from ansible_collections.redisops.persistence.plugins.module_utils._dump import (
    MUCH_LARGER_TIMES,
    DumpJudgement,
    facts_of_instance,
    judge_dump,
)
from ansible_collections.redisops.persistence.plugins.module_utils._evidence import (
    Limits,
    collect_instance_host,
    settings_in_force,
)
from ansible_collections.redisops.persistence.plugins.module_utils._filesystem import device_name
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import DEFAULT_DBFILENAME
from ansible_collections.redisops.persistence.plugins.module_utils._instances import Target, collect_target
from ansible_collections.redisops.persistence.plugins.module_utils._kept_dump import (
    CannotKeep,
    HasChanged,
    Kept,
    Seen,
    give_up,
    hold,
    is_unchanged,
    keep,
    kept_name,
    let_go,
    look_at_dump,
    why_no_room,
)
from ansible_collections.redisops.persistence.plugins.module_utils._kernel_log import collect_kernel_log
from ansible_collections.redisops.persistence.plugins.module_utils._memory import collect_memory
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import open_directory, reopen_path
from ansible_collections.redisops.persistence.plugins.module_utils._save_guard import (
    NOT_ON_THIS_HOST,
    PROCESS_NOT_FOUND,
    SaveFacts,
    must_keep,
    objections,
    standing,
)
from ansible_collections.redisops.persistence.plugins.module_utils._save_memory import judge_memory
from ansible_collections.redisops.persistence.plugins.module_utils._save_shield import PARAMETER, Shield, is_ample
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

REPLACED_MEANWHILE = (
    "No save was started. The file in the dump's place is replaced while it is judged. See by whom, and try again."
)
LOOKS_LIMIT = 3
"""A file that is replaced while it is judged is judged again, so often."""

Objection = t.Mapping[str, t.Any]


class Look:
    """Everything that is known of a server at one moment, right before a save or after it.

    :ivar instance: INSTANCE of the evidence document. :ivar attempts: its saves by the logs.
    :ivar directory: a handle of the server's working directory; None where it can't be seen (``unseen`` says why).
    :ivar seen: what tells the file in the dump's place from another one.
    """

    def __init__(self, target: Target, system: System, gaps: Gaps) -> None:
        self.system = system
        self.now = system.clock()
        survey = Survey(system)
        self.instance: dict[str, t.Any] = dict(collect_target(target, system, gaps, survey))
        self.redis: t.Mapping[str, t.Any] = self.instance["redis"] or {}
        self.pid = None if target.options is None else find_pid(system, target.options, self.instance["redis"], survey)
        self.attempts: list[dict[str, t.Any]] = []
        self.directory: int | None = None
        self.seen: Seen | None = None
        self.dbfilename: str | None = None
        self.shared_with: list[str] = []
        self.unseen = self._why_unseen(target)
        if self.pid is not None:
            self._look_at_host(self.pid, survey, gaps)
        self.dump = judge_dump(facts_of_instance(self.instance, self.attempts, self.now))
        self.memory = None if self.unseen else self._judge_memory()

    def close(self) -> None:
        """Let the directory go."""
        if self.directory is not None:
            os.close(self.directory)
            self.directory = None

    def _why_unseen(self, target: Target) -> str | None:
        if self.pid is not None:
            return None
        options = target.options
        is_here = options is not None and (options.unix_socket or is_local_host(self.system, options.login_host))
        return PROCESS_NOT_FOUND if is_here else NOT_ON_THIS_HOST

    def _look_at_host(self, pid: int, survey: Survey, gaps: Gaps) -> None:
        system = self.system
        settings = settings_in_force(self.instance["redis"], pid, [], system, survey, gaps)
        self.instance.update(collect_instance_host(system, pid, settings, gaps, Limits()))
        kernel_log = collect_kernel_log(system, gaps)
        blocks = self.instance
        self.attempts = join_attempts(
            blocks["redis_log"], kernel_log, blocks["process"], blocks["cgroups"], system.clock()
        )
        self.dbfilename = settings.get("dbfilename")
        try:
            self.directory = open_directory(f"/proc/{pid}/cwd")
            self._look_at_file()
        except OSError as error:
            self.unseen = (
                f"The directory that the server writes to can't be looked at ({error.strerror}), so neither can the "
                "file that a save would replace, and it can't be kept. Run as root."
            )
            return
        self.shared_with = sharers(system, survey, pid, self.directory, self.dbfilename)

    def _look_at_file(self) -> None:
        """Bring ``data_directory.dump`` to what is in place at this moment."""
        if self.directory is None or not self.dbfilename:
            return
        self.seen, block = look_at_dump(self.directory, self.dbfilename)
        document = dict(self.instance["data_directory"] or {})
        document["dump"] = {**(document.get("dump") or {}), **block}
        self.instance["data_directory"] = document

    def is_still_so(self) -> bool:
        """Whether the file that was judged is still the one in place, in the directory that the server works in."""
        if self.directory is None or not self.dbfilename or self.pid is None:
            return True
        try:
            current = os.stat(f"/proc/{self.pid}/cwd")
            judged = os.stat(self.directory)
            is_same_place = (current.st_dev, current.st_ino) == (judged.st_dev, judged.st_ino)
            return is_same_place and is_unchanged(self.directory, self.dbfilename, self.seen)
        except OSError:
            return False

    @property
    def directories(self) -> list[str]:
        """Every known path of the directory."""
        paths = [(self.instance.get("data_directory") or {}).get("path")]
        if self.directory is not None:
            paths.append(clean_text(os.readlink(reopen_path(self.directory))))
        return [path for path in dict.fromkeys(paths) if path]

    def new_dump_bytes(self) -> int | None:
        """At most so large is the next dump: what the data set takes in memory."""
        info = self.redis.get("info") or {}
        used, dataset = info.get("used_memory"), info.get("used_memory_dataset")
        figures = [figure for figure in (dataset, used) if isinstance(figure, (int, float)) and figure >= 0]
        # The data set underflows on a young, empty server: what can't be true is not taken.
        return int(min(figures)) if figures else None

    def _judge_memory(self) -> dict[str, t.Any]:
        """What is known of the memory for a save, see :func:`_save_memory.judge_memory`."""
        host = {
            "memory": collect_memory(self.system, Gaps()),
            "page_size_bytes": os.sysconf("SC_PAGE_SIZE"),
        }
        killers: set[str] = set()
        for attempt in self.attempts:
            if attempt.get("outcome") == "succeeded":
                killers.clear()
            elif isinstance(attempt.get("killer"), dict):
                killers.add(str(attempt["killer"].get("kind")))
        return judge_memory(self.instance, host, self.now, self.attempts, self.new_dump_bytes(), killers)

    def facts(self) -> SaveFacts:
        """What :func:`_save_guard.objections` judges."""
        config = self.redis.get("config") or {}
        return SaveFacts(
            dump=self.dump,
            memory=self.memory,
            resident_bytes=(self.instance.get("process") or {}).get("resident_bytes"),
            directories=self.directories,
            dbfilename=self.dbfilename,
            file_settings=self.redis.get("config_file_settings"),
            keys=(self.redis.get("info") or {}).get("key_count"),
            save_wanted=None if "save" not in config else bool(config["save"].replace('"', "").strip()),
            shared_with=self.shared_with,
            unseen=self.unseen,
            cannot_keep=self._why_not_kept(),
            now_unix=self.now,
        )

    def _why_not_kept(self) -> str | None:
        if self.directory is None or self.seen is None:
            return (
                None if self.dump.owner == "none" else "The file in the dump's place can't be looked at. Run as root."
            )
        if not self.seen.is_regular:
            return "What is in the dump's place is no ordinary file, and can't be kept beside. Move it away."
        return why_no_room(self.directory, 0, self.new_dump_bytes())


def sharers(system: System, survey: Survey, pid: int, directory: int, dbfilename: str | None) -> list[str]:
    """The other running servers that may write the same file: in the same directory, not known to use another name."""
    own = os.stat(directory)
    found = []
    for process in survey.processes:
        if process.pid == pid or process.sentinel:
            continue
        try:
            status = os.stat(system.path(f"/proc/{process.pid}/cwd"))
            uid = os.stat(system.path(f"/proc/{process.pid}")).st_uid
        except OSError:
            continue
        if (status.st_dev, status.st_ino) != (own.st_dev, own.st_ino):
            continue
        if dbfilename is None or dump_name_of(system, process) in (dbfilename, None):
            found.append(f"the running server {process.title!r} (process {process.pid}, uid {uid})")
    return found


def dump_name_of(system: System, process: Process) -> str | None:
    """The name of another server's dump as its command line and configuration file say it; None: not known."""
    path, arguments = argument_settings(process.arguments)
    found = find_config_file(system, process, ())
    if found is None and path is not None:
        return arguments.get("dbfilename")
    settings = read_settings(system, f"/proc/{process.pid}/root{found}") if found else {}
    return arguments.get("dbfilename") or settings.get("dbfilename") or DEFAULT_DBFILENAME


class Guard:
    """The precaution of one save (see ``_bgsave.Precaution``), and what it leaves for the result."""

    def __init__(self, target: Target, system: System, gaps: Gaps, accept: t.Collection[str]) -> None:
        self._target = target
        self._system = system
        self._gaps = gaps
        self._accept = accept
        self.look: Look | None = None
        self.objections: list[Objection] = []
        self.kept: Kept | None = None
        self.held: Kept | None = None
        self.shield = Shield(system, None)

    # -- before

    def before(self, client: Client) -> str | None:
        """Judge, and keep what has to be kept. Why no save may be started; None to go ahead."""
        for _time in range(LOOKS_LIMIT):
            problem = self.judge()
            if problem is not None:
                return problem
            if self.look is None:
                raise AssertionError("what was judged was looked at")
            try:
                if must_keep(self.objections, self.look.dump):
                    self._keep(self.look)
                else:
                    self._hold(self.look)
                self.shield = Shield(self._system, self.look.pid)
                self.shield.up(client, self.look.redis.get("config") or {}, self.look.memory)
                if self.look.is_still_so():
                    return None
            except HasChanged:
                pass
            except CannotKeep as reason:
                self.objections = [
                    {"id": "cannot_keep", "reason": str(reason), "acceptable": False, "opt_in": False},
                    *self.objections,
                ]
                return refusal(self.objections, self._accept)
            self.not_started(client)
            if self.kept is not None:
                break
        return REPLACED_MEANWHILE

    def judge(self) -> str | None:
        """Look at the server and its file. Why no save may be started; None where nothing stands against it."""
        self.close()
        self.look = Look(self._target, self._system, self._gaps)
        if self.look.instance["redis"] is None:
            error = self.look.instance["connection"]["error"] or {}
            return f"The server can't be asked to save: {error.get('message')}"
        self.objections = list(objections(self.look.facts()))
        return refusal(self.objections, self._accept)

    def _keep(self, look: Look) -> None:
        if look.directory is None or look.seen is None:
            raise CannotKeep("The file in the dump's place can't be looked at.")
        name = kept_name(look.seen.name, self._system.clock(), str(os.getpid()))
        self.kept = keep(look.directory, look.seen, name, look.new_dump_bytes())

    def _hold(self, look: Look) -> None:
        """Keep the server's own file too until the new one is seen: whose it is was judged by times and counters."""
        if look.directory is not None and look.seen is not None and look.seen.is_regular and look.seen.size_bytes:
            name = kept_name(look.seen.name, self._system.clock(), str(os.getpid()))
            self.held = hold(look.directory, look.seen, name)

    # -- after

    def started(self, client: Client) -> None:
        """The child has its score."""
        self.shield.down(client)

    def not_started(self, client: Client | None = None) -> None:
        """Put the setting back, and remove what was kept: nothing was replaced."""
        if client is not None:
            self.shield.down(client)
        directory = None if self.look is None else self.look.directory
        if directory is None:
            return
        if self.kept is not None and give_up(directory, self.kept):
            self.kept = None
        if self.held is not None and give_up(directory, self.held):
            self.held = None

    def end(self, result: t.Mapping[str, t.Any]) -> None:
        """After the save: keep what was kept, unless the original is in place still and nothing runs any more.

        What was only held goes where the new file holds as much, and stays where it does not.
        """
        if result["state"] == "succeeded":
            self._let_go()
        elif not result["may_be_running"]:
            self.not_started()
        if self.held is not None:
            self.kept, self.held = self.held, None

    def _let_go(self) -> None:
        """Let the replaced file go where the new one was seen to hold as much."""
        look, held = self.look, self.held
        if look is None or held is None or look.directory is None:
            return
        try:
            seen, block = look_at_dump(look.directory, held.original.name)
        except OSError:
            return
        if seen is not None and holds_as_much(look.dump, seen.size_bytes, block["header"]) and seen.inode != held.inode:
            let_go(look.directory, held)
            self.held = None

    def close(self) -> None:
        """Let go of the directory."""
        if self.look is not None:
            self.look.close()

    # -- what the result says

    def kept_block(self) -> dict[str, t.Any] | None:
        """``kept_dump`` of the result."""
        if self.kept is None or self.look is None:
            return None
        place = next(iter(self.look.directories), "")
        return {
            **_block(self.look.dump),
            "path": posixpath.join(place, clean_text(self.kept.name)),
            "method": self.kept.method,
            "device": device_name(self.kept.device),
            "inode": self.kept.inode,
        }

    def added(self, predicted: bool = False) -> dict[str, t.Any]:
        """What the module's answer has of the guard; see :func:`nothing_added`."""
        return {
            "dump_before": None if self.look is None else dump_block(self.look.dump),
            "kept_dump": self.predicted_block() if predicted else self.kept_block(),
            "objections": [dict(objection) for objection in self.objections],
            "shield": self.predicted_shield() if predicted else self.shield.block,
        }

    def predicted_block(self) -> dict[str, t.Any] | None:
        """``kept_dump`` in check mode: its name has the time of the run, and whether links can be made shows then."""
        if self.look is None or not must_keep(self.objections, self.look.dump):
            return None
        return {**_block(self.look.dump), "path": None, "method": None, "device": None, "inode": None}

    def predicted_shield(self) -> dict[str, t.Any] | None:
        """``shield`` in check mode."""
        config = {} if self.look is None else self.look.redis.get("config") or {}
        if self.look is None or config.get(PARAMETER) != "no" or is_ample(self.look.memory):
            return None
        return {"before": "no", "during": "yes", "restored": None, "problem": None}


def holds_as_much(old: DumpJudgement, new_bytes: int, new_header: t.Mapping[str, t.Any] | None) -> bool:
    """Whether a new dump was seen to hold about as much as the one that it has replaced, in bytes and in keys."""
    if old.bytes is None or old.bytes > new_bytes * MUCH_LARGER_TIMES:
        return False
    keys = None if new_header is None else new_header.get("keys_at_least")
    if old.keys_at_least is None or keys is None:
        return old.keys_at_least is None
    return bool(old.keys_at_least <= keys * MUCH_LARGER_TIMES)


def nothing_added() -> dict[str, t.Any]:
    """What the module's answer has of a save that nothing is known of."""
    return {"dump_before": None, "dump_after": None, "kept_dump": None, "objections": [], "shield": None}


def dump_block(judgement: DumpJudgement) -> dict[str, t.Any]:
    """``{owner, bytes, keys_at_least, saved_unix}``."""
    return {"owner": judgement.owner, **_block(judgement)}


def _block(judgement: DumpJudgement) -> dict[str, t.Any]:
    return {
        "bytes": judgement.bytes,
        "keys_at_least": judgement.keys_at_least,
        "saved_unix": judgement.saved_unix,
    }


def refusal(found: t.Sequence[Objection], accept: t.Collection[str]) -> str | None:
    """Why no save is started, with what to do; None where every objection is accepted."""
    against = standing(found, accept)
    if not against:
        return None
    text = "No save was started. " + " ".join(f"[{one['id']}] {one['reason']}" for one in against)
    never = [one["id"] for one in against if not one["acceptable"]]
    if never:
        return text
    names = ", ".join(sorted({*accept, *(one["id"] for one in against)}))
    return f"{text} To save all the same, set accept: [{names}]; a file that is there is then kept beside."
