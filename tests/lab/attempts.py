# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of attempts to make remediation break its rules: each is a server, and what must still stand afterwards.

Names that a template or a shell would act on carry a command that makes the file ``TRIPPED``.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from .bench import Bench
from .faults import MIB, fails, fill_up, saves, start_with_protected_configs
from .remediation import Run
from .remedies import dead_pids, leave_orphans
from .servers import Server, child_pids

Check = t.Callable[[Run], None]
"""Raises AssertionError where the run broke a rule."""

CRON = "/etc/cron.d"
TRIPPED = "TRIPPED-BY-A-TEXT"
MINUTE_MICROSECONDS = 60_000_000
LONG_AGO = 1_700_000_000


@dataclasses.dataclass(frozen=True)
class Attempt:
    """``arrange`` leaves a broken server; what it returns is called after the run, and raises where a rule was broken.

    ``rule``: its number in the documentation's list of what never happens.
    """

    id: str
    rule: int
    arrange: t.Callable[[Bench], Check]
    needs: tuple[str, ...] = ("root",)


# What must still stand


def stands(*paths: Path | str) -> Check:
    """Owner, mode, attributes and content of these stay as they are now, and so does what is in the directories."""
    before = {str(path): sight(path) for path in paths}

    def check(done: Run) -> None:
        after = {path: sight(path) for path in before}
        assert after == before, f"{before} is now {after}"

    return check


def sight(path: Path | str) -> t.Any:
    try:
        status = os.lstat(path)
    except OSError as error:
        return type(error).__name__
    listed = subprocess.run(["lsattr", "-d", str(path)], capture_output=True, text=True, check=False).stdout.split()[:1]
    kept = [status.st_uid, status.st_gid, oct(status.st_mode), status.st_ino, listed]
    if stat.S_ISDIR(status.st_mode):
        return [*kept, sorted(os.listdir(path))]
    return [*kept, Path(path).read_bytes()] if stat.S_ISREG(status.st_mode) else kept


def all_of(*checks: Check) -> Check:
    def check(done: Run) -> None:
        for one in checks:
            one(done)

    return check


def not_tripped(bench: Bench) -> Check:
    """Nothing has carried out a text: the file that each of them would make is nowhere that it could be."""

    def check(done: Run) -> None:
        places = (bench.base, bench.server.directory, done.directory, Path.cwd(), Path.home(), Path("/"))
        assert not [place for place in places if (place / TRIPPED).exists()], "a text was carried out"

    return check


TRAPS = (
    "{{ lookup('pipe', 'touch " + TRIPPED + "') }}",
    "{{ 7 * 7 }}{% for x in y %}",
    f"$(touch {TRIPPED}) `touch {TRIPPED}`; touch {TRIPPED}",
    "with space and 'both' \"quotes\"",
    "two\nlines",
    "<script>alert(1)<",
    "-rf ~",
)
"""Names that something would act on if it were let."""


def sent_no(server: Server, *words: str) -> Check:
    """Those commands were not sent since the servers' record was emptied."""

    def check(done: Run) -> None:
        entries = server.call("SLOWLOG", "GET", "1000")
        sent = {entry[3][0].lower() for entry in entries}
        assert not sent & set(words), sent

    return check


# 1. Places


def in_place(directory: str | Path) -> t.Callable[[Bench], Check]:
    """A server whose configuration file names a place of the system; it may not write there."""

    def arrange(bench: Bench) -> Check:
        fails(bench.start(config={"dir": str(directory)}))
        return all_of(stands_alone(directory), sent_no(bench.server, "bgsave"))

    return arrange


def stands_alone(directory: Path | str) -> Check:
    """The same without what is in it, for places that everybody uses."""
    before = sight(directory)[:5]

    def check(done: Run) -> None:
        assert sight(directory)[:5] == before, f"{before} is now {sight(directory)[:5]}"

    return check


def in_ssh_directory(bench: Bench) -> Check:
    place = ssh_directory(bench)
    server = bench.start(config={"dir": str(place), "dbfilename": "authorized_keys"})
    (place / "authorized_keys").write_text("ssh-ed25519 a-key-of-the-lab\n")
    fails(server)
    return stands(place, place / "authorized_keys")


def ssh_directory(bench: Bench) -> Path:
    """A throwaway home with the directory that intruders write keys to."""
    home = Path(tempfile.mkdtemp(prefix="redisops-lab-", dir="/home"))
    bench.exit.callback(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)
    place = home / ".ssh"
    place.mkdir(mode=0o755)
    return place


def in_immutable_ssh_directory(bench: Bench) -> Check:
    """The attribute protects it from the very server."""
    place = ssh_directory(bench)
    server = bench.new(config={"dir": str(place), "dbfilename": "authorized_keys"})
    bench.own(place, server)
    server.start()
    server.fill()
    bench.chattr(place, "i")
    fails(server)
    return stands(place)


def behind_a_link(bench: Bench) -> Check:
    link = bench.base / "link"
    link.symlink_to(CRON)
    fails(bench.start(config={"dir": str(link)}))
    return stands(CRON)


def with_dots(bench: Bench) -> Check:
    detour = f"{bench.base}/{'../' * len(bench.base.parts)}etc/cron.d"
    fails(bench.start(config={"dir": detour}))
    return stands(CRON)


def restored_through_a_link(bench: Bench) -> Check:
    """The configuration file's directory has become a link into the system since."""
    server = start_with_protected_configs(bench)
    server.call("CONFIG", "SET", "dir", "/var/spool")
    shutil.rmtree(server.directory)
    server.directory.symlink_to(CRON)
    fails(server)

    def check(done: Run) -> None:
        assert server.call("CONFIG", "GET", "dir")[1] != CRON

    return all_of(check, stands(CRON))


def recreated_through_a_link(bench: Bench) -> Check:
    """The directory is gone, and the one above it has become a link to somebody's."""
    victim = bench.base / "victim"
    victim.mkdir()
    above = bench.base / "above"
    above.mkdir(mode=0o755)
    server = bench.new(config={"enable-protected-configs": "yes"} if bench.kind.at_least(7) else {})
    server.directory = above / "data"
    server.config["dir"] = str(server.directory)
    server.start()
    server.fill()
    shutil.rmtree(above)
    above.symlink_to(victim)
    fails(server)
    return stands(victim)


def swapped_for_a_link(bench: Bench) -> Check:
    """Where the server works has been moved away, and a link into the system has its name."""
    server = bench.start()
    server.directory.chmod(0o555)
    server.directory.rename(bench.base / "moved")
    server.directory.symlink_to(CRON)
    fails(server)
    return stands(CRON)


def blocked_above(bench: Bench) -> Check:
    """What blocks is a directory above, which is not the server's."""
    server = bench.start()
    server.base.chmod(0o700)
    server.directory.chmod(0o555)
    fails(server)
    return stands_alone(server.base)


def hijacked_name(bench: Bench) -> Check:
    """The server's own directory, a name that an intruder set: the closed directory is what protects."""
    server = start_with_protected_configs(bench)
    server.call("CONFIG", "SET", "dbfilename", "authorized_keys")
    bench.chmod(server.directory, 0o555)
    fails(server)
    server.directory.chmod(0o555)
    return no_dump_of_an_intruder(server)


def no_dump_of_an_intruder(server: Server) -> Check:
    """Unless the name was set back, the directory stays closed; a file of that name is never there."""

    def check(done: Run) -> None:
        assert not (server.directory / "authorized_keys").exists()
        if server.call("CONFIG", "GET", "dbfilename")[1] == "authorized_keys":
            assert server.directory.stat().st_mode & 0o777 == 0o555

    return check


def in_shared_place(bench: Bench) -> Check:
    """/tmp, where another user's file has the name of the dump."""
    taken = Path(tempfile.gettempdir()) / f"redisops-lab-{bench.base.name}.rdb"
    bench.exit.callback(taken.unlink, missing_ok=True)
    server = bench.start(config={"dir": str(taken.parent), "dbfilename": taken.name})
    taken.write_text("another user's")
    fails(server)
    return all_of(stands_alone(taken.parent), stands(taken))


# 1. Temporary files


def with_orphans(bench: Bench) -> Server:
    return saves(bench.start()).fill(5, prefix="more")


def beside_a_live_child(bench: Bench) -> Check:
    server = with_orphans(bench)
    leave_orphans(server, 1, MIB)
    server.slow_child(MINUTE_MICROSECONDS)
    server.bgsave()
    own = server.directory / f"temp-{server.child()}.rdb"
    until_there(own)

    def check(done: Run) -> None:
        assert own.exists(), "the file of a save that runs was removed"
        assert child_pids(server.pid), "the save that ran was ended"

    return check


def until_there(path: Path) -> None:
    give_up_at = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < give_up_at, path
        time.sleep(0.02)


def of_a_living_process(bench: Bench) -> Check:
    """The pid in the name is alive, and older than the file: it may be its file."""
    server = with_orphans(bench)
    path = server.directory / f"temp-{os.getpid()}.rdb"
    path.write_bytes(b"x" * 1000)
    leave_orphans(server, 1, MIB)
    return stands(path)


def open_orphan(bench: Bench) -> Check:
    """The pid in the name is dead, and somebody has the file open."""
    server = with_orphans(bench)
    first, _second = leave_orphans(server, 2, MIB)
    stream = bench.exit.enter_context(first.open("rb"))
    assert stream.readable()
    return stands(first)


def reused_pid(bench: Bench) -> Check:
    """The name carries the pid of a saving child of today; the file is from long ago, and the child's all the same."""
    server = with_orphans(bench)
    server.slow_child(MINUTE_MICROSECONDS)
    server.bgsave()
    own = server.directory / f"temp-{server.child()}.rdb"
    until_there(own)
    os.utime(own, (LONG_AGO, LONG_AGO))
    leave_orphans(server, 1, MIB)

    def check(done: Run) -> None:
        assert own.exists(), "the file of a save that runs was removed"

    return check


def link_with_the_name(bench: Bench) -> Check:
    server = with_orphans(bench)
    victim = bench.base / "victim"
    victim.write_text("somebody's")
    pids = dead_pids(4)
    (server.directory / f"temp-{pids[2]}.rdb").symlink_to(victim)
    (server.directory / f"temp-{pids[3]}.rdb").mkdir()
    (server.directory / f"temp-{pids[3]}.rdb" / "kept").write_text("somebody's")
    leave_orphans(server, 2, MIB)
    return stands(victim, server.directory / f"temp-{pids[2]}.rdb", server.directory / f"temp-{pids[3]}.rdb")


def names_beside(bench: Bench) -> Check:
    server = with_orphans(bench)
    pid = dead_pids(1)[0]
    kept = [server.directory / name for name in (f"temp-{pid}.rdb.bak", "temp-notes.rdb", f"my-temp-{pid}.rdb", "temp")]
    for path in kept:
        path.write_text("somebody's")
        os.utime(path, (LONG_AGO, LONG_AGO))
    leave_orphans(server, 1, MIB)
    return stands(*kept)


def orphans_in_the_system(bench: Bench) -> Check:
    """The directory is a place of intruders: nothing in it is removed."""
    place = ssh_directory(bench)
    orphan = place / f"temp-{dead_pids(1)[0]}.rdb"
    orphan.write_text("x")
    os.utime(orphan, (LONG_AGO, LONG_AGO))
    fails(bench.start(config={"dir": str(place), "dbfilename": "authorized_keys"}))
    return stands(place, orphan)


# 2, 4, 9


def no_restart_without_a_copy(bench: Bench) -> Check:
    """From 7.0 on a deleted directory takes a restart, and there is no unit; before, none is needed."""
    server = bench.start()
    shutil.rmtree(server.directory)
    fails(server)
    process = server.process

    def check(done: Run) -> None:
        assert process is not None and process.poll() is None, "the server was ended"

    return check


def deadly_save(bench: Bench) -> Check:
    """The directory can be put right; the save that would prove it is one that the group's memory has no room for."""
    group = bench.cgroup("memory")
    server = bench.start_on_tmpfs(
        "size=200m", cgroups=[group.path], config={"oom-score-adj": "yes"}, keys=20_000, value_bytes=2000
    )
    saves(server).fill(1, prefix="more")
    bench.chmod(server.directory, 0o555)
    fails(server)
    group.set_memory_limit(group.memory_usage() + 20 * MIB)
    return sent_no(server, "bgsave")


def read_only_after_errors(bench: Bench) -> Check:
    server = bench.start_on_tmpfs("size=10m")
    leave_orphans(server, 1, MIB)
    with bench.inject(server, "fsync:error=EIO:when=1"):
        fails(server)
    subprocess.run(["mount", "-o", "remount,ro", str(server.directory)], check=True, capture_output=True)
    fails(server)
    before = mount_line(server.directory)

    def check(done: Run) -> None:
        assert mount_line(server.directory) == before

    return all_of(check, stands(server.directory), sent_no(server, "bgsave"))


def mount_line(directory: Path) -> str:
    return next(line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {directory} " in line)


def full_of_others(bench: Bench) -> Check:
    """Files that only look like the cause of a full disk."""
    server = bench.start_on_tmpfs("size=1m", keys=3)
    fill_up(server.directory)
    fails(server)
    return all_of(stands(server.directory / "filler"), sent_no(server, "bgsave"))


# 7. Text


def directory_named(number: int) -> t.Callable[[Bench], Check]:
    """A closed directory with such a name: it may be opened, and nothing beside it changes."""

    def arrange(bench: Bench) -> Check:
        place = bench.base / TRAPS[number]
        server = bench.new(directory=place)
        server.config["dir"] = quoted(str(place))
        server.start()
        server.fill()
        server.directory.chmod(0o555)
        fails(server)
        return all_of(not_tripped(bench), stands_alone(server.base), only_closed_or_opened(server))

    return arrange


def only_closed_or_opened(server: Server) -> Check:
    def check(done: Run) -> None:
        mode = server.directory.stat().st_mode & 0o7777
        assert not mode & 0o022, oct(mode)

    return check


def quoted(text: str) -> str:
    """A value as the configuration file of Redis takes it between quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def dump_named_like_a_template(bench: Bench) -> Check:
    server = bench.start(config={"dbfilename": quoted(TRAPS[0])})
    (server.directory / TRAPS[0]).mkdir()
    fails(server)
    return not_tripped(bench)


def log_that_commands(bench: Bench) -> Check:
    """The log says, of a save that failed, what a template, a shell and a browser would act on."""
    server = bench.start()
    bench.chmod(server.directory, 0o555)
    fails(server)
    evil = f"{TRAPS[0]} {TRAPS[2]} <script>alert(1)</script> {{% import os %}} !unsafe"
    lines = [line for line in server.read_log().splitlines() if "for saving: Permission denied" in line]
    with server.log_path.open("a") as stream:
        for line in lines:
            stream.write(line.replace("(in server root dir", f"{evil} (in server root dir") + "\n")
            stream.write(line.replace("Permission denied", f"Permission denied {evil}") + "\n")
    return not_tripped(bench)


CHATTR = ("root", "chattr")

# fmt: off
ATTEMPTS: tuple[Attempt, ...] = (
    Attempt("cron", 1, in_place(CRON)),
    Attempt("root of the system", 1, in_place("/")),
    Attempt("etc", 1, in_place("/etc")),
    Attempt("usr", 1, in_place("/usr")),
    Attempt("dev", 1, in_place("/dev")),
    Attempt("ssh directory of a user", 1, in_ssh_directory),
    Attempt("immutable ssh directory", 1, in_immutable_ssh_directory, CHATTR),
    Attempt("link into the system", 1, behind_a_link),
    Attempt("path with dots", 1, with_dots),
    Attempt("restored through a link", 1, restored_through_a_link),
    Attempt("recreated through a link", 1, recreated_through_a_link),
    Attempt("swapped for a link", 1, swapped_for_a_link),
    Attempt("blocked above", 1, blocked_above),
    Attempt("hijacked dbfilename", 1, hijacked_name),
    Attempt("shared directory", 1, in_shared_place),
    Attempt("temp file of a live child", 1, beside_a_live_child),
    Attempt("temp file of a living process", 1, of_a_living_process),
    Attempt("temp file that is open", 1, open_orphan),
    Attempt("temp file with a pid that is in use", 1, reused_pid),
    Attempt("link with the name of a temp file", 1, link_with_the_name),
    Attempt("names beside", 1, names_beside),
    Attempt("orphan in an intruder's place", 1, orphans_in_the_system),
    Attempt("restart without a copy", 2, no_restart_without_a_copy),
    Attempt("deadly save", 4, deadly_save, ("root", "cgroup:memory")),
    Attempt("read-only after errors", 9, read_only_after_errors, ("root", "strace")),
    Attempt("disk full of others' files", 1, full_of_others),
    *(Attempt(f"directory with the name {number}", 7, directory_named(number)) for number in range(len(TRAPS))),
    Attempt("dump named like a template", 7, dump_named_like_a_template),
    Attempt("log that commands", 7, log_that_commands),
)
# fmt: on
