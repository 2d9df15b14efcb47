# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in the dump's place (rule 10): a save must not replace the last good copy of anything.

Each server is left with the sticky flag, or with a directory that it may not write to, and beside it with a dump that
has far more than its memory. What was in the dump's place must still be there after the run, or in a file beside.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

from ..attempts import Attempt, Check, sent_no
from ..bench import Bench
from ..faults import fails, saves
from ..remediation import Run
from ..servers import Server, until

MANY, FEW = 400, 5
RULE = 10


def opted_in(done: Run) -> list[str]:
    """What the run was told to do beyond the default policy."""
    for path in done.directory.glob("*.json"):
        text = path.read_text()
        if "remediate_opt_in" in text:
            return _found(json.loads(text), "remediate_opt_in")
    return []


def _found(document: t.Any, name: str) -> list[str]:
    if isinstance(document, dict):
        if name in document:
            return list(document[name])
        document = list(document.values())
    if isinstance(document, list):
        return next((found for found in (_found(part, name) for part in document) if found), [])
    return []


def still_there(server: Server, place: Path | None = None) -> Check:
    """The bytes that are in the dump's place now are there afterwards or beside it; unasked no save was started."""
    place = place or server.dump
    before = place.read_bytes()

    def check(done: Run) -> None:
        if "verify" not in opted_in(done):
            sent_no(server, "bgsave")(done)
        files = [path for path in place.parent.iterdir() if path.is_file() and not path.is_symlink()]
        assert before in [path.read_bytes() for path in files], (
            f"the dump of {len(before)} bytes is gone: {sorted((path.name, path.stat().st_size) for path in files)}"
        )

    return check


def protected(bench: Bench) -> dict[str, str]:
    """A configuration under which ``dir`` can be set at run time."""
    return {"enable-protected-configs": "yes"} if bench.kind.at_least(7) else {}


def close(server: Server) -> None:
    os.chown(server.directory, 0, 0)


def flag_left(bench: Bench, server: Server) -> None:
    """A save failed because of the directory's owner, who is right again: the flag is what is left."""
    close(server)
    fails(server)
    bench.own(server.directory, server)


def forget_most(server: Server) -> None:
    for number in range(FEW, MANY):
        server.call("DEL", f"key:{number}")


# A server that was started elsewhere


def started_elsewhere(bench: Bench, **options: t.Any) -> Server:
    """A server with many keys, restarted with a wrong ``dir`` and so without any, and ``dir`` put back."""
    server = saves(bench.start(keys=MANY, config=protected(bench), **options))
    server.stop()
    wrong = server.base / "wrong"
    wrong.mkdir()
    bench.own(wrong, server)
    server.config["dir"] = str(wrong)
    server.start()
    server.fill(FEW, prefix="new")
    server.call("CONFIG", "SET", "dir", str(server.directory))
    return server


def wrong_dir_then_owner(bench: Bench) -> Check:
    server = started_elsewhere(bench)
    check = still_there(server)
    close(server)
    fails(server)
    return check


def wrong_dir_then_flag(bench: Bench) -> Check:
    server = started_elsewhere(bench)
    check = still_there(server)
    flag_left(bench, server)
    return check


def wrong_dir_without_log(bench: Bench) -> Check:
    server = started_elsewhere(bench, log="nowhere")
    check = still_there(server)
    flag_left(bench, server)
    return check


def lost_aof(bench: Bench) -> Check:
    """An AOF was turned on in the file: the next start loads it, and it is empty."""
    server = saves(bench.start(keys=MANY))
    server.stop()
    server.config["appendonly"] = "yes"
    server.start()
    server.fill(FEW, prefix="new")
    check = still_there(server)
    flag_left(bench, server)
    return check


# A backup that was put there


def with_backup(bench: Bench, **options: t.Any) -> tuple[Server, Path]:
    """A server that has lost most keys and saved that, and a backup of the time before."""
    server = saves(bench.start(keys=MANY, **options))
    backup = server.base / "backup.rdb"
    shutil.copy2(server.dump, backup)
    os.chown(backup, server.uid or 0, server.uid or 0)
    forget_most(server)
    return saves(server), backup


def laid_in_place(*command: str, **options: t.Any) -> t.Callable[[Bench], Check]:
    """A backup is put in place, for a restart that has not come yet."""

    def arrange(bench: Bench) -> Check:
        server, backup = with_backup(bench, **options)
        flag_left(bench, server)
        subprocess.run([*command, str(backup), str(server.dump)], check=True)
        return still_there(server)

    return arrange


def restored_directory(bench: Bench) -> Check:
    """The directory was deleted and comes from a backup: the server still stands in the deleted one."""
    server, backup = with_backup(bench, config=protected(bench))
    shutil.rmtree(server.directory)
    fails(server)
    server.directory.mkdir()
    shutil.copy2(backup, server.dump)
    for path in (server.directory, server.dump):
        bench.own(path, server)
    return still_there(server)


def stepped_into_restored(bench: Bench) -> Check:
    """The same, and somebody has led the server into it since."""
    check = restored_directory(bench)
    bench.server.call("CONFIG", "SET", "dir", str(bench.server.directory))
    return check


# Memory that was emptied


def flushed(bench: Bench) -> Check:
    server = saves(bench.start(keys=MANY))
    check = still_there(server)
    close(server)
    server.call("FLUSHALL")
    fails(server)
    bench.own(server.directory, server)
    return check


def deleted(bench: Bench) -> Check:
    server = saves(bench.start(keys=MANY))
    check = still_there(server)
    close(server)
    forget_most(server)
    fails(server)
    return check


def emptied_by_master(bench: Bench) -> Check:
    """A replica took over the emptiness of its master, which is down now; it loads without storing."""
    diskless = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0", "repl-diskless-load": "swapdb"}
    server = saves(bench.start(keys=MANY, config=diskless))
    check = still_there(server)
    close(server)
    master = bench.start(keys=0, config=diskless)
    server.call("REPLICAOF", "127.0.0.1", master.port)
    until(lambda: server.call("DBSIZE") == 0, "the replica is not emptied")
    master.stop()
    fails(server)
    bench.own(server.directory, server)
    return check


# Another's dump


def another_servers(bench: Bench) -> Check:
    """Another server, which nobody has listed, saves into the same directory under the same name."""
    server = saves(bench.start(keys=FEW))
    flag_left(bench, server)
    other = bench.start(root=True, keys=MANY, directory=server.directory)
    saves(other)
    return still_there(server)


# No dump is wanted


def cache(bench: Bench) -> Check:
    server = bench.start(config={"save": '""'})
    flag_left(bench, server)

    def check(done: Run) -> None:
        sent_no(server, "bgsave")(done)
        assert not os.listdir(server.directory), os.listdir(server.directory)

    return check


def cache_beside_old_dump(bench: Bench) -> Check:
    server = bench.start(keys=FEW, config={"save": '""'})
    other = saves(bench.start(keys=MANY))
    flag_left(bench, server)
    shutil.copy2(other.dump, server.dump)
    bench.own(server.dump, server)
    return still_there(server)


DUMP_HARMS: tuple[Attempt, ...] = (
    Attempt("dump_after_wrong_dir_and_owner", RULE, wrong_dir_then_owner),
    Attempt("dump_after_wrong_dir", RULE, wrong_dir_then_flag),
    Attempt("dump_after_wrong_dir_without_log", RULE, wrong_dir_without_log),
    Attempt("dump_beside_lost_aof", RULE, lost_aof),
    Attempt("dump_backup_by_cp", RULE, laid_in_place("cp")),
    Attempt("dump_backup_by_cp_p", RULE, laid_in_place("cp", "-p")),
    Attempt("dump_backup_by_mv", RULE, laid_in_place("mv")),
    Attempt("dump_backup_by_mv_without_log", RULE, laid_in_place("mv", log="nowhere")),
    Attempt("dump_backup_by_link", RULE, laid_in_place("ln", "-f")),
    Attempt("dump_in_restored_directory", RULE, restored_directory),
    Attempt("dump_in_directory_stepped_into", RULE, stepped_into_restored),
    Attempt("dump_after_flushall", RULE, flushed),
    Attempt("dump_after_mass_deletion", RULE, deleted),
    Attempt("dump_of_emptied_replica", RULE, emptied_by_master),
    Attempt("dump_of_another_server", RULE, another_servers),
    Attempt("dump_of_a_cache", RULE, cache),
    Attempt("dump_beside_a_cache", RULE, cache_beside_old_dump),
)
