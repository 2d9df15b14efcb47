# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places on the control node that another user has planted, or can write: no record, report or copy goes there."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from .bench import Bench, is_root
from .faults import fails
from .remediation import HOST, run, variables_for
from .servers import KINDS, Server, ServerKind

pytestmark = pytest.mark.lab

ANOTHER = 4242
DIAGNOSE = "redisops.persistence.diagnose"
PLACES = ("remediate_record_dir", "remediate_report_dir", "remediate_rescue_control_dir")


def planted_link(base: Path) -> Path:
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    victim = base / "victim"
    victim.mkdir(mode=0o755)
    (shared / "place").symlink_to(victim)
    os.chown(shared / "place", ANOTHER, ANOTHER, follow_symlinks=False)
    return shared / "place"


def directory_of_another(base: Path) -> Path:
    place = base / "theirs"
    place.mkdir()
    os.chown(place, ANOTHER, ANOTHER)
    return place / "below"


def closed(bench: Bench) -> Server:
    server = bench.start()
    bench.chmod(server.directory, 0o555)
    fails(server)
    return server


@pytest.mark.harm
@pytest.mark.parametrize("arrange", [planted_link, directory_of_another])
@pytest.mark.parametrize("place", PLACES)
def test_a_remediation_writes_to_no_place_of_another_user(
    place: str, arrange: t.Callable[[Path], Path], bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    if not is_root():
        pytest.skip("needs root")
    server = closed(bench_of(KINDS[1]))
    planted = arrange(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    variables = variables_for(tmp_path / "run", [server], **{place: str(planted)})
    done = run(tmp_path / "run", {HOST: variables})
    assert done.code == 2
    assert f"{place}: " in done.output, done.output[-3000:]
    assert server.directory.stat().st_mode & 0o777 == 0o555, "something was changed before the place was refused"
    assert [path for path in sorted(tmp_path.rglob("*")) if "/run" not in str(path)] == before


@pytest.mark.harm
@pytest.mark.parametrize("arrange", [planted_link, directory_of_another])
@pytest.mark.parametrize("place", ["diagnose_report_dir", "diagnose_evidence_dir"])
def test_a_diagnosis_writes_to_no_place_of_another_user(
    place: str, arrange: t.Callable[[Path], Path], bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    if not is_root():
        pytest.skip("needs root")
    server = closed(bench_of(KINDS[1]))
    planted = arrange(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    variables = variables_for(tmp_path / "run", [server], **{place: str(planted)})
    done = run(tmp_path / "run", {HOST: variables}, playbook=DIAGNOSE)
    assert done.code == 2
    assert "only you and root can write" in " ".join(done.output.split()), done.output[-3000:]
    assert [path for path in sorted(tmp_path.rglob("*")) if "/run" not in str(path)] == before
