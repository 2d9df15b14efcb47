# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that drops what is sent to it costs its time-out once, whatever is asked for: the fleet waits for it."""

from __future__ import annotations

import shutil
import time
import typing as t
from pathlib import Path

import pytest

from .remediation import HOST, ROLLBACK, start_run

pytestmark = pytest.mark.lab

TIME_OUT_SECONDS = 4
DIAGNOSE, AUDIT, REMEDIATE = (f"redisops.persistence.{name}" for name in ("diagnose", "audit", "remediate"))
RUN_SECONDS = 120


def blackhole(directory: Path) -> tuple[dict[str, t.Any], Path]:
    """Variables of a host whose connection never answers, and the file with a line for each time it was tried."""
    tries = directory / "tries"
    program = directory / "drop"
    program.write_text(f"#!/bin/sh\necho >> {tries}\nexec sleep 1000\n")
    program.chmod(0o755)
    variables = {
        "ansible_connection": "ssh",
        "ansible_host": "192.0.2.1",
        "ansible_ssh_common_args": f"-o ProxyCommand={program} -o ConnectTimeout={TIME_OUT_SECONDS}",
        "ansible_ssh_timeout": TIME_OUT_SECONDS,
        "remediate_record_dir": str(directory / "record"),
        "remediate_report_dir": str(directory / "report"),
        "diagnose_report_dir": str(directory / "report"),
    }
    return variables, tries


@pytest.mark.harm
@pytest.mark.parametrize("playbook", [DIAGNOSE, REMEDIATE])
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_a_blackholed_host_costs_its_time_out_once(playbook: str, check_mode: bool, tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("needs ssh")
    variables, tries = blackhole(tmp_path)
    began = time.monotonic()
    done = start_run(tmp_path, {HOST: variables}, *(["--check"] if check_mode else []), playbook=playbook).finish(
        RUN_SECONDS
    )
    seconds = time.monotonic() - began
    assert len(tries.read_text().splitlines()) == 1, done.output[-3000:]
    assert "does not answer in time" in done.output
    assert done.entry["reachable"] is False
    assert seconds >= TIME_OUT_SECONDS


@pytest.mark.harm
def test_a_rollback_of_a_blackholed_host_costs_its_time_out_once(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("needs ssh")
    variables, tries = blackhole(tmp_path)
    run = tmp_path / "record" / "20261125T000000Z-1"
    run.mkdir(parents=True, mode=0o700)
    run.parent.chmod(0o700)
    (run / f"{HOST}.json").write_text(RECORD)
    done = start_run(tmp_path, {HOST: variables}, playbook=ROLLBACK).finish(RUN_SECONDS)
    assert len(tries.read_text().splitlines()) == 1, done.output[-3000:]
    assert done.recap()["unreachable"] == 1, done.output[-3000:]


RECORD = """{"schema_version": 1, "collection_version": "0.1.0", "kind": "remediation", "run_id": "20261125T000000Z-1",
"host": "lab", "operator": "o@h", "started_at": "2026-11-25T00:00:00Z", "ended_at": null, "rolls_back": null,
"instances": [{"address": "127.0.0.1:1", "connection": {"login_host": "127.0.0.1", "login_port": 1}}],
"entries": [{"number": 1, "fix": "data_dir", "address": "127.0.0.1:1", "state": "done", "started_unix": 1,
"ended_unix": 2, "arguments": {"pid": 812, "started_unix": 1.5, "path": "/srv/redis", "allowed_dirs": ["/srv/redis"]},
"planned": [], "changes": [{"fix": "data_dir", "address": "127.0.0.1:1", "what": "owner of /srv/redis",
"before": "0:0", "after": "107:107", "reversible": true}], "error": null, "left_to_do": null, "restored": false,
"details": {}}]}
"""
