# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A save whose fork is slow, as on any large server: it is running, whatever the server says of its age."""

from __future__ import annotations

import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _client
from ansible_collections.redisops.persistence.plugins.module_utils._bgsave import SaveOptions, run_bgsave
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions, connect
from live_servers import CLIENTS, Lab, Server, require_client, system

FORK_SECONDS = 4
SLOW_FORK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
pid_t fork(void) {
    struct timespec wanted = {SECONDS, 0};
    pid_t (*real)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
    while (nanosleep(&wanted, &wanted) != 0)
        ;
    return real();
}
""".replace("SECONDS", str(FORK_SECONDS))


@pytest.fixture(scope="module")
def slow_fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes fork slow."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to make fork slow with")
    directory = tmp_path_factory.mktemp("slow-fork")
    source = directory / "slow_fork.c"
    source.write_text(SLOW_FORK)
    library = directory / "slow_fork.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(params=CLIENTS)
def prefer(request: pytest.FixtureRequest) -> str:
    return require_client(request.param)


def start(lab: Lab, name: str, library: Path, *arguments: str) -> Server:
    """A server whose forks are slow."""
    wrapper = library.parent / f"{name}-server"
    wrapper.write_text(f'#!/bin/sh\nexport LD_PRELOAD="{library}"\nexec "{lab.binaries[name]}" "$@"\n')
    wrapper.chmod(0o755)
    lab.binaries[f"{name}-slow"] = wrapper
    server = lab.start(f"{name}-slow", *arguments)
    assert server is not None
    server.fill(100)
    return server


def save(server: Server, prefer: str, timeout_seconds: float, **options: t.Any) -> dict[str, t.Any]:
    reached = ConnectionOptions(unix_socket=str(server.socket_path), timeout_seconds=timeout_seconds)

    def reconnect() -> _client.Client:
        return connect(reached, system(), prefer)

    return run_bgsave(reconnect(), SaveOptions(**options), reconnect=reconnect)


def latest_fork_seconds(server: Server) -> float:
    line = next(line for line in server.ask("INFO").splitlines() if line.startswith("latest_fork_usec:"))
    return int(line.partition(":")[2]) / 1_000_000


@pytest.mark.parametrize("timeout_seconds", [20.0, 1.0], ids=["answer awaited", "answer lost"])
def test_a_save_after_a_slow_fork_succeeds(
    lab: Lab, name: str, prefer: str, slow_fork: Path, timeout_seconds: float
) -> None:
    # 100 keys of 20 ms: the child is at work for 2 s after the fork.
    server = start(lab, name, slow_fork, "--rdb-key-save-delay", "20000")
    result = save(server, prefer, timeout_seconds)
    assert latest_fork_seconds(server) >= FORK_SECONDS
    assert (result["state"], result["message"], result["status_after"]) == ("succeeded", None, "ok")
    assert result["last_save_advanced"] is True
    assert result["duration_seconds"] >= FORK_SECONDS + 2


def test_a_save_after_a_slow_fork_that_takes_too_long_is_still_running(
    lab: Lab, name: str, prefer: str, slow_fork: Path
) -> None:
    server = start(lab, name, slow_fork, "--rdb-key-save-delay", "200000")
    result = save(server, prefer, 20.0, wait_timeout_seconds=7.0)
    assert (result["state"], result["ended_unix"]) == ("timeout", None)
    assert result["progress"]["keys_total"] == 100


def test_a_save_whose_child_fails_after_a_slow_fork_has_failed(
    lab: Lab, name: str, prefer: str, slow_fork: Path
) -> None:
    server = start(lab, name, slow_fork)
    (server.directory / "dump.rdb").mkdir()
    result = save(server, prefer, 20.0)
    assert (result["state"], result["status_after"], result["aborted"]) == ("failed", "err", False)
