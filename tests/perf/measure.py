# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis costs, over a real SSH connection to this machine, against a ping and against shell tasks.

One SSH server of its own on a high port of the loopback device, with keys and configuration of its own in a
temporary directory; throwaway servers as in the demonstration. Runs of what is compared take turns, so that another
load on the machine meets them alike. Times are medians of wall clock; read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "tools"))

from collection_link import link_collection  # noqa: E402
from throwaway_server import Server, choose_account, copy_server, free_port, make_work_directory  # noqa: E402

MANY_SERVERS = 50
BIG_LOG_BYTES = 10 * 1024**3
DIAGNOSE = "redisops.persistence.diagnose"
PERF = Path(__file__).resolve().parent

# A playbook and its variables.
Case = tuple[str, dict[str, t.Any]]


def say(text: str = "") -> None:
    print(text, flush=True)


class SshServer:
    """A private sshd for the user who runs this."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        self.port = free_port()
        self.key = directory / "user_key"
        self._made_directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("sshd")
        if program is None or shutil.which("ssh") is None:
            raise SystemExit("sshd and ssh are needed (Debian: openssh-server, openssh-client).")
        host_key = self.directory / "host_key"
        for key in (host_key, self.key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        shutil.copy(self.key.with_suffix(".pub"), self.directory / "authorized_keys")
        is_root = os.geteuid() == 0
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": host_key,
            "PidFile": "none",
            "AuthorizedKeysFile": self.directory / "authorized_keys",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            # The keys lie below a directory for temporary files, which sshd would find too open.
            "StrictModes": "no",
            # PAM lets an account with a locked password in, as root's is on most machines; only root can use it.
            "UsePAM": "yes" if is_root else "no",
            "MaxStartups": "100",
        }
        configuration = self.directory / "sshd_config"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        separation = Path("/run/sshd")
        if is_root and not separation.exists():
            separation.mkdir(mode=0o755)
            self._made_directory = separation
        self._process = subprocess.Popen(
            [program, "-D", "-E", str(self.directory / "log"), "-f", str(configuration)], stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise SystemExit(f"sshd did not start:\n{(self.directory / 'log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._made_directory is not None:
            with contextlib.suppress(OSError):
                self._made_directory.rmdir()


class Comparison:
    """Seconds of several cases, one of each in every round.

    What is compared is compared within a round, and the median taken of that: a load on the machine that comes and
    goes meets both sides of a round alike.
    """

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self._seconds = seconds

    def median(self, name: str) -> str:
        return f"{statistics.median(self._seconds[name]):.2f} s"

    def ratio(self, name: str, base: str) -> str:
        pairs = zip(self._seconds[name], self._seconds[base], strict=True)
        return f"{statistics.median(mine / other for mine, other in pairs):.2f} x {base}"

    def difference(self, name: str, base: str) -> str:
        pairs = zip(self._seconds[name], self._seconds[base], strict=True)
        return f"{statistics.median(mine - other for mine, other in pairs):+.2f} s"


class Bench:
    """Runs playbooks over that connection and measures them."""

    def __init__(self, directory: Path, ssh_server: SshServer, collections: Path) -> None:
        self.directory = directory
        self._run_number = 0
        self._environment = dict(
            os.environ,
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            ANSIBLE_COLLECTIONS_PATH=str(collections),
            ANSIBLE_CONFIG=str(directory / "ansible.cfg"),
            ANSIBLE_HOME=str(directory / "ansible"),
            ANSIBLE_SSH_ARGS=(
                "-o ControlMaster=auto -o ControlPersist=5s -o BatchMode=yes "
                f"-o UserKnownHostsFile={directory / 'known_hosts'} -o StrictHostKeyChecking=accept-new"
            ),
        )
        (directory / "ansible.cfg").touch()
        (directory / "inventory.json").write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": {
                            "target": {
                                "ansible_host": "127.0.0.1",
                                "ansible_port": ssh_server.port,
                                "ansible_user": getpass.getuser(),
                                "ansible_ssh_private_key_file": str(ssh_server.key),
                            }
                        }
                    }
                }
            )
        )

    def run(self, playbook: str, variables: dict[str, t.Any], *arguments: str) -> tuple[float, str]:
        """One run with a connection of its own: seconds and output. A play that fails ends everything."""
        self._run_number += 1
        # A path of its own, so that no run finds the connection of another one open.
        control_path = self.directory / f"c{self._run_number}"
        begun = time.monotonic()
        result = subprocess.run(
            ["ansible-playbook", playbook, "-i", str(self.directory / "inventory.json")]
            + ["-e", json.dumps(variables), *arguments],
            env=dict(self._environment, ANSIBLE_SSH_CONTROL_PATH_DIR=str(control_path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begun
        if "unreachable=0" not in result.stdout or "failed=0" not in result.stdout:
            raise SystemExit(f"{playbook} failed:\n{result.stdout}")
        return seconds, result.stdout

    def compare(self, cases: dict[str, Case], rounds: int) -> Comparison:
        """Several playbooks that take turns, after one round that is not counted."""
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, (playbook, variables) in cases.items():
                elapsed, _output = self.run(playbook, variables)
                if number > 0:
                    seconds[name].append(elapsed)
        return Comparison(seconds)


def instances(servers: list[Server], **more: t.Any) -> dict[str, t.Any]:
    """The playbook's variables for these servers."""
    return {"redis_instances": [{"login_host": "127.0.0.1", "login_port": server.port, **more} for server in servers]}


def fill_big_log(server: Server) -> None:
    """Put a hole of 10 GB before the lines of the log, and real lines of other days behind it."""
    lines = [
        f"4242:M 01 Jan 2020 00:{number // 60 % 60:02}:{number % 60:02}.000 * 10 changes in 300 seconds. Saving...\n"
        for number in range(20000)
    ]
    with server.log.open("r+b") as handle:
        handle.truncate(BIG_LOG_BYTES)
        handle.seek(0, os.SEEK_END)
        handle.write("".join(lines).encode())


def count_executions(output: str) -> int:
    """How many modules went to the host, from the output of a run with -vvv."""
    return len(re.findall(r"Using module file ", output))


class Row(t.NamedTuple):
    """A line of the table."""

    what: str
    median: str
    against: str = ""
    goal: str = ""


def has_no_library(python: str) -> bool:
    """Whether a Python lacks redis-py, so that the command line client is used on the target."""
    return subprocess.run([python, "-c", "import redis"], capture_output=True, check=False).returncode != 0


def table(rows: list[Row]) -> str:
    everything = [Row("what", "median", "against", "goal"), *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in everything]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


class Site:
    """The servers, the connection to their host, and the Pythons that the module may run with there."""

    def __init__(self, directory: Path, rounds: int, keep: contextlib.ExitStack) -> None:
        self.rounds = rounds
        self._directory = directory
        self._keep = keep
        self._account = choose_account()
        self._program = copy_server(directory)
        ssh_server = SshServer(directory / "ssh")
        keep.callback(ssh_server.stop)
        ssh_server.start()
        self.bench = Bench(directory, ssh_server, link_collection())
        self.client = shutil.which("redis-cli") or shutil.which("valkey-cli")
        self.plain_python = os.path.realpath(sys.executable)
        self.pythons = {"redis-py": sys.executable}
        if self.client and has_no_library(self.plain_python):
            self.pythons[Path(self.client).name] = self.plain_python

    def failing_server(self, name: str, big_log: bool = False) -> Server:
        """A server with some keys whose last save failed."""
        server = Server(self._directory / name, self._account, self._program)
        self._keep.callback(server.stop)
        if big_log:
            fill_big_log(server)
        server.start()
        server.client.mset({f"key:{number}": "value" for number in range(1000)})
        server.break_saves()
        server.save()
        return server

    def compare(self, **cases: Case) -> Comparison:
        return self.bench.compare(cases, self.rounds)


def diagnosis(servers: list[Server], python: str = sys.executable) -> Case:
    return DIAGNOSE, {**instances(servers), "ansible_python_interpreter": python}


def measure_one(site: Site, server: Server) -> t.Iterator[Row]:
    """One server, against a ping and the guide's commands."""
    plain = {"ansible_python_interpreter": site.plain_python}
    cases: dict[str, Case] = {"ping": (str(PERF / "ping.yml"), plain)}
    for name, python in site.pythons.items():
        cases[f"by {name}"] = diagnosis([server], python)
    if site.client:
        checks = {
            "quick_checks_client": site.client,
            "quick_checks_port": server.port,
            "quick_checks_log": str(server.log),
        }
        cases["quick checks"] = (str(PERF / "quick_checks.yml"), {**checks, **plain})
    else:
        say("Without redis-cli (Debian: redis-tools) the quick checks are left out.")
    say(f"One server: {', '.join(cases)}; {site.rounds} rounds ...")
    result = site.bench.compare(cases, site.rounds)
    yield Row("a playbook with one ping", result.median("ping"))
    for name in site.pythons:
        case = f"by {name}"
        yield Row(f"diagnose, 1 server, {case}", result.median(case), result.ratio(case, "ping"), "<= 1.5 x")
    if site.client:
        case = "quick checks"
        yield Row("the guide's 13 quick checks as shell tasks", result.median(case), result.ratio(case, "ping"))


def measure_log(site: Site, server: Server) -> t.Iterator[Row]:
    """A large log against a small one."""
    say("A log of 10 GB against a small one ...")
    big = site.failing_server("big-log", big_log=True)
    logs = site.compare(small=diagnosis([server]), big=diagnosis([big]))
    yield Row("diagnose, 1 server with a log of 10 GB", logs.median("big"), logs.difference("big", "small"), "< +0.1 s")


def measure_crowd(site: Site, many: list[Server]) -> t.Iterator[Row]:
    """Many servers on a host against one of them."""
    say(f"{len(many)} servers on the host against one ...")
    for servers, what in ((many[:1], "1 server"), (many, f"{len(many)} servers")):
        playbook, variables = diagnosis(servers)
        _seconds, output = site.bench.run(playbook, variables, "-vvv")
        yield Row(f"module executions on the host, {what}", str(count_executions(output)), "", "1")
    for name, python in site.pythons.items():
        crowd = site.compare(one=diagnosis(many[:1], python), many=diagnosis(many, python))
        difference = f"{crowd.difference('many', 'one')} against 1"
        yield Row(f"diagnose, {len(many)} servers, by {name}", crowd.median("many"), difference, "<= +1.5 s")


def measure_stopped(site: Site, many: list[Server]) -> t.Iterator[Row]:
    """A server that accepts connections and never answers, among others."""
    say("Ten servers, and ten of which one is stopped ...")
    ten, stopped = many[:10], many[10]
    stopped.signal(signal.SIGSTOP)
    try:
        result = site.compare(ten=diagnosis(ten), hung=diagnosis([*ten[:9], stopped]))
    finally:
        stopped.signal(signal.SIGCONT)
    difference = f"{result.difference('hung', 'ten')} against none stopped"
    yield Row("diagnose, 10 servers, one stopped", result.median("hung"), difference, "its time-out (5 s), once")


def measure(directory: Path, rounds: int, keep: contextlib.ExitStack) -> list[Row]:
    site = Site(directory, rounds, keep)
    many = [site.failing_server(f"server-{number}") for number in range(MANY_SERVERS)]
    return [
        *measure_one(site, many[0]),
        *measure_log(site, many[0]),
        *measure_crowd(site, many),
        *measure_stopped(site, many),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="runs of each case, of which the median counts")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))
    directory = make_work_directory("perf")
    with contextlib.ExitStack() as keep:
        keep.callback(shutil.rmtree, directory, ignore_errors=True)
        rows = measure(directory, arguments.rounds, keep)
    say()
    say(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
