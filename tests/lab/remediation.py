# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible-playbook redisops.persistence.remediate`` as an operator runs it, and what it says that it did."""

from __future__ import annotations

import contextlib
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

from .judging import instance_of
from .resp import ReplyError
from .servers import Server, until
from .snapshot import Change

PLAYBOOK = "redisops.persistence.remediate"
ROLLBACK = "redisops.persistence.rollback"
HOST = "lab"
RUN_SECONDS = 300
LOCK_PATHS = (Path("/run/redisops-persistence/lock"), Path(f"/dev/shm/redisops-persistence-{os.geteuid()}.lock"))
HOST_WIDE = ("overcommit", "thp")
"""They concern every server of the machine, and are on by default: a lab that shares it leaves them out."""
RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)

Document = dict[str, t.Any]


class Run(t.NamedTuple):
    """One run of a playbook that has ended."""

    code: int
    output: str
    directory: Path
    seconds: float
    report: Document

    def changed_tasks(self, host: str = HOST) -> int:
        """``changed=`` of the recap."""
        for name, figures in RECAP.findall(self.output):
            if name == host:
                return int(re.search(r"changed=(\d+)", figures)[1])  # type: ignore[index]
        raise AssertionError(f"no recap for {host}: {self.output[-3000:]}")

    @property
    def documents(self) -> dict[str, Document]:
        """The remediation documents by address."""
        instances = self.report.get("hosts", {}).get(HOST, {}).get("instances", [])
        return {document["instance"]["address"]: document for document in instances}

    def changes(self) -> list[Document]:
        """Every change in the report, each once (one of the host can stand in several documents)."""
        found: dict[str, Document] = {}
        entry = self.report.get("hosts", {}).get(HOST, {})
        for change in [*entry.get("changes", []), *(c for d in self.documents.values() for c in d["changes"])]:
            found[json.dumps(change, sort_keys=True)] = change
        return list(found.values())

    def change_set(self) -> set[Change]:
        """What the report says that changed, without the fixes that did it."""
        return {(change["address"], change["what"], change["before"], change["after"]) for change in self.changes()}

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
                [change["fix"], change["what"], change["before"], change["after"]] for change in document["changes"]
            ],
            "proof": (document.get("proof") or {}).get("status"),
        }
        return json.dumps(short, indent=1, default=str)


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
    return [str(server.directory) for server in servers]


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


def start_run(directory: Path, variables: dict[str, t.Any], *arguments: str, playbook: str = PLAYBOOK) -> Started:
    """Start a playbook with a local connection, in a session of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "variables.json").write_text(json.dumps(variables))
    output_path = directory / "output.txt"
    command = [program("ansible-playbook"), playbook, "-i", f"{HOST},", "-c", "local", "-e", "@variables.json"]
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(directory / "local"), "ANSIBLE_NOCOLOR": "1"},
        )
    return Started(process, output_path, directory, time.monotonic())


def run(
    directory: Path,
    variables: dict[str, t.Any],
    *arguments: str,
    playbook: str = PLAYBOOK,
    seconds: float = RUN_SECONDS,
) -> Run:
    """A whole run, once no other one holds the lock of this machine."""
    wait_for_lock()
    done = start_run(directory, variables, *arguments, playbook=playbook).finish(seconds)
    assert "Traceback (most recent call last)" not in done.output, done.output[-6000:]
    return done


def remediate(directory: Path, servers: t.Sequence[Server], *arguments: str, **more: t.Any) -> Run:
    """The playbook against these servers of one host."""
    return run(directory, variables_for(directory, servers, **more), *arguments)


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
