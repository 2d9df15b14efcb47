# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file again: a rollback keeps what we put back and nothing else, and so does the module alone."""

from __future__ import annotations

import shutil
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from .bench import Bench
from .harms.configuration import CARELESS, STOP_WRITES, lines_of, start_with_file_of_its_own
from .judging import instance_of
from .remediation import HOST, ROLLBACK, Run, remediate, run, variables_for
from .servers import KINDS, Server, ServerKind
from .test_faults import require

pytestmark = pytest.mark.lab

SAVE_POINTS = "900 1 60 1000"
SOMEBODYS_SAVE_POINTS = "5 5"


def save_points_of(server: Server) -> str:
    return str(server.call("CONFIG", "GET", "save")[1])


def with_save_points(directory: Path, server: Server) -> Run:
    done = remediate(directory, [server], remediate_opt_in=["save_points"], remediate_save_points=SAVE_POINTS)
    assert save_points_of(server) == SAVE_POINTS, done.story(server.address)
    assert has_save_points(server, SAVE_POINTS), lines_of(server)
    return done


def has_save_points(server: Server, points: str) -> bool:
    """In one line (7.0 and newer) or in one line each."""
    words = points.split()
    each = [f"save {seconds} {changes}" for seconds, changes in zip(words[::2], words[1::2])]
    lines = lines_of(server)
    return f"save {points}" in lines or all(line in lines for line in each)


def roll_back(directory: Path, record: Path, server: Server) -> Run:
    return run(
        directory,
        {HOST: variables_for(directory, [server], remediate_record_dir=str(record))},
        playbook=ROLLBACK,
    )


@pytest.mark.harm
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_a_rollback_keeps_nobody_elses_value(
    kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    """One server whose value somebody has set since, one whose file somebody has edited since, one as it was left."""
    require(("root",))
    servers = [start_with_file_of_its_own(bench_of(kind), **CARELESS, save='""') for _number in range(3)]
    done = remediate(tmp_path / "real", servers, remediate_opt_in=["save_points"], remediate_save_points=SAVE_POINTS)
    for server in servers:
        assert has_save_points(server, SAVE_POINTS), done.story(server.address)
    set_since, edited_since, untouched = servers
    set_since.call("CONFIG", "SET", "save", SOMEBODYS_SAVE_POINTS)
    text = edited_since.config_path.read_text()
    edited_since.config_path.write_text(
        text.replace("save 900 1 60 1000", "save 77 7").replace("save 900 1", "save 77 7")
    )
    back = run(
        tmp_path / "back",
        {HOST: variables_for(tmp_path / "back", servers, remediate_record_dir=str(tmp_path / "real" / "record"))},
        playbook=ROLLBACK,
    )
    assert save_points_of(set_since) == SOMEBODYS_SAVE_POINTS
    assert not has_save_points(set_since, SOMEBODYS_SAVE_POINTS), "the rollback made it permanent"
    assert has_save_points(set_since, SAVE_POINTS)
    assert "save 77 7" in lines_of(edited_since), "the rollback undid an edit"
    assert save_points_of(edited_since) == "" and save_points_of(untouched) == ""
    assert not has_save_points(untouched, SAVE_POINTS), "what nobody touched is not put back in the file"
    assert f"{STOP_WRITES} no" in lines_of(untouched)
    assert back.output.count("Left alone") >= 2, back.output[-3000:]


@pytest.mark.harm
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_module_alone_loses_no_line(
    kind: ServerKind, bench_of: t.Callable[[ServerKind], Bench], tmp_path: Path
) -> None:
    """``rewrite: yes`` for a server without its directory, and for one whose file was edited; a third is rewritten."""
    require(("root",))
    servers = [start_with_file_of_its_own(bench_of(kind), **CARELESS) for _number in range(3)]
    gone, edited, well = servers
    shutil.rmtree(gone.directory)
    time.sleep(0.5)
    edited.config_path.write_text(edited.config_path.read_text().replace("save 3600 1", "save 77 7"))
    well.call("CONFIG", "SET", "maxmemory", "100mb")
    playbook = tmp_path / "module.yml"
    tasks = [
        {
            "redisops.persistence.redis_config": {**instance_of(server), "rewrite": "yes"},
            "register": f"result_{number}",
            "ignore_errors": True,
        }
        for number, server in enumerate(servers)
    ]
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = run(tmp_path, {HOST: variables_for(tmp_path, servers)}, playbook=str(playbook))
    assert f"dir {gone.directory}" in lines_of(gone), done.output[-3000:]
    assert "save 77 7" in lines_of(edited), done.output[-3000:]
    assert done.output.count("...ignoring") == 2, done.output[-3000:]
    assert [line for line in lines_of(well) if line.startswith("maxmemory 100")], done.output[-3000:]
