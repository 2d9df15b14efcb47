# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Where memory runs out during a save of ours, the child is to die, not the server: ``oom-score-adj`` for its fork.

A child takes its score when it is forked and keeps it (measured: 800 on Redis 6.2 and 7.0 and on Valkey 9.1, also after
the setting was put back). So the setting stands from right before BGSAVE until its answer, not for the length of the
save. The server's own score is not touched: on Redis 6.2 it does not come back with the setting, and a replica's would
rise by the second of ``oom-score-adj-values``; for that moment the values of a server are 0.

What is changed is written down before, for one case: a module that is killed in that moment. The next save of the same
start of the server then puts the setting back.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import Client, RedisFailure
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import (
    directories,
    directory_problem,
    process_start_ticks,
    read_own_file,
    replace_file,
)
from ansible_collections.redisops.persistence.plugins.module_utils._info import parse_info
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

PARAMETER, VALUES_PARAMETER = "oom-score-adj", "oom-score-adj-values"
NOTE_VERSION = 1
CHILD_SCORE = 800

_VALUES = re.compile(r"(-?\d{1,4}) (-?\d{1,4}) (-?\d{1,4})\Z")
_RUN_ID = re.compile(r"[0-9A-Za-z]{8,64}\Z")


def values_during(before: str) -> str | None:
    """The values that leave the server's score alone and raise the child's; None for what is no such setting."""
    match = _VALUES.match(before.strip())
    return None if match is None else f"0 0 {max(int(match.group(3)), CHILD_SCORE)}"


def is_ample(memory: t.Mapping[str, t.Any] | None) -> bool:
    """Whether even a copy of everything fits: then nothing has to be changed for a save."""
    worst, room = (memory or {}).get("worst_bytes"), (memory or {}).get("room_bytes")
    return worst is not None and room is not None and worst <= room


class Shield:
    """The setting of one server for one fork."""

    def __init__(self, system: System, pid: int | None) -> None:
        self._system = system
        self._pid = pid
        self._before: dict[str, str] = {}
        self._score_before: str | None = None
        self._run_id: str | None = None
        self._is_up = False
        self._touched: list[str] = []
        self.block: dict[str, t.Any] | None = None
        """``shield`` of the result: ``{before, during, restored, problem}``; None where nothing was to be done."""

    def up(self, client: Client, config: t.Mapping[str, str], memory: t.Mapping[str, t.Any] | None) -> None:
        """Set it, where it is ``no`` and memory is not plainly ample. Never raises: a save goes on without it."""
        try:
            before = self._left_behind(client, config)
            if before.get(PARAMETER) != "no" or is_ample(memory):
                return
            during = values_during(before.get(VALUES_PARAMETER, ""))
            self.block = {"before": "no", "during": None, "restored": None, "problem": None}
            if during is None or self._run_id is None:
                self.block["problem"] = "The server's oom-score-adj-values are not known."
                return
            self._before = {PARAMETER: "no", VALUES_PARAMETER: before[VALUES_PARAMETER]}
            self._score_before = self._score()
            self._write_note()
            self._is_up = True
            for name, value in ((VALUES_PARAMETER, during), (PARAMETER, "yes")):
                if value != before[name]:
                    # Where the answer is lost it may be set all the same.
                    self._touched.append(name)
                    client.command("CONFIG", "SET", name, value)
            self.block["during"] = "yes"
        except (RedisFailure, OSError) as error:
            if isinstance(error, RedisFailure) and error.state == "refused" and self._touched:
                self._touched.pop()
            if self.block is not None:
                self.down(client)
                self.block["problem"] = f"It could not be set: {getattr(error, 'message', None) or error}"

    def down(self, client: Client) -> None:
        """Put it back; may be called again where that failed. Never raises."""
        if not self._is_up or self.block is None:
            return
        try:
            self._put_back(client, {name: self._before[name] for name in self._touched})
        except RedisFailure as failure:
            self.block.update(restored=False, problem=f"It could not be put back: {failure.message}")
            return
        self._is_up = False
        self._remove_note()
        if self.block["during"] is None:
            return
        score = self._score()
        self.block["restored"] = score == self._score_before
        if not self.block["restored"]:
            self.block["problem"] = f"The server's oom_score_adj was {self._score_before} and is {score}."

    @property
    def is_up(self) -> bool:
        """Whether something is still to be put back."""
        return self._is_up

    @staticmethod
    def _put_back(client: Client, before: t.Mapping[str, str]) -> None:
        for name in (PARAMETER, VALUES_PARAMETER):
            if name in before:
                client.command("CONFIG", "SET", name, before[name])

    def _score(self) -> str | None:
        """The server's own score, as the kernel has it."""
        text = None if self._pid is None else self._system.try_read_text(f"/proc/{self._pid}/oom_score_adj", 64)
        return None if text is None else text.strip()

    # -- the note

    def _left_behind(self, client: Client, config: t.Mapping[str, str]) -> dict[str, str]:
        """The settings in force, after what a killed module left has been put back. Raises RedisFailure."""
        run_id = parse_info(str(client.command("INFO", "server"))).fields.get("run_id", "")
        self._run_id = run_id if _RUN_ID.match(run_id) else None
        current = {name: config[name] for name in (PARAMETER, VALUES_PARAMETER) if name in config}
        current = {name: "yes" if value == "relative" else value for name, value in current.items()}
        note = read_note(self._system, self._run_id)
        if note is None:
            return current
        before = {PARAMETER: "no", VALUES_PARAMETER: note["values_before"]}
        during = {PARAMETER: "yes", VALUES_PARAMETER: values_during(note["values_before"])}
        # Only what we set ourselves is put back: any other value is somebody's since.
        if all(current.get(name) in (during[name], before[name]) for name in before):
            self._put_back(client, before)
            current = before
        self._remove_note()
        return current

    def _write_note(self) -> None:
        """Raises OSError where it can't be written: then nothing is changed."""
        note = {
            "version": NOTE_VERSION,
            "server_run_id": self._run_id,
            "values_before": self._before[VALUES_PARAMETER],
            "since_unix": self._system.clock(),
            "pid": os.getpid(),
            "pid_started_ticks": process_start_ticks(self._system, os.getpid()),
        }
        problems = []
        for directory in directories():
            place = self._system.path(directory)
            problem = directory_problem(place, directory)
            if problem is None:
                problem = replace_file(os.path.join(place, note_name(str(self._run_id))), json.dumps(note))
            if problem is None:
                return
            problems.append(f"{directory}: {problem}")
        raise OSError(f"what is changed can't be written down ({'; '.join(problems)})")

    def _remove_note(self) -> None:
        for directory in directories():
            with contextlib.suppress(OSError):
                os.unlink(self._system.path(f"{directory}/{note_name(str(self._run_id))}"))


def note_name(server_run_id: str) -> str:
    """The file for one start of a server."""
    return f"shield-{server_run_id}.json"


def read_note(system: System, server_run_id: str | None) -> dict[str, t.Any] | None:
    """What a module that was killed has left of this server: ``{values_before, since_unix, pid, ...}``; None: nothing.

    A module that is still at work has left nothing yet. Only a file of root or of ourselves is believed.
    """
    if server_run_id is None or not _RUN_ID.match(server_run_id):
        return None
    for directory in directories():
        text = read_own_file(system.path(f"{directory}/{note_name(server_run_id)}"))
        try:
            note = json.loads(text or "")
        except ValueError:
            continue
        if not isinstance(note, dict) or note.get("version") != NOTE_VERSION:
            continue
        pid, ticks = note.get("pid"), note.get("pid_started_ticks")
        if note.get("server_run_id") != server_run_id or values_during(str(note.get("values_before"))) is None:
            continue
        is_at_work = isinstance(pid, int) and ticks is not None and process_start_ticks(system, pid) == ticks
        if not is_at_work:
            return note
    return None
