# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Task files of the role remediate, run by Ansible with plans that only a race or an odd inventory brings about."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.redisops.persistence.plugins.plugin_utils import record
from live_servers import Lab, Server

ROLE = "redisops.persistence.remediate"
STATE_DIRECTORY = Path("/run/redisops-persistence")
# Locks and the states of unblocks are those of a machine: a mount of our own keeps other tests out.
OWN_STATE = 'mount -t tmpfs -o mode=0700 tmpfs "$1"; shift; exec "$@"'

Tasks = list[dict[str, t.Any]]


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    made = Lab(Path(tempfile.mkdtemp(prefix="remediate-role-")))
    yield made
    made.stop()


@pytest.fixture
def broken(lab: Lab) -> Server:
    """A server whose last save failed, so that it refuses writes."""
    name = next(iter(lab.binaries), None)
    if name is None:
        pytest.skip("no server on this machine")
    server = lab.start(name, "--save", "3600", "1", "--repl-diskless-sync-delay", "0")
    assert server is not None
    (server.directory / "dump.rdb").mkdir()
    server.ask("SET", "key", "value")
    server.ask("BGSAVE")
    give_up_at = time.monotonic() + 10
    while "rdb_last_bgsave_status:err" not in server.ask("INFO", "persistence"):
        assert time.monotonic() < give_up_at, "the save did not fail"
        time.sleep(0.05)
    return server


def run_tasks(directory: Path, tasks: Tasks, host: str = "web-07", **variables: t.Any) -> str:
    """What Ansible says; it must succeed."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare for a state directory of its own")
    program = Path(sys.executable).parent / "ansible-playbook"
    if not program.exists():
        pytest.skip("ansible-playbook is not installed")
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks, "vars": variables}
    path = directory / "play.yml"
    path.write_text(yaml.safe_dump([play]))
    interpreter = json.dumps({"ansible_python_interpreter": sys.executable})
    STATE_DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    command = [str(program), "-i", f"{host},", "-c", "local", "-e", interpreter, str(path)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", OWN_STATE, "sh", str(STATE_DIRECTORY), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def role_tasks(name: str, **variables: t.Any) -> dict[str, t.Any]:
    return {"ansible.builtin.include_role": {"name": ROLE, "tasks_from": name}, "vars": variables}


def new_record(directory: Path, host: str) -> str:
    return record.open_record(str(directory / "record"), host, "20261122T235901Z-1", "me@here", [], time.time())


def test_an_operator_who_is_kept_out_ends_nobodys_unblock(broken: Server, tmp_path: Path) -> None:
    """Planned before the other one let the writes through, kept out after it."""
    connection = {"login_port": broken.port}
    address = f"127.0.0.1:{broken.port}"
    unblock = {"fix": "emergency_unblock", "address": address, "arguments": {"seconds": 60}, "changes": []}
    plan = {
        "run_id": "the-second",
        "record_path": new_record(tmp_path, "web-07"),
        "actions": [unblock],
        "instances": [{"address": address, "connection": connection}],
    }
    first = {"run_id": "the-first", "operator": "ann@desk", "control_identity": "another control node"}
    run_tasks(
        tmp_path,
        [
            {"redisops.persistence.remediation_lock": first},
            {"redisops.persistence.redis_emergency_unblock": {**connection, "seconds": 60}},
            role_tasks("carry_out", __remediate_plan=plan, __remediate_with_proof=False),
            {"ansible.builtin.assert": {"that": "'is being remediated by ann@desk' in __remediate_error"}},
            {
                "redisops.persistence.redis_emergency_unblock": {**connection, "state": "absent"},
                "register": "put_back",
            },
            {"ansible.builtin.assert": {"that": "put_back is changed"}},
        ],
    )
    assert broken.ask("CONFIG", "GET", "stop-writes-on-bgsave-error")[1] == "yes"


def test_a_copy_on_the_control_node_stays_in_its_place_and_is_private(broken: Server, tmp_path: Path) -> None:
    """Of a host whose name is a path. The copy holds every key."""
    host = "../../web/07"
    action = {
        "fix": "rescue",
        "address": f"127.0.0.1:{broken.port}",
        "arguments": {"directory": str(tmp_path / "copies"), "control_directory": str(tmp_path / "a" / "b" / "kept")},
        "changes": [],
    }
    plan = {"run_id": "one", "record_path": new_record(tmp_path, host), "actions": [], "instances": []}
    lock = {"holder": {"expires_unix": time.time() + 3600}}
    before = os.umask(0o022)
    try:
        run_tasks(
            tmp_path,
            [role_tasks("fix", __remediate_plan=plan, __remediate_action=action, __remediate_lock=lock)],
            host=host,
        )
    finally:
        os.umask(before)
    copies = [path for path in tmp_path.rglob("*.rdb") if "copies" not in path.parts]
    assert [path.parent.parent for path in copies] == [tmp_path / "a" / "b" / "kept"], copies
    assert stat.S_IMODE(copies[0].parent.stat().st_mode) == 0o700
    assert copies[0].read_bytes() == next((tmp_path / "copies").iterdir()).read_bytes()


@pytest.mark.parametrize("is_allowed_today", [False, True])
def test_a_record_is_no_permission(broken: Server, tmp_path: Path, is_allowed_today: bool) -> None:
    """One that says that any directory may be changed, and that this one was somebody else's."""
    path = str(broken.directory)
    status = broken.directory.stat()
    # As a rollback asks for it: what is put back gives nobody anything new.
    accept = ["untrusted_server", "shared_directory", "foreign_files"]
    arguments = {"pid": broken.pid, "path": path, "uid": 65534, "gid": 65534, "accept": accept}
    arguments["allowed_dirs"] = ["/tmp", path]
    action = {"fix": "data_dir", "address": f"127.0.0.1:{broken.port}", "arguments": arguments, "changes": []}
    plan = {"run_id": "one", "record_path": new_record(tmp_path, "web-07"), "actions": [], "instances": []}
    lock = {"holder": {"expires_unix": time.time() + 3600}}
    task = role_tasks("fix", __remediate_plan=plan, __remediate_action=action, __remediate_lock=lock)
    allowed = {"remediate_allowed_dirs": [path]} if is_allowed_today else {}
    run_tasks(tmp_path, [task], __remediate_with_proof=False, **allowed)
    now = broken.directory.stat()
    entry = record.read(plan["record_path"])["entries"][0]
    if is_allowed_today:
        assert entry["state"] == "done" and now.st_uid == 65534
    else:
        assert entry["state"] == "failed" and "not among the allowed directories" in entry["error"]
        assert (now.st_uid, now.st_gid, now.st_ctime_ns) == (status.st_uid, status.st_gid, status.st_ctime_ns)
