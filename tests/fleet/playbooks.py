# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running playbooks of the collection against machines of the fleet, over SSH, as an operator runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from .machine import Machine

DIAGNOSE = "redisops.persistence.diagnose"
PLAYBOOK_SECONDS = 300.0
Document = dict[str, t.Any]


class Outcome(t.NamedTuple):
    """What a run left: its exit code, what it printed, and the documents it wrote."""

    rc: int
    output: str
    directory: Path

    @property
    def report(self) -> Document:
        return t.cast(Document, json.loads((self.directory / "reports" / "report.json").read_text()))

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


def write_inventory(path: Path, machines: t.Iterable[Machine], user: str, become: bool) -> None:
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
        }
        for machine in machines
    }
    # JSON is YAML.
    path.write_text(json.dumps({"all": {"hosts": hosts}}))


def ansible_playbook() -> str:
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = shutil.which("ansible-playbook", path=beside)
    if command is None:
        raise RuntimeError("ansible-playbook is not installed")
    return command


def run_playbook(
    directory: Path,
    machines: t.Sequence[Machine],
    *options: str,
    playbook: str = DIAGNOSE,
    user: str = "deploy",
    become: bool = True,
    **variables: t.Any,
) -> Outcome:
    """One run of ``ansible-playbook``; reports and evidence go to the run's directory."""
    directory.mkdir(parents=True, exist_ok=True)
    inventory, variables_file = directory / "inventory.yml", directory / "variables.json"
    write_inventory(inventory, machines, user, become)
    wanted = {
        "diagnose_report_dir": str(directory / "reports"),
        "diagnose_evidence_dir": str(directory / "evidence"),
        **variables,
    }
    variables_file.write_text(json.dumps(wanted))
    done = subprocess.run(
        [ansible_playbook(), playbook, "-i", str(inventory), "-e", f"@{variables_file}", *options],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PLAYBOOK_SECONDS,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(directory / "home"),
            # A path of a socket may have 108 bytes.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(machines[0].directory.parent / "cp"),
        },
    )
    assert "Traceback" not in done.stdout, done.stdout[-4000:]
    return Outcome(done.returncode, done.stdout, directory)
