# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running playbooks of the collection against machines of the fleet, over SSH, as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

from .machine import Machine, wait_until

DIAGNOSE = "redisops.persistence.diagnose"
PLAYBOOK_SECONDS = 900.0
Document = dict[str, t.Any]


class Outcome(t.NamedTuple):
    """What a run left: its exit code, what it printed, and the documents it wrote."""

    rc: int
    output: str
    directory: Path

    @property
    def report(self) -> Document:
        return t.cast(Document, json.loads((self.directory / "reports" / "report.json").read_text()))

    def count(self, machine: Machine, name: str) -> int:
        """A figure of the run's last lines: ``ok``, ``changed``, ``failed``, ``unreachable``."""
        line = re.search(rf"(?m)^{re.escape(machine.name)}\s+:\s.*\b{name}=(\d+)", self.output)
        assert line is not None, f"no recap of {machine.name}: {self.output[-2000:]}"
        return int(line.group(1))

    def documents(self, machine: Machine) -> dict[str, Document]:
        """The diagnoses of a machine, by address."""
        instances = self.report["hosts"][machine.name]["instances"]
        return {document["instance"]["address"]: document for document in instances}

    def evidence(self, machine: Machine) -> Document:
        return t.cast(Document, json.loads((self.directory / "evidence" / f"{machine.name}.json").read_text()))

    def instance(self, machine: Machine, address: str) -> Document:
        """The evidence of one server."""
        found = [entry for entry in self.evidence(machine)["instances"] if entry["address"] == address]
        assert len(found) == 1, f"{address} is {len(found)} times in the evidence"
        return t.cast(Document, found[0])


def write_inventory(
    path: Path, machines: t.Iterable[Machine], user: str, become: bool, variables: dict[str, Document]
) -> None:
    """A static inventory. Host keys are not kept: a machine's address is another machine's in the next run."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes"
    hosts = {
        machine.name: {
            "ansible_host": machine.address,
            "ansible_user": user,
            "ansible_become": become,
            "ansible_ssh_private_key_file": str(machine.key),
            "ansible_ssh_common_args": options,
            "ansible_python_interpreter": "/usr/bin/python3",
            **variables.get(machine.name, {}),
        }
        for machine in machines
    }
    # JSON is YAML.
    path.write_text(json.dumps({"all": {"hosts": hosts}}))


def command(name: str) -> str:
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=beside)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return found


class Running:
    """A run of ``ansible-playbook`` that goes on beside the test."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self._process = process
        self._directory = directory

    @property
    def _log(self) -> Path:
        return self._directory / "output"

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, condition: t.Callable[[], t.Any], what: str, seconds: float = 120.0) -> t.Any:
        """Until the condition holds; the run must not end before."""

        def check() -> t.Any:
            value = condition()
            if not value and self._process.poll() is not None:
                raise RuntimeError(f"the run ended before {what}: {self.output()[-4000:]}")
            return value

        return wait_until(check, what, seconds)

    def interrupt(self) -> Outcome:
        """Ctrl-C: the terminal sends it to every process of the run."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """The control node goes: nothing of the run is left, and nothing of it could say so."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def wait(self, seconds: float = PLAYBOOK_SECONDS) -> Outcome:
        """Its end."""
        try:
            rc = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        output = self.output()
        assert "Traceback" not in output, output[-4000:]
        return Outcome(rc, output, self._directory)


def start_playbook(
    directory: Path,
    machines: t.Sequence[Machine],
    *options: str,
    playbook: str = DIAGNOSE,
    user: str = "deploy",
    become: bool = True,
    strategy: str = "linear",
    collections: Path | None = None,
    host_variables: dict[str, Document] | None = None,
    **variables: t.Any,
) -> Running:
    """Start ``ansible-playbook``; reports and evidence go to the run's directory.

    ``collections``: where another copy of the collection is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    inventory, variables_file = directory / "inventory.yml", directory / "variables.json"
    write_inventory(inventory, machines, user, become, host_variables or {})
    wanted = {
        "diagnose_report_dir": str(directory / "reports"),
        "diagnose_evidence_dir": str(directory / "evidence"),
        **variables,
    }
    variables_file.write_text(json.dumps(wanted))
    more = {"ANSIBLE_STRATEGY": strategy}
    if collections is not None:
        more["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    with (directory / "output").open("w") as log:
        process = subprocess.Popen(
            [command("ansible-playbook"), playbook, "-i", str(inventory), "-e", f"@{variables_file}", *options],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(directory, machines, **more),
            start_new_session=True,
        )
    return Running(process, directory)


def environment(directory: Path, machines: t.Sequence[Machine], **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(directory / "home"),
        # A path of a socket may have 108 bytes.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(machines[0].directory.parent / "cp"),
        **more,
    }


def run_playbook(directory: Path, machines: t.Sequence[Machine], *options: str, **variables: t.Any) -> Outcome:
    """One run of ``ansible-playbook`` to its end, as :func:`start_playbook` starts it."""
    return start_playbook(directory, machines, *options, **variables).wait()


def run_module(
    directory: Path, machine: Machine, module: str, arguments: Document, *options: str, collections: Path | None = None
) -> Document:
    """One module of the collection on one machine, over SSH: what it returned, and what was printed as ``output``.

    ``collections``: where another copy of the collection is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    play, returned = directory / "module.yml", directory / "returned.json"
    keep = {"content": "{{ result | to_json }}", "dest": str(returned), "mode": "0600"}
    tasks = [
        {f"redisops.persistence.{module}": arguments, "register": "result", "ignore_errors": True},
        {"ansible.builtin.copy": keep, "delegate_to": "localhost", "become": False, "check_mode": False},
    ]
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    # Pipelining, as the roles have it: then the module leaves no file of Ansible's on its way.
    running = start_playbook(
        directory, [machine], *options, playbook=str(play), collections=collections, ansible_pipelining=True
    )
    outcome = running.wait()
    assert returned.exists(), outcome.output[-4000:]
    return {**json.loads(returned.read_text()), "output": outcome.output}
