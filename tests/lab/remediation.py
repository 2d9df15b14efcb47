# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible-playbook redisops.persistence.remediate`` as an operator runs it, and what it says that it did."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.redisops.persistence.plugins.module_utils._changes import OUTCOME_UNKNOWN

from .judging import instance_of
from .resp import ReplyError
from .servers import Server, until
from .snapshot import Change

PLAYBOOK = "redisops.persistence.remediate"
ROLLBACK = "redisops.persistence.rollback"
HOST = "lab"
INVENTORY = "inventory.json"
RUN_SECONDS = 900
LOCK_PATHS = (Path("/run/redisops-persistence/lock"), Path(f"/dev/shm/redisops-persistence-{os.geteuid()}.lock"))
HOST_WIDE = ("overcommit", "thp")
"""They concern every server of the machine, and are on by default: a lab that shares it leaves them out."""
HOLD_LOCK_PLACE = 'mount -t tmpfs -o mode=0700 tmpfs "$1"; echo ready; exec sleep 3600'
RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)

Document = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a playbook that has ended, seen from one of its hosts."""

    code: int
    output: str
    directory: Path
    seconds: float
    report: Document
    host: str = HOST

    def of(self, host: str) -> Run:
        """The same run seen from another host; ``code`` is that of a run of this host alone."""
        figures = self.recap(host)
        failed = figures["failed"] + figures["unreachable"]
        return dataclasses.replace(self, host=host, code=2 if failed else 0)

    def recap(self, host: str | None = None) -> dict[str, int]:
        """The host's line of the recap."""
        for name, figures in RECAP.findall(self.output):
            if name == (host or self.host):
                return {key: int(value) for key, value in (figure.split("=") for figure in figures.split())}
        raise AssertionError(f"no recap for {host or self.host}: {self.output[-3000:]}")

    def changed_tasks(self) -> int:
        return self.recap()["changed"]

    @property
    def entry(self) -> Document:
        """What the report says of the host."""
        return t.cast(Document, self.report.get("hosts", {}).get(self.host, {}))

    @property
    def documents(self) -> dict[str, Document]:
        """The remediation documents by address."""
        return {document["instance"]["address"]: document for document in self.entry.get("instances", [])}

    def changes(self) -> list[Document]:
        """Every change in the report, each once (one of the host can stand in several documents)."""
        found: dict[str, Document] = {}
        documents = self.documents.values()
        for change in [*self.entry.get("changes", []), *(change for one in documents for change in one["changes"])]:
            found[json.dumps(change, sort_keys=True)] = change
        return list(found.values())

    def change_set(self) -> set[Change]:
        """What the report says that changed, without the fixes that did it."""
        return {key_of(change) for change in self.changes()}

    def fixes(self, address: str) -> set[str]:
        """The fixes that changed something of a server."""
        return {change["fix"] for change in self.changes() if change["address"] == address}

    def results(self) -> dict[str, str]:
        return {address: document["result"] for address, document in self.documents.items()}

    def story(self, address: str) -> str:
        """A document in short, for the message of a failed test."""
        document = self.documents.get(address)
        if document is None:
            return f"no document for {address}: {self.output[-3000:]}"
        before = document.get("diagnosis_before") or {}
        short = {
            "result": document["result"],
            "reason": document.get("reason"),
            "cause": (before.get("cause") or {}).get("id"),
            "plan": {fix["id"]: [fix["decision"], fix["reason"]] for fix in document["plan"]},
            "changes": [
                [change[name] for name in ("fix", "what", "before", "after")] for change in document["changes"]
            ],
            "proof": (document.get("proof") or {}).get("status"),
        }
        return json.dumps(short, indent=1, default=str)


def key_of(change: Document) -> Change:
    return change["address"], change["what"], change["before"], change["after"]


def settled(announced: set[t.Any], made: set[t.Any]) -> set[t.Any]:
    """What was announced, each change of unknown outcome as what became of it, or left out where nothing did.

    An unknown may become anything; what was announced as known must be made as it was announced, and what was made must
    have been announced.

    :param announced: keys that end with what is after (:func:`key_of`). :param made: the same, of the real run.
    """
    known = {key for key in announced if key[-1] != OUTCOME_UNKNOWN}
    unknown = {key[:-1] for key in announced - known}
    return known | {key for key in made if key[:-1] in unknown}


class Started(t.NamedTuple):
    """A run that goes on."""

    process: subprocess.Popen[bytes]
    output_path: Path
    directory: Path
    started: float

    def signal(self, number: int) -> None:
        """To all that belongs to the run on the control node."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def finish(self, seconds: float = RUN_SECONDS) -> Run:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait(10)
            raise AssertionError(f"the run does not end: {self.read()[-4000:]}") from None
        report = self.directory / "report" / "report.json"
        text = report.read_text() if report.exists() else "{}"
        return Run(code, self.read(), self.directory, time.monotonic() - self.started, json.loads(text))

    def read(self) -> str:
        return self.output_path.read_text(errors="replace")


def program(name: str) -> str:
    """A program of the environment that runs the tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    assert found, f"{name} is not installed"
    return found


def allowed_directories(servers: t.Iterable[Server]) -> list[str]:
    """Patterns, so that no name of a directory stands in a variable (Ansible would take some for a template)."""
    return [f"{server.directory.parent}/*" for server in servers]


def variables_for(directory: Path, servers: t.Sequence[Server], **more: t.Any) -> dict[str, t.Any]:
    """What an operator would set for these servers of one host, and what keeps the lab to itself."""
    variables = {
        "ansible_python_interpreter": sys.executable,
        "redis_instances": [instance_of(server) for server in servers],
        "remediate_allowed_dirs": allowed_directories(servers),
        "remediate_skip": list(HOST_WIDE),
        "remediate_record_dir": str(directory / "record"),
        "remediate_report_dir": str(directory / "report"),
    }
    variables.update(more)
    return variables


def start_run(
    directory: Path, hosts: dict[str, dict[str, t.Any]], *arguments: str, playbook: str = PLAYBOOK
) -> Started:
    """Start a playbook with a local connection, in a session of its own. ``hosts``: the variables of each."""
    directory.mkdir(parents=True, exist_ok=True)
    inventory = directory / INVENTORY
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}))
    output_path = directory / "output.txt"
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [program("ansible-playbook"), playbook, "-i", str(inventory), *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(directory / "local"), "ANSIBLE_NOCOLOR": "1"},
        )
    return Started(process, output_path, directory, time.monotonic())


def run(directory: Path, hosts: dict[str, dict[str, t.Any]], *arguments: str, playbook: str = PLAYBOOK) -> Run:
    """A whole run, once no other one holds the lock of this machine."""
    wait_for_lock()
    done = start_run(directory, hosts, *arguments, playbook=playbook).finish()
    assert "Traceback (most recent call last)" not in done.output, done.output[-6000:]
    return done


def remediate(directory: Path, servers: t.Sequence[Server], *arguments: str, **more: t.Any) -> Run:
    """The playbook against these servers of one host."""
    return run(directory, {HOST: variables_for(directory, servers, **more)}, *arguments)


def is_locked() -> bool:
    return any(path.exists() for path in LOCK_PATHS)


def wait_for_lock(seconds: float = 60) -> None:
    """Let another lab on this machine end its run; what stays longer is for the run to judge."""
    with contextlib.suppress(TimeoutError):
        until(lambda: not is_locked(), "somebody else works here", seconds)


def is_writable(server: Server) -> bool:
    """Whether clients may write (the key that tells is taken away again)."""
    try:
        server.call("SET", "probe", "x")
        server.call("DEL", "probe")
    except ReplyError:
        return False
    return True


@contextlib.contextmanager
def machine_of_its_own(directory: Path) -> t.Iterator[Path]:
    """A Python that sees this machine with a lock of its own, so that one run can have several hosts here.

    What is mounted later it does not see.
    """
    place = LOCK_PATHS[0].parent
    place.mkdir(exist_ok=True, mode=0o700)
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", HOLD_LOCK_PLACE, "sh", str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"ready\n"
        python = directory / f"python-{holder.pid}"
        python.write_text(f'#!/bin/sh\nexec nsenter --target={holder.pid} --mount -- {sys.executable} "$@"\n')
        python.chmod(0o755)
        yield python
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdout.close()
