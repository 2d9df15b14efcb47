# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the whole machine: overcommit and huge pages, now and at boot, each with its way back.

Under the lock of the lab, and put back; the files for the boot are taken away again.
"""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import pytest

from .bench import HUGE_PAGES, OVERCOMMIT, Bench, huge_pages
from .faults import FAULTS, break_fork_commit_limit, break_fork_overcommit_heuristic, saves
from .remediation import HOST, ROLLBACK, Run, remediate, run, settled, variables_for
from .remedies import BY_FAULT, REMEDIES
from .score import SCORE
from .servers import KINDS, ServerKind
from .snapshot import changes_between, digest_of, host_changes, host_state, states_of, untouched
from .test_faults import require

pytestmark = pytest.mark.lab

BOOT_FILES = (
    Path("/etc/sysctl.d/99-zz-redisops-persistence.conf"),
    Path("/etc/tmpfiles.d/redisops-persistence.conf"),
)
MODE = OVERCOMMIT / "overcommit_memory"


@pytest.fixture
def boot_files() -> t.Iterator[None]:
    """What is written for the boot is taken away again; nothing of the kind may be there before."""
    require(("root", "kernel-settings"))
    assert not [path for path in BOOT_FILES if path.exists()], "a file of an earlier run is there"
    made = [path.parent for path in BOOT_FILES if not path.parent.exists()]
    yield
    for path in BOOT_FILES:
        path.unlink(missing_ok=True)
    for directory in made:
        with contextlib.suppress(OSError):
            directory.rmdir()


@pytest.fixture
def bench(request: pytest.FixtureRequest, boot_files: None, bench_of: t.Callable[[ServerKind], Bench]) -> Bench:
    """After the fixture that takes the files away, so that the bench puts the machine back first."""
    return bench_of(request.param)


# What is fixed is the machine, whatever server runs on it. The oldest one keeps what it has mapped; later ones give the
# room for a value that does not come back after seconds.
oldest_kind = pytest.mark.parametrize("bench", KINDS[:1], ids=lambda kind: kind.id, indirect=True)
newest_kind = pytest.mark.parametrize("bench", KINDS[-1:], ids=lambda kind: kind.id, indirect=True)


def fix_overcommit(directory: Path, bench: Bench, *arguments: str, opt_in: tuple[str, ...] = ()) -> Run:
    return remediate(directory, [bench.server], *arguments, remediate_skip=["thp"], remediate_opt_in=list(opt_in))


def roll_back(directory: Path, made_in: Path, bench: Bench) -> Run:
    variables = variables_for(
        directory, [bench.server], remediate_record_dir=str(made_in / "record"), remediate_skip=[]
    )
    return run(directory, {HOST: variables}, playbook=ROLLBACK)


def keys_of(changes: list[dict[str, t.Any]]) -> set[tuple[t.Any, ...]]:
    return {(change["fix"], change["address"], change["what"], change["before"], change["after"]) for change in changes}


BREAKS = {"fork_commit_limit": break_fork_commit_limit, "fork_overcommit_heuristic": break_fork_overcommit_heuristic}


@oldest_kind
@pytest.mark.parametrize("fault", BREAKS)
def test_overcommit_is_announced_made_proven_and_put_back(fault: str, bench: Bench, tmp_path: Path) -> None:
    (remedy,) = (remedy for remedy in REMEDIES if remedy.fault == fault)
    assert remedy.machine_wide and BY_FAULT[fault] in FAULTS
    opt_in = (remedy.opt_in,) if remedy.opt_in else ()
    BREAKS[fault](bench)
    servers, digest = [bench.server], digest_of(bench.server)
    before = (host_state(), states_of(servers))

    check = fix_overcommit(tmp_path / "check", bench, "--check", "--diff", opt_in=opt_in)
    assert not host_changes(before[0], host_state())
    assert not untouched(bench.server, before[1][bench.server.address], states_of(servers)[bench.server.address])

    with SCORE.noting("remedies", f"{fault} on {bench.kind.id}"):
        real = fix_overcommit(tmp_path / "real", bench, opt_in=opt_in)
        assert real.results()[bench.server.address] == "cured", real.story(bench.server.address)
    assert real.code == 0
    assert bench.server.status() == "ok"
    assert MODE.read_text().strip() == "1"
    assert "vm.overcommit_memory" in BOOT_FILES[0].read_text()
    assert settled(keys_of(check.changes()), keys_of(real.changes())) == keys_of(real.changes())
    SCORE.counts["announced"] += len(check.changes())
    SCORE.counts["made"] += len(real.changes())
    observed = changes_between(servers, (before[0], host_state()), (before[1], states_of(servers)))
    # The kernel's own arithmetic of mode 2 is no setting of ours.
    assert observed == real.change_set()

    again = fix_overcommit(tmp_path / "again", bench, opt_in=opt_in)
    SCORE.counts["second-run changes"] += len(again.changes())
    assert again.changes() == [] and again.changed_tasks() == 0 and again.code == 0

    back = roll_back(tmp_path / "back", tmp_path / "real", bench)
    assert back.code == 0, back.output[-3000:]
    assert not host_changes(before[0], host_state())
    assert digest_of(bench.server) == digest


@oldest_kind
@pytest.mark.attempt
def test_mode_2_is_left_alone_without_a_word(bench: Bench, tmp_path: Path) -> None:
    """It may be the policy of the host."""
    break_fork_commit_limit(bench)
    before = (host_state(), states_of([bench.server])[bench.server.address])
    done = fix_overcommit(tmp_path, bench)
    assert done.code != 0
    assert done.results()[bench.server.address] == "refused", done.story(bench.server.address)
    assert not host_changes(before[0], host_state())
    assert not untouched(bench.server, before[1], states_of([bench.server])[bench.server.address])
    assert not BOOT_FILES[0].exists()


@newest_kind
def test_huge_pages_of_a_healthy_host(bench: Bench, tmp_path: Path) -> None:
    """Prevention: no incident, and the risk is gone, now and at boot; no save is started for it."""
    if not HUGE_PAGES.exists():
        pytest.skip("this kernel has no transparent huge pages")
    policy = bench.exit.enter_context(huge_pages())
    policy("always")
    saves(bench.start())
    before = host_state()
    options: dict[str, t.Any] = {"remediate_skip": ["overcommit"], "remediate_scope": "prevention"}
    check = remediate(tmp_path / "check", [bench.server], "--check", "--diff", **options)
    assert not host_changes(before, host_state())
    real = remediate(tmp_path / "real", [bench.server], **options)
    assert real.code == 0, real.output[-3000:]
    assert "[never]" in HUGE_PAGES.read_text()
    assert keys_of(check.changes()) == keys_of(real.changes())
    assert host_changes(before, host_state()) == {change for change in real.change_set() if change[0] is None}
    again = remediate(tmp_path / "again", [bench.server], **options)
    assert again.changes() == [] and again.changed_tasks() == 0
    assert roll_back(tmp_path / "back", tmp_path / "real", bench).code == 0
    assert not host_changes(before, host_state())


@newest_kind
def test_an_incident_alone_leaves_risks(bench: Bench, tmp_path: Path) -> None:
    saves(bench.start())
    before = host_state()
    done = remediate(tmp_path, [bench.server], remediate_skip=[], remediate_scope="incident")
    assert done.code == 0
    assert done.changes() == []
    assert not host_changes(before, host_state())
