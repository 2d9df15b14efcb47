# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No cure destroys what it is called to save: each way to do harm, unasked and with everything opted in."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .attempts import Attempt, Check
from .bench import Bench, is_root, missing_need
from .harms import HARMS
from .remediation import allowed_directories, remediate
from .remedies import OPT_IN, VALUES
from .score import SCORE
from .servers import KINDS, Server, ServerKind
from .snapshot import RECORDING, forbidden_commands, forget_commands, host_changes, host_state

pytestmark = pytest.mark.lab

DEFAULT, EVERYTHING = "default policy", "everything opted in"
EVERYTHING_OPTED_IN = [  # fmt: skip
    fix
    for fix in (
        *OPT_IN,
        "verify",
        "rewrite_config",
        "oom_score",
        "unit_sandbox",
        "data_dir",
        "orphan_temp_files",
        "process_limit",
        "file_size_limit",
    )
    if fix != "cgroup_memory"
]
"""With more memory for its group no save would be deadly."""


@pytest.mark.parametrize("policy", [DEFAULT, EVERYTHING])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_no_harm_is_done(
    kind: ServerKind, policy: str, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    if not is_root():
        pytest.skip("needs root")
    arranged: list[tuple[Attempt, Server, Check]] = []
    for harm in HARMS:
        if not any(map(missing_need, harm.needs)):
            bench = bench_of(kind)
            bench.config.update(RECORDING)
            check = harm.arrange(bench)
            arranged.append((harm, bench.server, check))
    # Without a server in the list the run would find, and remediate, whatever runs on this machine.
    if not arranged:
        pytest.skip("nothing that the ways to do harm need is here")
    servers = [server for _harm, server, _check in arranged]
    for server in servers:
        forget_commands(server)
    before = host_state()
    asked: dict[str, t.Any] = {}
    if policy == EVERYTHING:
        asked = {"remediate_opt_in": EVERYTHING_OPTED_IN, "remediate_rescue_dir": str(tmp_path), **VALUES}
    done = remediate(tmp_path, servers, remediate_allowed_dirs=allowed_directories(servers), **asked)
    wrong = []
    for harm, server, check in arranged:
        try:
            with SCORE.noting("harms", f"{harm.id}, {policy}, on {kind.id}"):
                check(done)
                assert not forbidden_commands(server)
        except AssertionError as error:
            wrong.append(f"{harm.id}: {error}\n{done.story(server.address)}")
    assert not wrong, "\n".join(wrong)
    assert not host_changes(before, host_state())
    assert len(done.documents) == len(arranged), done.output[-4000:]
