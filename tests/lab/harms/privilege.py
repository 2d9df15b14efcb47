# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Privilege (rule 11): nothing is given to whom it was not given before.

A *stranger's* server here is one that a local user has started with a configuration file of his own. What only an
operator may decide is done where the policy of the run names it, and then the reason in the plan says so.
"""

from __future__ import annotations

import os
import resource
import subprocess
import typing as t
from pathlib import Path

from ..attempts import LONG_AGO, Attempt, Check, all_of, stands, stands_alone
from ..bench import Bench
from ..faults import MIB, fails, saves
from ..remediation import Run
from ..remedies import dead_pids, leave_orphans
from ..servers import Server

OTHER_UID = 4242
ASKED_FOR = "remediate_opt_in names it"


def unless_asked(server: Server, fix: str, check: Check) -> Check:
    """``check`` must hold unless the operator's list named the fix, and the plan says that this is why."""

    def checked(done: Run) -> None:
        plan = {entry["id"]: entry for entry in done.documents[server.address]["plan"]}
        if not (plan.get(fix, {}).get("decision") == "apply" and ASKED_FOR in plan[fix]["reason"]):
            check(done)

    return checked


def new_stranger(bench: Bench, directory: Path | None = None, **options: t.Any) -> Server:
    """A server that a local user has started by hand: its configuration file is his."""
    server = bench.new(directory=directory, **options)
    server.prepare()
    bench.own(server.base, server)
    bench.own(server.config_path, server)
    return server


def start_stranger(bench: Bench, directory: Path | None = None, **options: t.Any) -> Server:
    server = new_stranger(bench, directory, **options)
    server.start()
    return server.fill()


def place_of(bench: Bench, name: str, uid: int, mode: int = 0o755) -> Path:
    """A directory that the allow list of the run covers, and that the server may not write to."""
    place = bench.base / "places" / name
    place.parent.mkdir(mode=0o755, exist_ok=True)
    place.mkdir()
    place.chmod(mode)
    os.chown(place, uid, uid)
    return place


def write(path: Path, uid: int, content: str = "another user's") -> Path:
    path.write_text(content)
    os.chown(path, uid, uid)
    return path


# Who else is there


def peer_of_another_user(bench: Bench) -> Check:
    """Another user's running server, in no list, has the very directory for its own."""
    server = bench.start()
    peer = bench.start(directory=server.directory, config={"dbfilename": "peer.rdb"})
    bench.own(server.directory, peer)
    fails(server)
    return stands_alone(server.directory)


def peer_below(bench: Bench) -> Check:
    """The same one directory further down: who owns the one above can put another one in its place."""
    server = bench.start()
    below = server.directory / "6380"
    below.mkdir(mode=0o755)
    peer = bench.new(directory=below)
    bench.own(below, peer)
    peer.start()
    os.chown(server.directory, 0, 0)
    fails(server)
    return stands_alone(server.directory)


def peer_in_another_mount_namespace(bench: Bench) -> Check:
    """The other server sees the directory by another path, in a mount namespace of its own."""
    server = bench.start()
    elsewhere = bench.base / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    peer = bench.new(directory=elsewhere, enter=f'mount --bind "{server.directory}" "{elsewhere}"')
    bench.own(server.directory, peer)
    peer.config["dbfilename"] = "peer.rdb"
    peer.start()
    fails(server)
    return stands_alone(server.directory)


def service_of_another_user(bench: Bench) -> Check:
    """No server, but a process of another user that works there."""
    server = bench.start()
    os.chown(server.directory, OTHER_UID, OTHER_UID)
    start_process(bench, ["sleep", "600"], cwd=server.directory)
    fails(server)
    return unless_asked(server, "data_dir", stands_alone(server.directory))


def open_file_of_another_user(bench: Bench) -> Check:
    """A process of another user writes a file there; the file itself is root's."""
    server = bench.start()
    os.chown(server.directory, OTHER_UID, OTHER_UID)
    with (server.directory / "journal").open("wb") as stream:
        start_process(bench, ["sleep", "600"], stdout=stream)
    fails(server)
    return unless_asked(server, "data_dir", stands_alone(server.directory))


def start_process(bench: Bench, command: list[str], **options: t.Any) -> None:
    process = subprocess.Popen(command, user=OTHER_UID, group=OTHER_UID, extra_groups=[], **options)

    def end() -> None:
        process.kill()
        process.wait(10)

    bench.exit.callback(end)


def database_files(bench: Bench) -> Check:
    """A volume that a database fills: its files, its directory; the server only happens to work there."""
    server = bench.start()
    os.chown(server.directory, OTHER_UID, OTHER_UID)
    kept = write(server.directory / "ibdata1", OTHER_UID)
    fails(server)
    return all_of(stands(kept), unless_asked(server, "data_dir", stands_alone(server.directory)))


def mode_beside_files(bench: Bench) -> Check:
    """The same where only the mode would be changed."""
    server = bench.start()
    kept = write(server.directory / "ibdata1", OTHER_UID)
    bench.chmod(server.directory, 0o555)
    fails(server)
    return all_of(stands(kept), unless_asked(server, "data_dir", stands_alone(server.directory)))


# Who asks


def strangers_parent(bench: Bench) -> Check:
    """A local user's server aims at the directory above the real server's."""
    above = place_of(bench, "redis", 0)
    below = above / "6379"
    below.mkdir(mode=0o755)
    stranger = start_stranger(bench, above)
    real = bench.new(directory=below)
    bench.own(below, real)
    real.start()
    fails(stranger)
    return stands_alone(above)


def strangers_parent_of_a_stopped_server(bench: Bench) -> Check:
    above = place_of(bench, "redis", 0)
    below = above / "6379"
    below.mkdir(mode=0o755)
    os.chown(below, OTHER_UID, OTHER_UID)
    stranger = start_stranger(bench, above)
    fails(stranger)
    return unless_asked(stranger, "data_dir", stands_alone(above))


def strangers_with_files(bench: Bench) -> Check:
    place = place_of(bench, "hers", OTHER_UID)
    kept = write(place / "letters", OTHER_UID)
    stranger = start_stranger(bench, place)
    fails(stranger)
    return all_of(stands(kept), unless_asked(stranger, "data_dir", stands_alone(place)))


def strangers_empty(bench: Bench) -> Check:
    place = place_of(bench, "hers", OTHER_UID)
    stranger = start_stranger(bench, place)
    fails(stranger)
    return unless_asked(stranger, "data_dir", stands_alone(place))


def strangers_link(bench: Bench) -> Check:
    """His configuration file is a link to root's: he can aim it elsewhere whenever he likes."""
    place = place_of(bench, "hers", OTHER_UID)
    stranger = new_stranger(bench, place)
    real = bench.base / "real.conf"
    stranger.config_path.rename(real)
    os.chown(real, 0, 0)
    prepare = stranger.prepare
    stranger.config_path.symlink_to(real)
    stranger.prepare = lambda: None  # type: ignore[method-assign]
    stranger.start()
    stranger.prepare = prepare  # type: ignore[method-assign]
    fails(stranger.fill())
    return unless_asked(stranger, "data_dir", stands_alone(place))


def strangers_program(bench: Bench) -> Check:
    """The configuration file is root's, the program is his."""
    place = place_of(bench, "hers", OTHER_UID)
    stranger = bench.new(directory=place)
    program = bench.base / "bin" / stranger.binary.name
    program.parent.mkdir(mode=0o755)
    program.write_bytes(stranger.binary.resolve().read_bytes())
    program.chmod(0o755)
    bench.own(program, stranger)
    stranger.binary = program
    stranger.start()
    fails(stranger.fill())
    return unless_asked(stranger, "data_dir", stands_alone(place))


def strangers_command_line(bench: Bench) -> Check:
    """Program and configuration file are root's; the directory is one that he set at run time."""
    server = bench.start(config={"enable-protected-configs": "yes"} if bench.kind.at_least(7) else {})
    place = server.base / "hers"
    place.mkdir(mode=0o755)
    os.chown(place, OTHER_UID, OTHER_UID)
    server.call("CONFIG", "SET", "dir", str(place))
    fails(server)
    return unless_asked(server, "data_dir", stands_alone(place))


def strangers_file_limit(bench: Bench) -> Check:
    stranger = start_stranger(bench, limits={resource.RLIMIT_FSIZE: 64 * 1024})
    stranger.fill(200, 1000, prefix="more")
    fails(stranger)
    return unless_asked(stranger, "file_size_limit", keeps_limits(stranger))


def strangers_process_limit(bench: Bench) -> Check:
    stranger = start_stranger(bench)
    bench.prlimit(stranger, "nproc", 1)
    fails(stranger)
    return unless_asked(stranger, "process_limit", keeps_limits(stranger))


def keeps_limits(server: Server) -> Check:
    path = Path(f"/proc/{server.pid}/limits")
    before = path.read_text()

    def check(done: Run) -> None:
        assert path.read_text() == before

    return check


# What is removed


def temp_file_of_another_user(bench: Bench) -> Check:
    """It looks like a left-over, and is not this server's."""
    server = saves(bench.start()).fill(5, prefix="more")
    leave_orphans(server, 1, MIB)
    kept = write(server.directory / f"temp-{dead_pids(2)[1]}.rdb", OTHER_UID)
    os.utime(kept, (LONG_AGO, LONG_AGO))
    return stands(kept)


def temp_file_of_root(bench: Bench) -> Check:
    server = saves(bench.start()).fill(5, prefix="more")
    leave_orphans(server, 1, MIB)
    kept = write(server.directory / f"temp-{dead_pids(2)[1]}.rdb", 0)
    os.utime(kept, (LONG_AGO, LONG_AGO))
    return stands(kept)


def temp_file_outside(bench: Bench) -> Check:
    """The directory is not in the allow list."""
    place = bench.base / "elsewhere" / "data"
    place.parent.mkdir(mode=0o755)
    place.mkdir(mode=0o755)
    server = bench.new(config={"dir": str(place)})
    bench.own(place, server)
    server.start()
    saves(server.fill())
    kept = write(place / f"temp-{dead_pids(1)[0]}.rdb", server.uid or 0)
    os.utime(kept, (LONG_AGO, LONG_AGO))
    return stands(kept)


def strangers_temp_file(bench: Bench) -> Check:
    stranger = saves(start_stranger(bench)).fill(5, prefix="more")
    kept = leave_orphans(stranger, 1, MIB)[0]
    return unless_asked(stranger, "orphan_temp_files", stands(kept))


PRIVILEGE_HARMS: tuple[Attempt, ...] = (
    Attempt("running server of another user", 11, peer_of_another_user),
    Attempt("running server of another user below", 11, peer_below),
    Attempt("running server in another mount namespace", 11, peer_in_another_mount_namespace),
    Attempt("working process of another user", 11, service_of_another_user),
    Attempt("open file of another user", 11, open_file_of_another_user),
    Attempt("database files", 11, database_files),
    Attempt("mode beside database files", 11, mode_beside_files),
    Attempt("stranger above the real server", 11, strangers_parent),
    Attempt("stranger above a stopped server", 11, strangers_parent_of_a_stopped_server),
    Attempt("stranger in a directory with files", 11, strangers_with_files),
    Attempt("stranger in an empty directory", 11, strangers_empty),
    Attempt("stranger with a link to root's file", 11, strangers_link),
    Attempt("stranger's own program", 11, strangers_program),
    Attempt("directory that was set at run time", 11, strangers_command_line),
    Attempt("stranger's limit on files", 11, strangers_file_limit),
    Attempt("stranger's limit on processes", 11, strangers_process_limit),
    Attempt("temp file of another user", 11, temp_file_of_another_user),
    Attempt("temp file of root", 11, temp_file_of_root),
    Attempt("temp file outside of the allow list", 11, temp_file_outside),
    Attempt("stranger's temp file", 11, strangers_temp_file),
)
