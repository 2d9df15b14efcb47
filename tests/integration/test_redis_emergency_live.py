# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes let through for a while on real servers, and what ends it: a save, the deadline, whatever befalls the run."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from live_servers import CLIENTS, SERVERS, Lab, Server, require_client

# What is told of the watcher alone, and is the same whatever server it watches, is tried on one of them: each of these
# waits for real time to pass.
on_one_server = pytest.mark.parametrize("name", [SERVERS[-1]], indirect=True)
SECRET = "s3cret with blank"
PARAMETER = "stop-writes-on-bgsave-error"
MODULE = "ansible_collections.redisops.persistence.plugins.modules.redis_emergency_unblock"
END_SECONDS = 20.0

# Runs the module as ansible-core does, but for the zip: arguments in memory, no redis-py where that is to be missing,
# and the collection's files out of reach once the module has begun, as they are when the zip is removed.
STARTER = """
import json, os, runpy, sys
with open(os.environ["STARTER_ARGUMENTS"]) as handle:
    arguments = json.load(handle)
if arguments.pop("without_redis_py"):
    sys.modules["redis"] = None
arguments.update(_ansible_remote_tmp=os.environ["STARTER_TMP"], _ansible_keep_remote_files=False)
import ansible.module_utils.basic as basic
basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
basic._ANSIBLE_PROFILE = "legacy"
import importlib
module = importlib.import_module(os.environ["STARTER_MODULE"])
sys.path[:] = [entry for entry in sys.path if "collections" not in entry]
sys.meta_path[:] = [finder for finder in sys.meta_path if "ansible" not in type(finder).__module__]
sys.path_importer_cache.clear()
module.main()
"""


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return require_client(request.param)


class Patient:
    """A server with a password whose last save failed: a directory has the name of the dump."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.watchers: list[int] = []
        (server.directory / "dump.rdb").mkdir()
        self.ask("SET", "key", "value")
        self.save()
        assert self.ask("SET", "key", "value").startswith("-MISCONF")

    def ask(self, *arguments: str) -> t.Any:
        return self.server.ask_all([("AUTH", SECRET), arguments])[-1]

    def info(self, field: str) -> str:
        return str(re.search(rf"^{field}:(\S*)\r?$", self.ask("INFO"), re.MULTILINE).group(1))  # type: ignore[union-attr]

    def save(self) -> None:
        self.ask("BGSAVE")
        give_up_at = time.monotonic() + 10
        while self.info("rdb_bgsave_in_progress") != "0" and time.monotonic() < give_up_at:
            time.sleep(0.02)

    def heal(self) -> None:
        (self.server.directory / "dump.rdb").rmdir()

    @property
    def value(self) -> str:
        return str(self.ask("CONFIG", "GET", PARAMETER)[1])

    def wait_for(self, value: str, seconds: float = END_SECONDS) -> float:
        """Until the parameter has the value; how long that took."""
        began = time.monotonic()
        while self.value != value:
            assert time.monotonic() - began < seconds, f"{PARAMETER} did not become {value}"
            time.sleep(0.05)
        return time.monotonic() - began

    def run(self, client: str = "redis-py", check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run the module, its output through pipes, as over SSH; returns when the pipes are closed."""
        done = subprocess.run(
            [sys.executable, "-c", STARTER],
            env=self.environment(client, check, **options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert SECRET not in done.stdout + done.stderr.replace(repr(SECRET), "")
        result = t.cast("dict[str, t.Any]", json.loads(done.stdout))
        if result.get("watcher_pid"):
            self.watchers.append(result["watcher_pid"])
        return result

    def environment(self, client: str, check: bool = False, **options: t.Any) -> dict[str, str]:
        arguments = {
            "login_port": self.server.port,
            "login_password": SECRET,
            "without_redis_py": client == "redis-cli",
            "_ansible_check_mode": check,
            **options,
        }
        # In a file: what is in the environment of a process stays readable there.
        file = self.server.directory / "arguments.json"
        file.write_text(json.dumps(arguments))
        return {
            **os.environ,
            "STARTER_ARGUMENTS": str(file),
            "STARTER_TMP": str(self.server.directory),
            "STARTER_MODULE": MODULE,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def state_file(self) -> Path | None:
        base = Path("/run/redisops-persistence") if os.geteuid() == 0 else None
        path = (base or Path(f"/dev/shm/redisops-persistence-{os.geteuid()}")) / f"emergency-{self.info('run_id')}.json"
        return path if path.exists() else None

    def end(self) -> None:
        for pid in self.watchers:
            if is_watcher(pid):
                os.kill(pid, signal.SIGTERM)
                # While the server lives: else the watcher leaves its state, which says what is left to do.
                has_ended(pid)
        self.server.stop()


def is_watcher(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"redis_emergency_unblock" in Path(f"/proc/{pid}/cmdline").read_bytes() or (
            STARTER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
    return False


def has_ended(pid: int, seconds: float = END_SECONDS) -> bool:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        try:
            if re.search(r"^State:\s+[ZX]", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def patient(lab: Lab, name: str) -> t.Iterator[Patient]:
    server = lab.start(name, "--save", "900", "1", "--requirepass", SECRET)
    if server is None:
        # A server that wants a password answers PING with a refusal, which is an answer.
        pytest.fail(f"{name} did not start")
    made = Patient(server)
    yield made
    made.end()


def test_a_save_that_succeeds_ends_it(patient: Patient, client: str) -> None:
    predicted = patient.run(client, check=True, seconds=600)
    assert patient.value == "yes" and patient.state_file() is None
    began = time.monotonic()
    made = patient.run(client, seconds=600)
    assert time.monotonic() - began < 60, "the watcher holds the module's pipes open"
    assert made["changes"] == predicted["changes"] and made["diff"] == predicted["diff"]
    assert [(entry["what"], entry["before"], entry["after"]) for entry in made["changes"]] == [
        (f"config {PARAMETER}", "yes", "no")
    ]
    assert abs(made["deadline_unix"] - time.time() - 600) < 15
    assert patient.ask("SET", "key", "value") == "OK"
    again = patient.run(client, seconds=600)
    assert (again["changed"], again["changes"]) == (False, [])
    assert (again["watcher_pid"], again["value_before"]) == (made["watcher_pid"], "yes")
    # A save that fails again ends nothing.
    patient.save()
    time.sleep(3)
    assert patient.value == "no"
    patient.heal()
    patient.save()
    patient.wait_for("yes")
    assert has_ended(made["watcher_pid"]) and patient.state_file() is None


def test_the_deadline_ends_it(patient: Patient, client: str) -> None:
    made = patient.run(client, seconds=4)
    assert patient.value == "no"
    patient.wait_for("yes", 10)
    assert time.time() >= made["deadline_unix"] - 1
    assert has_ended(made["watcher_pid"]) and patient.state_file() is None
    assert patient.ask("SET", "key", "value").startswith("-MISCONF")


@on_one_server
def test_a_second_present_moves_the_end(patient: Patient) -> None:
    first = patient.run(seconds=10)
    second = patient.run(seconds=25)
    assert second["extended"] and second["watcher_pid"] == first["watcher_pid"]
    assert second["deadline_unix"] > first["deadline_unix"]
    time.sleep(max(0.0, first["deadline_unix"] + 3 - time.time()))
    assert patient.value == "no"
    patient.wait_for("yes", 30)


def test_absent_puts_it_back_at_once(patient: Patient, client: str) -> None:
    made = patient.run(client, seconds=600)
    predicted = patient.run(client, check=True, state="absent")
    assert patient.value == "no"
    back = patient.run(client, state="absent")
    assert back["changes"] == predicted["changes"]
    assert [(entry["before"], entry["after"]) for entry in back["changes"]] == [("no", "yes")]
    assert patient.value == "yes"
    assert has_ended(made["watcher_pid"], 2) and patient.state_file() is None
    again = patient.run(client, state="absent")
    assert (again["changed"], again["changes"]) == (False, [])


@on_one_server
def test_a_killed_watcher_loses_nothing(patient: Patient) -> None:
    made = patient.run(seconds=600)
    os.kill(made["watcher_pid"], signal.SIGKILL)
    assert has_ended(made["watcher_pid"])
    again = patient.run(seconds=5)
    assert again["changes"] == [] and again["value_before"] == "yes"
    assert again["watcher_pid"] != made["watcher_pid"]
    os.kill(again["watcher_pid"], signal.SIGKILL)
    assert has_ended(again["watcher_pid"])
    # A process that has its number by now is none of ours.
    state = patient.state_file()
    assert state is not None
    bystander = subprocess.Popen(["sleep", "60"])
    written = json.loads(state.read_text())
    state.write_text(json.dumps({**written, "watcher_pid": bystander.pid}))
    try:
        assert patient.run(state="absent")["changed"]
        assert patient.value == "yes" and bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@on_one_server
def test_the_value_that_somebody_else_sets_stays(patient: Patient) -> None:
    made = patient.run(seconds=600)
    patient.ask("CONFIG", "SET", PARAMETER, "yes")
    assert has_ended(made["watcher_pid"]) and patient.state_file() is None
    patient.ask("CONFIG", "SET", PARAMETER, "no")
    time.sleep(3)
    assert patient.value == "no"
    refused = patient.run(seconds=600)
    assert refused["failed"] and "no already" in refused["msg"]


@on_one_server
def test_a_terminated_watcher_puts_it_back_first(patient: Patient) -> None:
    made = patient.run(seconds=600)
    os.kill(made["watcher_pid"], signal.SIGTERM)
    patient.wait_for("yes")
    assert has_ended(made["watcher_pid"])


@on_one_server
def test_a_server_that_hangs_at_the_deadline_is_waited_for(patient: Patient, client: str) -> None:
    made = patient.run(client, seconds=3, timeout_seconds=1)
    os.kill(patient.server.pid, signal.SIGSTOP)
    time.sleep(6)
    os.kill(patient.server.pid, signal.SIGCONT)
    patient.wait_for("yes")
    assert has_ended(made["watcher_pid"])


@on_one_server
def test_a_lost_connection_is_made_anew(patient: Patient) -> None:
    made = patient.run(seconds=6)
    patient.ask("CLIENT", "KILL", "TYPE", "normal")
    patient.wait_for("yes", 14)
    assert has_ended(made["watcher_pid"])


@on_one_server
def test_the_module_killed_at_once_leaves_a_time_box(patient: Patient, client: str) -> None:
    """Killed at any moment: either nothing is unblocked, or a watcher ends it."""
    for delay in (0.3, 0.6, 0.9):
        process = subprocess.Popen(
            [sys.executable, "-c", STARTER],
            env=patient.environment(client, seconds=3),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.kill()
        process.wait()
        time.sleep(0.5)
        patient.wait_for("yes", 10)


@on_one_server
def test_the_terminal_going_away_ends_nothing_early(patient: Patient, client: str) -> None:
    """As ``ssh -t``: a session on a terminal, which hangs up once the module has ended."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", STARTER], patient.environment(client, seconds=7))
    output = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            output += chunk
    os.waitpid(pid, 0)
    os.close(terminal)
    result = json.loads(output[output.index(b"{") : output.rindex(b"}") + 1])
    patient.watchers.append(result["watcher_pid"])
    assert patient.value == "no"
    time.sleep(2.5)
    assert patient.value == "no", "the hang-up ended it"
    patient.wait_for("yes", 12)
    assert has_ended(result["watcher_pid"])


@on_one_server
def test_the_watcher_holds_nothing_and_shows_no_password(patient: Patient, client: str) -> None:
    made = patient.run(client, seconds=600)
    process = Path(f"/proc/{made['watcher_pid']}")
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    assert stat[4] == "0", "it has a terminal"
    assert os.readlink(process / "cwd") == "/"
    targets = []
    for entry in os.listdir(process / "fd"):
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(process / "fd" / entry))
    assert not [target for target in targets if target.startswith("pipe:") and client == "redis-py"]
    assert not [target for target in targets if "/pts/" in target or str(patient.server.directory) in target]
    end = time.monotonic() + 5
    looks = 0
    while time.monotonic() < end:
        looks += 1
        for pid in [entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                if str(patient.server.port).encode() in command and b"requirepass" not in command:
                    assert SECRET.encode() not in command
        assert SECRET.encode() not in (process / "environ").read_bytes(), "the password is in its environment"
    assert looks > 5
    state = patient.state_file()
    assert state is not None and SECRET not in state.read_text()
    assert state.stat().st_mode & 0o777 == 0o600
    assert SECRET not in json.dumps(made)
    # What a person is told to type works, with the password in the environment.
    done = subprocess.run(
        shlex.split(made["left_to_do"]),
        env={**os.environ, "REDISCLI_AUTH": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "OK" and patient.value == "yes"


def test_what_is_not_blocked_is_not_unblocked(lab: Lab, name: str) -> None:
    server = lab.start(name, "--save", "900", "1", "--requirepass", SECRET)
    assert server is not None
    patient = Patient(server)
    try:
        patient.ask("CONFIG", "SET", "save", "")
        assert "no save points" in patient.run()["msg"]
        patient.ask("CONFIG", "SET", "save", "900 1")
        patient.ask("CONFIG", "SET", PARAMETER, "no")
        assert "no already" in patient.run()["msg"]
        patient.ask("CONFIG", "SET", PARAMETER, "yes")
        patient.heal()
        patient.save()
        result = patient.run()
        assert result["failed"] and "status of the last save is ok" in result["msg"] and not result["changed"]
        assert patient.value == "yes" and patient.state_file() is None
    finally:
        patient.end()


def test_a_missing_right_is_named_and_nothing_stands(patient: Patient, client: str) -> None:
    patient.ask("ACL", "SETUSER", "reader", "on", f">{SECRET}", "-@all", "+info", "+config|get")
    result = patient.run(client, login_user="reader")
    assert result["failed"] and "+config|set" in result["msg"]
    assert patient.value == "yes"
    give_up_at = time.monotonic() + END_SECONDS
    while patient.state_file() is not None and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert patient.state_file() is None


def test_a_restarted_server_has_the_value_of_its_file(lab: Lab, name: str) -> None:
    server = lab.start(name, "--save", "900", "1", "--requirepass", SECRET)
    assert server is not None
    patient = Patient(server)
    try:
        made = patient.run(seconds=600)
        server.stop()
        patient.heal()
        again = lab.start(
            name, "--requirepass", SECRET, f"--{PARAMETER}", "no", port=server.port, directory=server.directory
        )
        assert again is not None
        patient.server = again
        # The client first asks whether the port that hung up on it speaks TLS, and waits for that in vain.
        assert has_ended(made["watcher_pid"], 20)
        assert patient.value == "no", "the value of the start was changed"
    finally:
        patient.end()
