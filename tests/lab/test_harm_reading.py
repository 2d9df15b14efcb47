# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose eyes read (rules 6 and 7): a local user's process makes root read for it what that user may not read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._evidence import collect_evidence
from ansible_collections.redisops.persistence.plugins.module_utils._system import System

from .bench import Bench, is_root
from .impostor import Impostor
from .judging import gather, run_command
from .servers import KINDS, ServerKind, free_port, until
from .test_fleet import run_playbook

pytestmark = pytest.mark.lab

SECRET = "the-real-servers-own-secret"
OTHERS_LINE = "a-line-of-another-user"
LOG_LINE = (
    "1:M 25 Nov 2026 10:00:00.000 # Failed opening the temp RDB file temp-7.rdb "
    f"(in server root dir /{OTHERS_LINE}) for saving: Permission denied"
)
EVE, BOB = 65_001, 65_002
GROUP = 65_010


@pytest.fixture(autouse=True)
def as_root() -> None:
    if not is_root():
        pytest.skip("needs root")


@pytest.fixture
def place(lab_directory: Path, request: pytest.FixtureRequest) -> t.Iterator[Path]:
    """A directory that every user may enter, and nobody but root may write to."""
    path = lab_directory / f"reading-{abs(hash(request.node.name))}"
    path.mkdir(mode=0o755)
    yield path
    for entry in path.iterdir():
        if not entry.is_dir():
            entry.unlink()


@pytest.fixture
def secret(place: Path) -> Path:
    """Configuration that only root can read."""
    return private(place / "secret.conf", 0, f"requirepass {SECRET}\nuser default on >{SECRET} ~* +@all\n")


def private(path: Path, owner: int, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    os.chown(path, owner, owner)
    path.chmod(mode)
    return path


@pytest.fixture
def impostors() -> t.Iterator[list[Impostor]]:
    made: list[Impostor] = []
    yield made
    for impostor in made:
        impostor.stop()


def look(impostor: Impostor) -> dict[str, t.Any]:
    """The evidence about this one process, its password taken from its configuration."""
    parameters = {"instances": [{"login_port": impostor.port, "password_from_config": True, "timeout_seconds": 3}]}
    evidence = collect_evidence(System(runner=run_command), parameters)
    return t.cast("dict[str, t.Any]", json.loads(json.dumps(evidence)))


def check_nothing_leaked(impostor: Impostor, evidence: dict[str, t.Any]) -> None:
    assert SECRET.encode() not in impostor.heard(), "the password was sent"
    assert SECRET not in json.dumps(evidence)
    assert OTHERS_LINE not in json.dumps(evidence)


# The password


def included(base: Path, secret: Path, impostors: list[Impostor]) -> Impostor:
    return Impostor(base / "eve", EVE, [f"include {secret}"])


def included_by_a_pattern(base: Path, secret: Path, impostors: list[Impostor]) -> Impostor:
    return Impostor(base / "eve", EVE, [f"include {secret.parent}/sec*.conf"])


def included_through_a_link(base: Path, secret: Path, impostors: list[Impostor]) -> Impostor:
    impostor = Impostor(base / "eve", EVE, [f"include {base}/eve/link.conf"])
    (base / "eve" / "link.conf").symlink_to(secret)
    return impostor


def link_in_place(base: Path, secret: Path, impostors: list[Impostor]) -> Impostor:
    impostor = Impostor(base / "eve", EVE, [])
    text = impostor.program.read_text()
    impostor.program.unlink()
    impostor.program.symlink_to(secret)
    secret.write_text(f"port {impostor.port}\n{secret.read_text()}")
    assert text
    return impostor


def beside_the_secret_of_a_user(base: Path, secret: Path, impostors: list[Impostor]) -> Impostor:
    os.chown(secret, BOB, BOB)
    return Impostor(base / "eve", EVE, [f"include {secret}"])


def behind_a_closed_directory(base: Path, secret: Path, impostors: list[Impostor]) -> Impostor:
    """The file is everybody's to read, the directory above it nobody's to enter."""
    closed = base / "closed"
    closed.mkdir(mode=0o700)
    moved = closed / "open.conf"
    secret.rename(moved)
    moved.chmod(0o644)
    return Impostor(base / "eve", EVE, [f"include {moved}"])


Arrange = t.Callable[[Path, Path, "list[Impostor]"], Impostor]
PASSWORD_WAYS: tuple[Arrange, ...] = (
    included,
    included_by_a_pattern,
    included_through_a_link,
    link_in_place,
    beside_the_secret_of_a_user,
    behind_a_closed_directory,
)


@pytest.mark.harm
@pytest.mark.parametrize("way", PASSWORD_WAYS, ids=lambda way: way.__name__)
def test_no_password_that_its_user_cannot_read(
    way: Arrange, place: Path, secret: Path, impostors: list[Impostor]
) -> None:
    impostor = way(place, secret, impostors)
    impostors.append(impostor)
    check_nothing_leaked(impostor, look(impostor))


@pytest.mark.harm
def test_no_password_for_a_process_that_took_the_address(
    place: Path, bench_of: t.Callable[[ServerKind], Bench], impostors: list[Impostor]
) -> None:
    """The real server listens on one address of the port, somebody else's process on the other."""
    port = free_port()
    kind = next(kind for kind in KINDS if kind.binary)
    config = {"requirepass": SECRET, "bind": "127.0.0.2", "port": str(port)}
    bench = bench_of(kind)
    server = bench.new(config=config)
    server.port = port
    server.config_path = server.base / "data" / "redis.conf"
    server.base.mkdir()
    server.directory.mkdir()
    bench.own(server.directory)
    server.start(wait=False)
    wait_for_listener("127.0.0.2", port)
    impostor = Impostor(place / "eve", EVE, [], name="somebody", port=port)
    impostors.append(impostor)
    check_nothing_leaked(impostor, look(impostor))


def wait_for_listener(host: str, port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, port)) == 0

    until(listens, "the server does not listen")


def test_password_of_the_servers_own_file_is_used(bench_of: t.Callable[[ServerKind], Bench]) -> None:
    """Read by its user, and by a group that it only has as a supplementary one."""
    kind = next(kind for kind in KINDS if kind.binary)
    bench = bench_of(kind)
    server = bench.new(config={"requirepass": SECRET})
    server.prepare()
    part = server.base / "part.conf"
    private(part, 0, f"requirepass {SECRET}\n", 0o640)
    os.chown(part, 0, GROUP)
    # The process title hides which file it was started with: this one is found beside the data.
    text = server.config_path.read_text().replace("requirepass", "# was")
    config_path = private(server.directory / "redis.conf", server.uid or 0, f"{text}include {part}\n")
    process = subprocess.Popen(
        [str(server.binary), str(config_path)],
        user=server.uid,
        group=server.uid,
        extra_groups=[GROUP],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_listener("127.0.0.1", server.port)
        evidence = gather([server], {"password_from_config": True})
        assert evidence["instances"][0]["connection"]["state"] == "ok", evidence["instances"][0]["gaps"]
        assert SECRET not in json.dumps(evidence)
    finally:
        process.terminate()
        process.wait(10)


# The log


def log_named(base: Path, path: Path) -> Impostor:
    return Impostor(base / "eve", EVE, [f"logfile {path}"], settings={"logfile": str(path)})


def log_of_root(base: Path) -> Impostor:
    return log_named(base, private(base / "auth.log", 0, LOG_LINE + "\n"))


def log_of_another_user(base: Path) -> Impostor:
    return log_named(base, private(base / "bob.log", BOB, LOG_LINE + "\n"))


def log_that_is_a_link(base: Path) -> Impostor:
    private(base / "bob.log", BOB, LOG_LINE + "\n")
    impostor = log_named(base, base / "eve" / "server.log")
    (base / "eve" / "server.log").symlink_to(base / "bob.log")
    return impostor


def log_that_is_a_hard_link(base: Path) -> Impostor:
    target = private(base / "root.log", 0, LOG_LINE + "\n")
    impostor = log_named(base, base / "eve" / "server.log")
    os.link(target, base / "eve" / "server.log")
    return impostor


def rotated_log_that_is_a_link(base: Path) -> Impostor:
    private(base / "bob.log", BOB, LOG_LINE + "\n")
    impostor = log_named(base, base / "eve" / "server.log")
    private(base / "eve" / "server.log", EVE, "1:M 25 Nov 2026 10:00:01.000 * Ready to accept connections\n")
    (base / "eve" / "server.log.1").symlink_to(base / "bob.log")
    return impostor


def rotated_log_of_another_user(base: Path) -> Impostor:
    impostor = log_named(base, base / "eve" / "server.log")
    private(base / "eve" / "server.log", EVE, "1:M 25 Nov 2026 10:00:01.000 * Ready to accept connections\n")
    private(base / "eve" / "server.log.1", BOB, LOG_LINE + "\n")
    return impostor


def relative_log_outside(base: Path) -> Impostor:
    private(base / "bob.log", BOB, LOG_LINE + "\n")
    return Impostor(base / "eve", EVE, [], settings={"logfile": "../bob.log"})


LOG_WAYS: tuple[t.Callable[[Path], Impostor], ...] = (
    log_of_root,
    log_of_another_user,
    log_that_is_a_link,
    log_that_is_a_hard_link,
    rotated_log_that_is_a_link,
    rotated_log_of_another_user,
    relative_log_outside,
)


@pytest.mark.harm
@pytest.mark.parametrize("way", LOG_WAYS, ids=lambda way: way.__name__)
def test_no_line_that_its_user_cannot_read(
    way: t.Callable[[Path], Impostor], place: Path, impostors: list[Impostor]
) -> None:
    impostor = way(place)
    impostors.append(impostor)
    evidence = look(impostor)
    check_nothing_leaked(impostor, evidence)
    assert evidence["instances"][0]["process"], evidence["instances"][0]["gaps"]
    assert evidence["instances"][0]["process"]["pid"] == impostor.process.pid


def test_unreadable_log_is_a_gap_with_a_remedy(place: Path, impostors: list[Impostor]) -> None:
    impostor = log_of_another_user(place)
    impostors.append(impostor)
    gaps = look(impostor)["instances"][0]["gaps"]
    (gap,) = [gap for gap in gaps if gap["what"] == "the server's log"]
    assert "Permission denied" in gap["why"]
    assert str(EVE) in gap["remedy"], gap


def test_log_that_its_user_can_read_is_read(place: Path, impostors: list[Impostor]) -> None:
    impostor = log_named(place, private(place / "own.log", EVE, LOG_LINE + "\n"))
    impostors.append(impostor)
    assert OTHERS_LINE in json.dumps(look(impostor)["instances"][0]["redis_log"]["events"])


@pytest.mark.harm
def test_nothing_leaks_at_the_highest_verbosity(
    place: Path, secret: Path, impostors: list[Impostor], tmp_path: Path
) -> None:
    bob = private(place / "bob.log", BOB, LOG_LINE + "\n")
    impostor = Impostor(place / "eve", EVE, [f"include {secret}"], settings={"logfile": str(bob)})
    impostors.append(impostor)
    variables = {
        "redis_instances": [{"login_host": "127.0.0.1", "login_port": impostor.port}],
        "diagnose_password_from_config": True,
        "diagnose_report_dir": str(tmp_path / "report"),
        "diagnose_evidence_dir": str(tmp_path / "evidence"),
    }
    done = run_playbook(tmp_path, variables, "-vvv")
    assert done.returncode == 0, done.stdout[-3000:]
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert impostor.address in written
    for text in (SECRET, OTHERS_LINE):
        assert text not in done.stdout + done.stderr + written.replace(LOG_LINE, ""), text
    assert SECRET.encode() not in impostor.heard()
