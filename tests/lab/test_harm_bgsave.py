# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A save by the module ``redis_bgsave`` alone destroys nothing: what it would replace stays, or is kept beside."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _observed_save, _save_shield
from ansible_collections.redisops.persistence.plugins.module_utils._interruption import Interrupted, signals_raise
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

from .bench import Bench, is_root, missing_need
from .faults import MIB, saves
from .resp import Connection, ReplyError
from .servers import Server, child_pids, until

pytestmark = pytest.mark.lab

MANY = 500
APART_SECONDS = 4
"""Between saves of two servers: the times of a dump are whole seconds."""

EVERY_DUMP = ["dump_foreign", "dump_unknown", "dump_much_larger", "dump_shared", "no_dump_wanted"]


@pytest.fixture(autouse=True)
def as_root() -> None:
    if not is_root():
        pytest.skip("needs root: the servers run as users of their own")


def save(server: Server, accept: t.Sequence[str] = (), check_mode: bool = False, **more: t.Any) -> dict[str, t.Any]:
    """What the module answers for one server."""
    parameters: dict[str, t.Any] = dict.fromkeys(connection_argument_spec())
    parameters.update(login_host="127.0.0.1", login_port=server.port, timeout_seconds=5.0)
    parameters.update(wait_timeout_seconds=60.0, poll_interval_seconds=0.2, if_running="wait", accept=list(accept))
    return _observed_save.save_one_server({**parameters, **more}, System(), check_mode)


def ids_of(result: dict[str, t.Any]) -> list[str]:
    return [objection["id"] for objection in result["objections"]]


# What a save would destroy


def started_elsewhere(bench: Bench) -> Server:
    """A server that was started in a wrong directory, so with no keys, with ``dir`` put back at run time."""
    first = saves(bench.start(keys=MANY))
    first.stop()
    protected = {"enable-protected-configs": "yes"} if bench.kind.at_least(7) else {}
    server = bench.start(keys=0, config=protected)
    bench.own(first.directory, server)
    server.call("CONFIG", "SET", "dir", str(first.directory))
    server.directory = first.directory
    bench.servers.remove(first)
    return server


def backup_in_place(bench: Bench) -> Server:
    """Somebody has laid a backup in place, for the next start."""
    other = saves(bench.start(keys=MANY))
    time.sleep(APART_SECONDS)
    server = saves(bench.start(keys=3))
    lay_in_place(other.dump, server)
    bench.discard(other)
    return server


def lay_in_place(file: Path, server: Server) -> None:
    beside = server.directory / "restored"
    shutil.copy2(file, beside)
    if server.uid is not None:
        os.chown(beside, server.uid, server.uid)
    beside.rename(server.dump)


def beside_an_aof(bench: Bench) -> Server:
    """A server that starts from its AOF: whose the dump is, nothing shows."""
    other = saves(bench.start(keys=MANY))
    server = bench.new(config={"appendonly": "yes"}, log="nowhere")
    server.prepare()
    lay_in_place(other.dump, server)
    bench.discard(other)
    server.start()
    return server.fill(MANY, 100)


def deleted_keys(bench: Bench) -> Server:
    """Somebody has deleted nearly everything since the last save."""
    server = saves(bench.start(keys=MANY))
    names = server.call("KEYS", "*")
    server.call("DEL", *names[: MANY - 2])
    return server


def shared_place(bench: Bench) -> Server:
    """Another server that nobody has named writes the same file."""
    server = saves(bench.start(keys=3))
    other = bench.start(keys=MANY, directory=server.directory)
    bench.exit.callback(other.stop)
    return server


def told_to_keep_none(bench: Bench) -> Server:
    """A cache whose operator has switched saving off, with a dump of better days."""
    server = saves(bench.start(keys=MANY))
    server.call("CONFIG", "SET", "save", "")
    return server


ARRANGED: dict[str, t.Callable[[Bench], Server]] = {
    "dump_foreign": backup_in_place,
    "dump_foreign, started elsewhere": started_elsewhere,
    "dump_unknown": beside_an_aof,
    "dump_much_larger": deleted_keys,
    "dump_shared": shared_place,
    "no_dump_wanted": told_to_keep_none,
}


def files_of(server: Server) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in server.directory.iterdir() if path.is_file()}


@pytest.mark.harm
@pytest.mark.parametrize("name", ARRANGED)
def test_unasked_nothing_is_replaced(bench: Bench, name: str) -> None:
    server = ARRANGED[name](bench)
    before = server.dump.read_bytes()
    predicted = save(server, check_mode=True)
    result = save(server)
    assert server.dump.read_bytes() == before
    assert (result["state"], result["changed"], result["started_unix"]) == ("refused", False, None)
    assert name.partition(",")[0] in ids_of(result)
    assert (predicted["state"], ids_of(predicted)) == (result["state"], ids_of(result))
    assert "accept: [" in result["message"]
    assert not list(server.directory.glob("*.kept-*"))


@pytest.mark.harm
@pytest.mark.parametrize("name", ARRANGED)
def test_asked_the_old_file_is_kept(bench: Bench, name: str) -> None:
    server = ARRANGED[name](bench)
    before, owner = server.dump.read_bytes(), server.dump.stat().st_uid
    predicted = save(server, EVERY_DUMP, check_mode=True)
    assert (predicted["state"], server.dump.read_bytes()) == ("skipped", before)
    result = save(server, EVERY_DUMP)
    assert result["state"] == "succeeded", result["message"]
    kept = Path(result["kept_dump"]["path"])
    assert kept.read_bytes() == before
    assert (kept.stat().st_uid, kept.parent) == (owner, server.directory)
    assert result["kept_dump"]["method"] == "link"
    assert result["kept_dump"]["bytes"] == predicted["kept_dump"]["bytes"] == len(before)
    assert result["dump_before"]["bytes"] == len(before)
    assert (result["dump_after"]["owner"], result["dump_after"]["bytes"]) == ("own", server.dump.stat().st_size)
    assert result["keys_before"] == result["keys_after"] == server.call("DBSIZE")


@pytest.mark.harm
def test_a_cache_without_a_dump_gets_none(bench: Bench) -> None:
    server = bench.start(keys=3, config={"save": '""'})
    result = save(server)
    assert not server.dump.exists()
    assert ids_of(result) == ["no_dump_wanted"]
    accepted = save(server, ["no_dump_wanted"])
    assert (accepted["state"], accepted["kept_dump"]) == ("succeeded", None)


def emptied_other_database(bench: Bench) -> Server:
    """What is lost was in another database than the one that the file begins with."""
    server = bench.start(keys=1)
    server.call("SELECT", 1)
    server.fill(MANY, prefix="other")
    saves(server)
    server.call("FLUSHDB")
    server.call("SELECT", 0)
    return server


def shrunk_values(bench: Bench) -> Server:
    """There are as many keys as before, and nothing in them."""
    server = saves(bench.start(keys=MANY, value_bytes=200))
    server.connection.call_many(("SET", f"key:{number}", "x") for number in range(MANY))
    return server


@pytest.mark.harm
@pytest.mark.parametrize("arrange", [emptied_other_database, shrunk_values])
def test_a_dump_that_held_more_is_not_lost_although_it_is_the_servers_own(
    bench: Bench, arrange: t.Callable[[Bench], Server]
) -> None:
    server = arrange(bench)
    before = server.dump.read_bytes()
    result = save(server)
    assert before in files_of(server).values(), result
    if result["state"] == "succeeded":
        assert result["kept_dump"]["path"] in [str(path) for path in server.directory.iterdir()]


def test_its_own_dump_is_replaced_without_a_question(bench: Bench) -> None:
    server = bench.start(keys=MANY)
    first = save(server)
    assert (first["state"], first["dump_before"]["owner"]) == ("succeeded", "none"), first["message"]
    again = save(server)
    assert (again["state"], again["dump_before"]["owner"]) == ("succeeded", "own"), again["message"]
    assert (again["objections"], again["kept_dump"]) == ([], None)
    server.stop()
    server.start()
    loaded = save(server)
    assert (loaded["state"], loaded["dump_before"]["owner"]) == ("succeeded", "own"), loaded["message"]


@pytest.mark.harm
def test_no_save_goes_where_intruders_want_it(bench: Bench) -> None:
    place = bench.base / ".ssh"
    place.mkdir()
    server = bench.start(keys=3, config={"dbfilename": "authorized_keys"}, directory=place)
    bench.own(place, server)
    (place / "authorized_keys").write_text("ssh-ed25519 a-key-of-the-lab\n")
    result = save(server, EVERY_DUMP)
    assert (place / "authorized_keys").read_text() == "ssh-ed25519 a-key-of-the-lab\n"
    assert "hijacked_place" in ids_of(result)
    assert sorted(os.listdir(place)) == ["authorized_keys"]


# Where no second name can be made


def refuse_links(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.harm
def test_without_links_it_is_copied(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    server = backup_in_place(bench)
    before, status = server.dump.read_bytes(), server.dump.stat()
    monkeypatch.setattr(os, "link", refuse_links)
    result = save(server, EVERY_DUMP)
    assert (result["state"], result["kept_dump"]["method"]) == ("succeeded", "copy"), result["message"]
    kept = Path(result["kept_dump"]["path"])
    assert kept.read_bytes() == before
    copied = kept.stat()
    assert (copied.st_uid, copied.st_gid, copied.st_mode) == (status.st_uid, status.st_gid, status.st_mode)
    assert copied.st_mtime_ns == status.st_mtime_ns
    assert server.dump.read_bytes() != before


@pytest.mark.harm
def test_an_immutable_file_stays_and_leaves_nothing_beside(bench: Bench) -> None:
    if missing_need("chattr"):
        pytest.skip(str(missing_need("chattr")))
    server = backup_in_place(bench)
    before = server.dump.read_bytes()
    bench.chattr(server.dump, "i")
    result = save(server, EVERY_DUMP)
    assert (result["state"], result["kept_dump"]) == ("failed", None), result["message"]
    assert server.dump.read_bytes() == before
    assert not list(server.directory.glob("*.kept-*"))


@pytest.mark.harm
@pytest.mark.parametrize("has_links", [True, False], ids=["link", "copy"])
def test_no_room_to_keep_it(bench: Bench, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    server = bench.start_on_tmpfs("size=8m", keys=20, value_bytes=100_000)
    saves(server)
    names = server.call("KEYS", "*")
    # A copy of the 2 MB finds no room, nor do two dumps of what is left.
    room = 200_000 if has_links else 1_900_000
    server.call("DEL", *names[: 10 if has_links else 19])
    free = os.statvfs(server.directory)
    filler = server.directory / "filler"
    with filler.open("wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, free.f_bavail * free.f_frsize - room)
    before = server.dump.read_bytes()
    if not has_links:
        monkeypatch.setattr(os, "link", refuse_links)
    result = save(server, EVERY_DUMP)
    assert (result["state"], result["started_unix"]) == ("refused", None), result["message"]
    assert result["objections"][0]["id"] == "cannot_keep"
    assert "no room" in result["message"]
    assert server.dump.read_bytes() == before
    assert sorted(os.listdir(server.directory)) == ["dump.rdb", "filler"]


# Between the look and the save


@pytest.mark.harm
def test_a_file_laid_in_place_while_it_is_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    other = saves(bench.start(keys=MANY))
    time.sleep(APART_SECONDS)
    server = saves(bench.start(keys=3))
    judge = guard_module().objections

    def judge_then_replace(facts: t.Any) -> t.Any:
        found = judge(facts)
        if not found:
            lay_in_place(other.dump, server)
        return found

    monkeypatch.setattr(guard_module(), "objections", judge_then_replace)
    result = save(server)
    assert server.dump.read_bytes() == other.dump.read_bytes()
    assert (result["state"], result["dump_before"]["owner"]) == ("refused", "foreign")


@pytest.mark.harm
def test_a_directory_swapped_for_a_link_while_it_is_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    server = backup_in_place(bench)
    before = server.dump.read_bytes()
    trap = bench.base / "trap"
    trap.mkdir()
    (trap / "dump.rdb").write_bytes(b"somebody else's")
    moved = server.directory.with_name("moved")
    judge = guard_module().objections

    def judge_then_swap(facts: t.Any) -> t.Any:
        if not moved.exists():
            server.directory.rename(moved)
            server.directory.symlink_to(trap)
        return judge(facts)

    monkeypatch.setattr(guard_module(), "objections", judge_then_swap)
    result = save(server, EVERY_DUMP)
    assert result["state"] == "succeeded", result["message"]
    assert sorted(os.listdir(trap)) == ["dump.rdb"]
    assert (trap / "dump.rdb").read_bytes() == b"somebody else's"
    (kept,) = moved.glob("*.kept-*")
    assert kept.read_bytes() == before


@pytest.mark.harm
def test_a_link_planted_under_the_name_to_keep_it_by(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    server = backup_in_place(bench)
    before = server.dump.read_bytes()
    victim = bench.base / "victim"
    victim.write_text("untouched")
    monkeypatch.setattr(guard_module(), "kept_name", lambda name, now, run: f"{name}.kept-known")
    (server.directory / "dump.rdb.kept-known").symlink_to(victim)
    for links in (True, False):
        if not links:
            monkeypatch.setattr(os, "link", refuse_links)
            lay_in_place(Path(result["kept_dump"]["path"]), server)  # noqa: F821
        result = save(server, EVERY_DUMP)
        assert result["state"] == "succeeded", result["message"]
        assert Path(result["kept_dump"]["path"]).read_bytes() == before
    assert victim.read_text() == "untouched"


def guard_module() -> t.Any:
    from ansible_collections.redisops.persistence.plugins.module_utils import _guarded_save

    return _guarded_save


@pytest.mark.harm
def test_a_server_killed_while_it_saves_loses_nothing(bench: Bench) -> None:
    server = backup_in_place(bench)
    before = server.dump.read_bytes()
    server.call("CONFIG", "SET", "rdb-key-save-delay", "1000000")

    def kill() -> None:
        until(lambda: child_pids(server.pid), "no child")
        time.sleep(0.5)
        os.kill(server.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = save(server, EVERY_DUMP)
    killer.join()
    assert result["state"] == "failed", result["message"]
    # The child writes on, and may yet replace the dump.
    assert Path(result["kept_dump"]["path"]).read_bytes() == before


@pytest.mark.harm
def test_a_diagnosis_does_not_save_over_another_file(bench: Bench) -> None:
    from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
    from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import collect_redis

    server = backup_in_place(bench)
    before = server.dump.read_bytes()
    options, gaps = ConnectionOptions(login_port=server.port), Gaps()
    redis = collect_redis(options, System(), gaps)["redis"]
    assert _observed_save.observe_save(options, redis, System(), gaps) is None
    assert server.dump.read_bytes() == before
    assert "dump_foreign" in " ".join(gap["why"] for gap in gaps.entries())


# The child, rather than the server


def score_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def settings_of(server: Server) -> dict[str, str]:
    names = server.call("CONFIG", "GET", "oom-score-adj*")
    return dict(zip(names[::2], names[1::2]))


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of this machine is ample for servers of this size: as if it were not."""
    monkeypatch.setattr(_save_shield, "is_ample", lambda _memory: False)


@pytest.mark.harm
@pytest.mark.parametrize("role", ["master", "replica"])
def test_the_child_is_the_one_to_die_and_the_server_is_as_before(bench: Bench, scarce: None, role: str) -> None:
    server = saves(bench.start(keys=3))
    if role == "replica":
        server.call("REPLICAOF", "127.0.0.1", "1")
    server.call("CONFIG", "SET", "rdb-key-save-delay", "500000")
    before, score, seen = settings_of(server), score_of(server.pid), []

    def watch() -> None:
        child = until(lambda: child_pids(server.pid), "no child")[0]
        until(lambda: seen.append((score_of(child), score_of(server.pid))) or seen[-1][0] != score, "no score")

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = save(server)
    watcher.join()
    assert result["state"] == "succeeded", result["message"]
    assert seen[-1] == (800, score)
    assert result["shield"] == {"before": "no", "during": "yes", "restored": True, "problem": None}
    assert (settings_of(server), score_of(server.pid)) == (before, score)
    assert not list(Path("/run/redisops-persistence").glob("shield-*"))


@pytest.mark.parametrize("why", ["is on", "may not be set"])
def test_a_save_goes_on_without(bench: Bench, scarce: None, why: str) -> None:
    server = saves(bench.start(keys=3))
    login: dict[str, t.Any] = {}
    if why == "is on":
        server.call("CONFIG", "SET", "oom-score-adj", "yes")
    else:
        rights = "+@all -config|set" if bench.kind.at_least(7) else "+@all -config +config|get"
        server.call("ACL", "SETUSER", "guest", "on", ">secret", "~*", *rights.split())
        login = {"login_user": "guest", "login_password": "secret"}
    before = settings_of(server)
    result = save(server, **login)
    assert result["state"] == "succeeded", result["message"]
    assert settings_of(server) == before
    if why == "is on":
        assert result["shield"] is None
    else:
        assert (result["shield"]["during"], result["shield"]["restored"]) == (None, None)
        assert "could not be set" in result["shield"]["problem"]


@pytest.mark.harm
def test_a_module_killed_during_the_fork_is_cleaned_up_after(
    bench: Bench, scarce: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = saves(bench.start(keys=3))
    before = settings_of(server)
    with monkeypatch.context() as killed:
        killed.setattr(_save_shield.Shield, "down", lambda _self, _client: None)
        killed.setattr(_save_shield, "process_start_ticks", lambda _system, _pid: 1)
        assert save(server)["state"] == "succeeded"
    assert settings_of(server)["oom-score-adj"] == "yes"
    assert save(server)["shield"]["restored"] is True
    assert settings_of(server) == before


@pytest.mark.harm
def test_a_module_told_to_end_puts_the_setting_back(
    bench: Bench, scarce: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = saves(bench.start(keys=3))
    before = settings_of(server)

    def interrupt(_self: t.Any, _client: t.Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(guard_module().Guard, "started", interrupt)
        with signals_raise(), pytest.raises(Interrupted):
            save(server)
    assert settings_of(server) == before


DATASET_BYTES = 60 * MIB
VALUE_BYTES = 100_000


def in_a_tight_group(bench: Bench, headroom_bytes: int) -> Server:
    """A server of some size whose control group has that little left."""
    if missing_need("cgroup:memory"):
        pytest.skip(str(missing_need("cgroup:memory")))
    group = bench.cgroup("memory")
    server = bench.start(keys=DATASET_BYTES // VALUE_BYTES, value_bytes=VALUE_BYTES, cgroups=[group.path])
    saves(server)
    # jemalloc would give back later what it does not need, and so make room.
    server.call("MEMORY", "PURGE")
    # The page cache of the dump is no room: it is given back before anything is killed.
    cached = "cache" if group.version == 1 else "file"
    statistics = dict(line.split() for line in (group.path / "memory.stat").read_text().splitlines())
    group.set_memory_limit(group.memory_usage() - int(statistics[cached]) + headroom_bytes)
    return server


@pytest.mark.harm
def test_no_save_that_finds_too_little_memory(bench: Bench) -> None:
    server = in_a_tight_group(bench, MIB)
    server.call("SET", "one", "change")
    before = server.dump.read_bytes()
    result = save(server, [*EVERY_DUMP, "memory_unknown"])
    assert (result["state"], ids_of(result)) == ("refused", ["memory_short"]), result["message"]
    assert server.dump.read_bytes() == before


@pytest.mark.harm
def test_where_memory_runs_out_during_the_save_the_server_lives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody foresees the busiest hour: as if the estimate had found nothing.
    unknown = {"short": None, "worst_bytes": DATASET_BYTES, "room_bytes": MIB, "why": "Not known"}
    monkeypatch.setattr(guard_module(), "judge_memory", lambda *_arguments: unknown)
    server = in_a_tight_group(bench, 12 * MIB)
    before = server.dump.read_bytes()
    server.call("CONFIG", "SET", "rdb-key-save-delay", "20000")
    stop = threading.Event()

    def overwrite() -> None:
        """More is written than a copy of finds room, beginning once the child is there."""
        until(lambda: child_pids(server.pid), "no child")
        connection = Connection(server.port)
        while not stop.is_set() and child_pids(server.pid):
            for number in range(DATASET_BYTES // VALUE_BYTES):
                try:
                    connection.call("SETRANGE", f"key:{number}", 0, b"z" * VALUE_BYTES)
                except ReplyError:
                    # The child is dead, and writes are refused.
                    return

    writer = threading.Thread(target=overwrite)
    writer.start()
    result = save(server, ["memory_unknown"])
    stop.set()
    writer.join()
    assert result["state"] == "failed", result["message"]
    assert result["shield"]["restored"] is True
    assert server.call("DBSIZE") == DATASET_BYTES // VALUE_BYTES
    assert server.dump.read_bytes() == before
    assert result["attempt"]["signal"] == signal.SIGKILL
