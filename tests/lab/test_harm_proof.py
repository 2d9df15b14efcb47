# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The save that proves a cure: what it would replace is asked for, kept, told, and brought back."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .attempts import sent_no
from .bench import Bench, missing_need
from .faults import fails
from .remediation import HOST, ROLLBACK, Run, key_of, remediate, run, settled, variables_for
from .servers import KINDS, Server, ServerKind
from .snapshot import RECORDING, forget_commands
from .test_harm_bgsave import backup_in_place

pytestmark = pytest.mark.lab

ALL_KINDS = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
BenchOf = t.Callable[[ServerKind], Bench]


def make(bench_of: BenchOf, kind: ServerKind) -> Bench:
    bench = bench_of(kind)
    reason = missing_need("root")
    if reason:
        pytest.skip(reason)
    bench.config.update(RECORDING)
    return bench


def beside_a_backup(bench: Bench) -> Server:
    """A few keys, saves that fail, and a backup in the dump's place that is the last copy of many."""
    server = backup_in_place(bench)
    bench.chmod(server.directory, 0o555)
    fails(server)
    forget_commands(server)
    return server


def keys_of_changes(done: Run) -> set[t.Any]:
    return {(change["fix"], *key_of(change)) for change in done.changes()}


@pytest.mark.harm
@ALL_KINDS
def test_a_backup_in_place_is_not_replaced_unasked(kind: ServerKind, bench_of: BenchOf, tmp_path: Path) -> None:
    server = beside_a_backup(make(bench_of, kind))
    backup = server.dump.read_bytes()
    done = remediate(tmp_path, [server])
    assert server.dump.read_bytes() == backup, done.story(server.address)
    sent_no(server, "bgsave")(done)
    verify = next(fix for fix in done.documents[server.address]["plan"] if fix["id"] == "verify")
    assert verify["decision"] == "opt_in"
    assert "is not what this server saved or loaded" in verify["reason"]
    assert "ask for it with" in done.output


@pytest.mark.harm
@ALL_KINDS
def test_a_backup_in_place_is_kept_told_and_brought_back(kind: ServerKind, bench_of: BenchOf, tmp_path: Path) -> None:
    server = beside_a_backup(make(bench_of, kind))
    backup, keys = server.dump.read_bytes(), int(server.call("DBSIZE"))
    asked = {"remediate_opt_in": ["verify"]}
    check = remediate(tmp_path / "check", [server], "--check", **asked)
    assert server.dump.read_bytes() == backup
    assert sorted(path.name for path in server.directory.iterdir()) == [server.dump.name]
    sent_no(server, "bgsave")(check)
    real = remediate(tmp_path / "real", [server], **asked)
    story = real.story(server.address)
    assert real.results() == {server.address: "cured"}, story
    assert keys_of_changes(real) == settled(keys_of_changes(check), keys_of_changes(real)), story
    assert f"dump kept beside: {server.dump}" in {change["what"] for change in check.changes()}
    proof = real.documents[server.address]["proof"]
    kept = Path(proof["kept_dump"]["path"])
    assert kept.read_bytes() == backup
    assert (proof["dump_before"]["owner"], proof["dump_after"]["owner"]) == ("foreign", "own")
    assert proof["keys_before"] == proof["keys_after"] == keys
    assert f"rm {kept}" in " ".join(real.output.replace("\\\n", "").split()), real.output[-3000:]
    new = server.dump.read_bytes()
    record = {"remediate_record_dir": str(tmp_path / "real" / "record")}
    hosts = {HOST: variables_for(tmp_path / "back", [server], **record)}
    foretold = run(tmp_path / "back", hosts, "--check", playbook=ROLLBACK)
    assert server.dump.read_bytes() == new
    assert "dump put back" in foretold.output
    back = run(tmp_path / "back", hosts, playbook=ROLLBACK)
    assert server.dump.read_bytes() == kept.read_bytes() == backup, back.output[-3000:]
    assert new in [path.read_bytes() for path in server.directory.iterdir() if path.name != server.dump.name]


@pytest.mark.harm
@ALL_KINDS
def test_a_later_save_is_not_rolled_back(kind: ServerKind, bench_of: BenchOf, tmp_path: Path) -> None:
    server = beside_a_backup(make(bench_of, kind))
    real = remediate(tmp_path / "real", [server], remediate_opt_in=["verify"])
    server.call("CONFIG", "SET", "save", "3600 1")
    server.fill(50, prefix="later")
    assert server.bgsave_and_wait() == "ok"
    newer = server.dump.read_bytes()
    record = {"remediate_record_dir": str(tmp_path / "real" / "record")}
    back = run(tmp_path / "back", {HOST: variables_for(tmp_path / "back", [server], **record)}, playbook=ROLLBACK)
    assert server.dump.read_bytes() == newer, back.output[-3000:]
    assert "something has saved since" in " ".join(back.output.split())
    assert Path(real.documents[server.address]["proof"]["kept_dump"]["path"]).exists()


@pytest.mark.harm
@ALL_KINDS
def test_a_server_that_keeps_no_dump_gets_none(kind: ServerKind, bench_of: BenchOf, tmp_path: Path) -> None:
    bench = make(bench_of, kind)
    server = bench.start(config={"save": '""'})
    bench.chmod(server.directory, 0o555)
    fails(server)
    forget_commands(server)
    done = remediate(tmp_path, [server], remediate_opt_in=["verify"])
    story = done.story(server.address)
    assert not server.dump.exists()
    sent_no(server, "bgsave")(done)
    assert done.code == 0, done.output[-3000:]
    assert "without meaning" in done.documents[server.address]["reason"], story
