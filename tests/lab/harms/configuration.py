# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: a rewrite must not lose a line, nor make somebody else's value permanent."""

from __future__ import annotations

import shutil
import subprocess
import time
import typing as t

from ..attempts import Attempt, Check
from ..bench import Bench
from ..faults import saves
from ..remediation import Run
from ..servers import Server

STOP_WRITES = "stop-writes-on-bgsave-error"
CARELESS = {STOP_WRITES: "no"}
"""A risk that is put right unasked; the new value is then kept by a rewrite where that is safe."""
SECRET_LINE = 'masterauth "a-secret-of-the-lab"'
IN_THE_INCLUDED_FILE = "slowlog-max-len 77"


def start_with_file_of_its_own(bench: Bench, lines: str = "", mode: int = 0o644, **config: str) -> Server:
    """A server that may replace its configuration file. ``lines`` are added to the file that it is started with."""
    server = bench.new(config=config)
    server.base.mkdir(exist_ok=True)
    prepare = server.prepare

    def prepared() -> None:
        prepare()
        with server.config_path.open("a", encoding="utf-8") as file:
            file.write(lines)
        server.config_path.chmod(mode)
        bench.own(server.config_path, server)
        bench.own(server.base, server)

    server.prepare = prepared  # type: ignore[method-assign]
    return saves(server.start().fill())


def lines_of(server: Server) -> list[str]:
    return [line.replace('"', "") for line in server.config_path.read_text().splitlines()]


def keeps(server: Server, *lines: str) -> Check:
    """The file still has these lines, quoted or not."""

    def check(done: Run) -> None:
        missing = [line for line in lines if line.replace('"', "") not in lines_of(server)]
        assert not missing, f"lost: {missing}; the file is now {lines_of(server)}"

    return check


def has_none(server: Server, *beginnings: str) -> Check:
    """No line of the file begins so."""

    def check(done: Run) -> None:
        found = [line for line in lines_of(server) if line.startswith(beginnings)]
        assert not found, f"permanent now: {found}"

    return check


def everything(*checks: Check) -> Check:
    def check(done: Run) -> None:
        for one in checks:
            one(done)

    return check


# What a rewrite would lose


def without_its_directory(bench: Bench) -> Check:
    """CONFIG GET dir is empty then, and CONFIG REWRITE takes the line out."""
    server = start_with_file_of_its_own(bench, **CARELESS)
    line = f"dir {server.directory}"
    shutil.rmtree(server.directory)
    return keeps(server, line)


def in_an_unmounted_directory(bench: Bench) -> Check:
    """The same where the file system was unmounted under the server."""
    server = bench.new(config=CARELESS)
    bench.tmpfs(server.directory, "size=10m", server)
    server.base.chmod(0o755)
    server.start().fill()
    bench.own(server.config_path, server)
    bench.own(server.base, server)
    saves(server)
    line = f"dir {server.directory}"
    subprocess.run(["umount", "--lazy", str(server.directory)], check=True)
    return keeps(server, line)


def edited_since_the_start(bench: Bench) -> Check:
    """What an operator wrote to the file for the next start is not in force, and a rewrite would undo it."""
    server = start_with_file_of_its_own(bench, **CARELESS)
    time.sleep(0.5)
    text = server.config_path.read_text().replace("save 3600 1", "save 77 7")
    server.config_path.write_text(f"{text}maxclients 77\nloglevel verbose\n")
    return keeps(server, "save 77 7", "maxclients 77", "loglevel verbose")


def edited_in_the_very_line(bench: Bench) -> Check:
    """The parameter that the fix sets has a new value in the file, which is not in force yet."""
    server = start_with_file_of_its_own(bench, **{"oom-score-adj": "no"})
    text = server.config_path.read_text().replace("oom-score-adj no", "oom-score-adj absolute")
    server.config_path.write_text(text)
    return keeps(server, "oom-score-adj absolute")


def commented_and_quoted(bench: Bench) -> Check:
    """Whatever is done, these stay: none of it is ours."""
    ours = '# kept for the night shift\nrename-command DEBUG ""\ndbfilename "with blank.rdb"\nslave-priority 90\n'
    server = start_with_file_of_its_own(bench, ours, **CARELESS)

    def check(done: Run) -> None:
        lines = lines_of(server)
        assert "# kept for the night shift" in lines and "dbfilename with blank.rdb" in lines, lines
        assert [line for line in lines if line.startswith("rename-command DEBUG")], lines
        assert {"slave-priority 90", "replica-priority 90"} & set(lines), lines

    return check


def behind_a_link(bench: Bench) -> Check:
    """A rewrite renames a new file over the link; the real one, which somebody manages, has no effect any more."""
    server = start_with_file_of_its_own(bench, **CARELESS)
    real = server.base / "managed.conf"
    server.config_path.rename(real)
    server.config_path.symlink_to(real)

    def check(done: Run) -> None:
        assert server.config_path.is_symlink(), "the link was replaced by a file"

    return check


def with_a_secret_that_others_may_not_read(bench: Bench) -> Check:
    """The new file has mode 0644 and the server's umask, whatever the old one had."""
    server = start_with_file_of_its_own(bench, f"{SECRET_LINE}\n", mode=0o600, **CARELESS)

    def check(done: Run) -> None:
        assert not server.config_path.stat().st_mode & 0o077, "others may read the password now"

    return everything(check, keeps(server, SECRET_LINE))


def with_an_included_file(bench: Bench) -> Check:
    """A rewrite copies its values, and later changes of it have no effect."""
    server = bench.new(config=CARELESS)
    included = bench.base / "included.conf"
    included.write_text(f"{IN_THE_INCLUDED_FILE}\n")
    included.chmod(0o644)
    # The harms are recorded by a longer list; here the included value is the one in force.
    server.config.pop("slowlog-max-len", None)
    prepare = server.prepare

    def prepared() -> None:
        prepare()
        with server.config_path.open("a", encoding="utf-8") as file:
            file.write(f"include {included}\n")
        bench.own(server.config_path, server)
        bench.own(server.base, server)

    server.prepare = prepared  # type: ignore[method-assign]
    saves(server.start().fill())
    return everything(has_none(server, IN_THE_INCLUDED_FILE), keeps(server, f"include {included}"))


# What a rewrite would make permanent


def with_a_master_set_at_run_time(bench: Bench) -> Check:
    server = start_with_file_of_its_own(bench, **CARELESS)
    server.call("CONFIG", "SET", "loglevel", "verbose")
    server.call("REPLICAOF", "127.0.0.1", "1")
    return has_none(server, "replicaof", "slaveof")


def with_a_user_made_at_run_time(bench: Bench) -> Check:
    server = start_with_file_of_its_own(bench, **CARELESS)
    server.call("CONFIG", "SET", "loglevel", "verbose")
    server.call("ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all")
    return has_none(server, "user eve")


def with_a_password_set_at_run_time(bench: Bench) -> Check:
    """A secret that somebody set for now must not be written to a file."""
    server = start_with_file_of_its_own(bench, **CARELESS)
    server.call("CONFIG", "SET", "loglevel", "verbose")
    server.call("CONFIG", "SET", "masterauth", "set-by-somebody")
    return has_none(server, "masterauth")


ARRANGED: dict[str, t.Callable[[Bench], Check]] = {
    "rewrite-without-its-directory": without_its_directory,
    "rewrite-in-an-unmounted-directory": in_an_unmounted_directory,
    "rewrite-over-edits": edited_since_the_start,
    "rewrite-over-an-edit-of-the-very-line": edited_in_the_very_line,
    "rewrite-of-comments-and-quotes": commented_and_quoted,
    "rewrite-through-a-link": behind_a_link,
    "rewrite-that-opens-a-secret": with_a_secret_that_others_may_not_read,
    "rewrite-of-an-included-file": with_an_included_file,
    "rewrite-of-a-master": with_a_master_set_at_run_time,
    "rewrite-of-a-user": with_a_user_made_at_run_time,
    "rewrite-of-a-password": with_a_password_set_at_run_time,
}
CONFIGURATION_HARMS: tuple[Attempt, ...] = tuple(Attempt(name, 5, arrange) for name, arrange in ARRANGED.items())
