# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts to make remediation break its rules: many servers at once, every fix asked for, any directory allowed."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .attempts import ATTEMPTS, CRON, Attempt, Check
from .bench import Bench, is_root, missing_need
from .faults import break_directory_mode
from .remediation import allowed_directories, remediate
from .remedies import OPT_IN, VALUES
from .score import SCORE
from .servers import KINDS, Server, ServerKind
from .snapshot import RECORDING, forbidden_commands, forget_commands, host_changes, host_state, server_state, untouched

pytestmark = pytest.mark.lab

OPTED_IN = [fix for fix in (*OPT_IN, "unit_sandbox") if fix != "cgroup_memory"]
"""With more memory for its group no save would be deadly."""

EVERYWHERE = ["/etc", "/etc/*", CRON, "/home/*", "/root/*", "/var/*", "/tmp", "/dev", "/usr"]
"""What nobody should allow, and a rule must withstand."""

ALLOWED: dict[str, t.Callable[[list[Server]], list[str]]] = {
    "allowed as meant": allowed_directories,
    "everything allowed": lambda servers: [*allowed_directories(servers), *EVERYWHERE],
}


# The oldest server and the newest: what is tried is refused by the plan and the modules, whatever they talk to.
RUNS = [(kind, "allowed as meant") for kind in (KINDS[0], KINDS[-1])] + [(KINDS[-1], "everything allowed")]


@pytest.mark.parametrize(("kind", "allowed"), RUNS, ids=[f"{kind.id}-{allowed}" for kind, allowed in RUNS])
def test_no_attempt_gets_through(
    kind: ServerKind, allowed: str, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    if not is_root():
        pytest.skip("needs root")
    arranged: list[tuple[Attempt, Server, Check]] = []
    for attempt in ATTEMPTS:
        if not any(map(missing_need, attempt.needs)):
            bench = bench_of(kind)
            bench.config.update(RECORDING)
            check = attempt.arrange(bench)
            arranged.append((attempt, bench.server, check))
    servers = [server for _attempt, server, _check in arranged]
    for server in servers:
        forget_commands(server)
    before = host_state()
    done = remediate(
        tmp_path,
        servers,
        remediate_opt_in=OPTED_IN,
        remediate_allowed_dirs=ALLOWED[allowed](servers),
        remediate_rescue_dir=str(tmp_path),
        **VALUES,
    )
    wrong = []
    for attempt, server, check in arranged:
        try:
            with SCORE.noting("attempts", f"{attempt.id}, {allowed}, on {kind.id}"):
                check(done)
                assert not forbidden_commands(server)
        except AssertionError as error:
            wrong.append(f"{attempt.id}: {error}\n{done.story(server.address)}")
    assert not wrong, "\n".join(wrong)
    assert not host_changes(before, host_state())
    assert len(done.documents) == len(arranged), done.output[-4000:]
    assert "49" not in [change["what"] for change in done.changes()]


@pytest.mark.attempt
@pytest.mark.parametrize("entry", ["/", "/var/../etc/*", "data"])
def test_a_list_that_cannot_be_meant_is_refused_before_anything(
    entry: str, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    bench = bench_of(KINDS[-1])
    break_directory_mode(bench)
    before = server_state(bench.server)
    done = remediate(tmp_path, [bench.server], remediate_allowed_dirs=[entry])
    assert done.code != 0
    assert "remediate_allowed_dirs" in done.output
    assert not untouched(bench.server, before, server_state(bench.server))
