# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixes that set the server: announced, made, kept over a restart where they claim it, and put back."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from .bench import Bench
from .faults import saves
from .remediation import HOST, ROLLBACK, Run, remediate, run, variables_for
from .servers import KINDS, ServerKind
from .snapshot import digest_of, server_changes, server_state
from .test_remediate_machine import keys_of

pytestmark = pytest.mark.lab

STOP_WRITES = "stop-writes-on-bgsave-error"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A parameter that a fix sets: ``config`` is the file before, ``running`` what is set at run time before."""

    fix: str
    parameter: str
    wanted: str
    variables: dict[str, t.Any]
    config: dict[str, str]
    opt_in: bool = True


SETTINGS = (
    Setting("stop_writes", STOP_WRITES, "yes", {}, {STOP_WRITES: "no"}, opt_in=False),
    Setting("oom_score", "oom-score-adj", "relative", {}, {"oom-score-adj": "no"}),
    Setting("maxmemory", "maxmemory", str(64 * 1024 * 1024), {"remediate_maxmemory": "64mb"}, {}),
    Setting("save_points", "save", "900 1 60 1000", {"remediate_save_points": "900 1 60 1000"}, {"save": '""'}),
)


def value(bench: Bench, parameter: str) -> str:
    return str(bench.server.call("CONFIG", "GET", parameter)[1])


def same_meaning(setting: Setting, value_now: str) -> bool:
    return value_now == setting.wanted or (setting.fix == "oom_score" and value_now in ("yes", "relative"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_settings_are_made_kept_and_put_back(
    kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    """Each on a server of its own, all in one run."""
    benches = []
    for setting in SETTINGS:
        bench = bench_of(kind)
        bench.start(config=setting.config)
        bench.own(bench.server.config_path)
        bench.own(bench.server.base)
        if setting.fix != "save_points":
            saves(bench.server)
        benches.append(bench)
    pairs = list(zip(SETTINGS, benches))
    servers = [bench.server for bench in benches]
    before = {bench.server.address: server_state(bench.server) for bench in benches}
    digests = [digest_of(server) for server in servers]

    check = settings_run(tmp_path / "check", benches, "--check", "--diff")
    real = settings_run(tmp_path / "real", benches)
    assert real.code == 0, real.output[-4000:]
    for setting, bench in pairs:
        assert same_meaning(setting, value(bench, setting.parameter)), real.story(bench.server.address)
        assert setting.fix in real.fixes(bench.server.address), real.story(bench.server.address)
    assert keys_of(check.changes()) == keys_of(real.changes())
    observed = set().union(*(server_changes(s, before[s.address], server_state(s)) for s in servers))
    assert observed == real.change_set()

    again = settings_run(tmp_path / "again", benches)
    assert again.changes() == [] and again.changed_tasks() == 0, again.changes()

    back = run(
        tmp_path / "back",
        {HOST: variables_for(tmp_path / "back", servers, remediate_record_dir=str(tmp_path / "real" / "record"))},
        playbook=ROLLBACK,
    )
    assert back.code == 0, back.output[-3000:]
    for setting, bench in pairs:
        assert value(bench, setting.parameter) == before[bench.server.address].config[setting.parameter], setting.fix
    assert [digest_of(server) for server in servers] == digests

    settings_run(tmp_path / "once-more", benches)
    for setting, bench in pairs:
        restart(bench)
        assert same_meaning(setting, value(bench, setting.parameter)), f"{setting.fix} does not survive a restart"


def settings_run(directory: Path, benches: list[Bench], *arguments: str) -> Run:
    variables: dict[str, t.Any] = {}
    for setting in SETTINGS:
        variables.update(setting.variables)
    return remediate(
        directory,
        [bench.server for bench in benches],
        *arguments,
        remediate_opt_in=[setting.fix for setting in SETTINGS if setting.opt_in],
        **variables,
    )


def restart(bench: Bench) -> None:
    """With the configuration file as the server itself has rewritten it."""
    written = bench.server.config_path.read_text()
    bench.server.stop()
    prepare, bench.server.prepare = bench.server.prepare, lambda: None  # type: ignore[method-assign]
    bench.server.start()
    bench.server.prepare = prepare  # type: ignore[method-assign]
    assert bench.server.config_path.read_text() == written
