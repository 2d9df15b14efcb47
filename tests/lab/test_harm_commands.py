# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is printed as the next command works as it stands, from another directory, on the host that it is for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import typing as t
from pathlib import Path

import pytest

from .bench import Bench
from .faults import break_directory_mode, fails
from .remediation import Run, allowed_directories, program, remediate, wait_for_lock
from .servers import KINDS, ServerKind
from .test_faults import require
from .test_remediate_trouble import STOP_WRITES, blocked_by_a_full_disk, cured, full_host

pytestmark = pytest.mark.lab

PRINTED = re.compile(r"ansible-playbook redisops\.persistence\.(\w+)(?: \\\n +|[^\n\\])*")


def printed(output: str, playbook: str, having: str = "") -> str:
    """The command for a playbook, as somebody copies it from the screen, line ends and all."""
    found = [match[0] for match in PRINTED.finditer(output) if match[1] == playbook and having in match[0]]
    assert found, f"no command for {playbook}: {output[-4000:]}"
    return found[-1]


def paste(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Into a shell that stands elsewhere."""
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    wait_for_lock()
    path = f"{Path(program('ansible-playbook')).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-ec", command],
        cwd=elsewhere,
        env={**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(directory / "local")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def one_of(done: Run, playbook: str, having: str = "") -> str:
    command = printed(done.output, playbook, having)
    words = shlex.split(command.replace("\\\n", " "))
    assert "--limit" in words and "-i" in words, command
    return command


@pytest.fixture(params=[kind for kind in KINDS if kind.binary][-1:] or KINDS[-1:], ids=lambda kind: kind.id)
def one_kind(request: pytest.FixtureRequest) -> ServerKind:
    return t.cast(ServerKind, request.param)


@pytest.mark.harm
def test_writes_are_let_through_on_a_host_without_room(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    """The emergency command is printed for a full disk: it must not need one."""
    require(("root",))
    bench = bench_of(one_kind)
    blocked_by_a_full_disk(bench)
    with full_host(tmp_path) as python:
        done = remediate(tmp_path, [bench.server], ansible_python_interpreter=str(python))
        assert bench.server.refuses_writes()
        pasted = paste(one_of(done, "unblock"), tmp_path)
        assert pasted.returncode == 0, pasted.stdout[-3000:] + pasted.stderr[-1000:]
        assert bench.server.call("CONFIG", "GET", STOP_WRITES)[1] == "no"
        assert not bench.server.refuses_writes()


@pytest.mark.harm
def test_a_cure_is_undone_as_printed(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    require(("root",))
    bench = bench_of(one_kind)
    break_directory_mode(bench)
    before = bench.server.directory.stat().st_mode
    done = remediate(tmp_path, [bench.server])
    cured(done, [bench])
    pasted = paste(one_of(done, "rollback"), tmp_path)
    assert pasted.returncode == 0, pasted.stdout[-3000:] + pasted.stderr[-1000:]
    assert bench.server.directory.stat().st_mode == before


@pytest.mark.harm
def test_what_waits_is_done_as_printed(
    bench_of: t.Callable[[ServerKind], Bench], one_kind: ServerKind, tmp_path: Path
) -> None:
    """An empty directory stands where the dump belongs: it is removed where that is asked for."""
    require(("root",))
    bench = bench_of(one_kind)
    server = bench.start()
    server.dump.mkdir()
    fails(server)
    done = remediate(tmp_path, [server], remediate_allowed_dirs=allowed_directories([server]))
    assert server.dump.is_dir()
    pasted = paste(one_of(done, "remediate", "remediate_opt_in_destination"), tmp_path)
    assert pasted.returncode == 0, pasted.stdout[-3000:] + pasted.stderr[-1000:]
    assert server.status() == "ok" and server.dump.is_file()
