# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``diagnose_reproduce``: a save under observation where no log is left, and never without being asked."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from . import faults
from .bench import Bench
from .faults import fails, saves
from .judging import cause_ids, explain, instance_of
from .servers import KINDS, ServerKind, child_pids
from .test_faults import require
from .test_fleet import run_playbook

pytestmark = pytest.mark.lab


def reports(directory: Path, benches: list[Bench], *arguments: str, **variables: t.Any) -> list[dict[str, t.Any]]:
    """The documents of one run of the playbook, in the order of the benches."""
    instances = [instance_of(bench.server) for bench in benches]
    report_directory = directory / "report"
    done = run_playbook(
        directory,
        {"redis_instances": instances, "diagnose_report_dir": str(report_directory), **variables},
        *arguments,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stdout + done.stderr
    report = json.loads((report_directory / "report.json").read_text())
    documents = {document["instance"]["address"]: document for document in report["hosts"]["lab"]["instances"]}
    return [documents[bench.server.address] for bench in benches]


def without_log(bench: Bench) -> None:
    """The fork is refused and nobody wrote it down."""
    group = bench.cgroup("pids")
    server = bench.start(log="nowhere", cgroups=[group.path])
    group.freeze_pids()
    fails(server)


def healed(bench: Bench) -> None:
    """What broke it is gone; only the flag is left."""
    server = saves(bench.start(log="nowhere"))
    server.dump.unlink()
    server.dump.mkdir()
    fails(server)
    server.dump.rmdir()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_a_watched_save_confirms(kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path) -> None:
    require(("root", "cgroup:pids"))
    benches = [bench_of(kind) for _number in range(4)]
    forbidden, denied, gone, trace = benches
    without_log(forbidden)
    faults.break_directory_mode_without_log(denied)
    healed(gone)
    faults.break_without_trace(trace)
    documents = reports(tmp_path, benches, diagnose_reproduce=True)
    assert cause_ids(documents[0]) == ["fork_pids_limit"], explain(documents[0])
    assert documents[0]["cause"]["confidence"] == "confirmed", explain(documents[0])
    assert cause_ids(documents[1]) == ["dir_permission_denied"], explain(documents[1])
    for document in documents[2:]:
        assert document["status"] == "ok", explain(document)
        assert document["cause"] is None, explain(document)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_nothing_is_started_unasked(
    kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    """Neither in check mode nor by default: not even a save that would succeed."""
    benches = [bench_of(kind)]
    healed(benches[0])
    before = benches[0].server.info("stats")["latest_fork_usec"]
    (document,) = reports(tmp_path, benches)
    assert document["status"] == "err", explain(document)
    variables = {"redis_instances": [instance_of(benches[0].server)], "diagnose_reproduce": True}
    done = run_playbook(tmp_path, variables, "--check")
    assert done.returncode != 0
    assert "check mode" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert benches[0].server.status() == "err"
    assert benches[0].server.info("stats")["latest_fork_usec"] == before
    assert not child_pids(benches[0].server.pid)
