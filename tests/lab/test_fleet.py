# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One real run of the playbook against every fault at once, as an operator would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .bench import Bench, is_root, missing_need
from .faults import FAULTS, STATES, Fault
from .judging import cause_ids, instance_of
from .score import SCORE
from .servers import KINDS, ServerKind
from .test_faults import check_real, check_verdict

pytestmark = pytest.mark.lab


def fits(fault: Fault, kind: ServerKind) -> bool:
    """Whether the fault can stand beside others on this machine."""
    return not (fault.machine_wide or not fault.in_fleet or fault.servers(kind) or any(map(missing_need, fault.needs)))


def run_playbook(directory: Path, variables: dict[str, t.Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """``ansible-playbook redisops.persistence.diagnose`` with a local connection."""
    command = shutil.which(
        "ansible-playbook", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    assert command, "ansible-playbook is not installed"
    variables_file = directory / "variables.json"
    variables_file.write_text(json.dumps({"ansible_python_interpreter": sys.executable, **variables}))
    return subprocess.run(
        [command, "redisops.persistence.diagnose", "-i", "lab,", "-c", "local", "-e", f"@{variables_file}", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(directory / "local"), "ANSIBLE_NOCOLOR": "1"},
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_every_fault_in_one_run(kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path) -> None:
    if not is_root():
        pytest.skip("needs root")
    broken: list[tuple[Fault, Bench]] = []
    for fault in FAULTS + STATES:
        if fits(fault, kind):
            bench = bench_of(kind)
            fault.break_it(bench)
            check_real(fault, bench)
            broken.append((fault, bench))
    instances = [
        instance_of(bench.server, **(fault.options(bench) if fault.options else {})) for fault, bench in broken
    ]
    for instance in instances:
        instance.pop("timeout_seconds", None)  # the role has one for all
    report_directory = tmp_path / "report"
    done = run_playbook(tmp_path, {"redis_instances": instances, "diagnose_report_dir": str(report_directory)})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stdout + done.stderr
    report = json.loads((report_directory / "report.json").read_text())
    documents = {document["instance"]["address"]: document for document in report["hosts"]["lab"]["instances"]}
    wrong = []
    for fault, bench in broken:
        try:
            with SCORE.noting("fleet", f"{fault.id} on {kind.id}"):
                check_verdict(fault, documents[bench.server.address])
        except (AssertionError, KeyError):
            document = documents.get(bench.server.address)
            wrong.append((fault.id, document and (document["state"], cause_ids(document))))
    assert not wrong
    for fault, bench in broken:
        assert bench.server.address in done.stdout, f"{fault.id} has no screen"
