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
                                "ansible_python_interpreter": os.path.realpath(sys.executable),
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

    def compare(self, cases: dict[str, tuple[str, dict[str, t.Any]]], rounds: int) -> dict[str, float]:
        """Medians in seconds of several playbooks that take turns, after one round that is not counted."""
        times: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, (playbook, variables) in cases.items():
                seconds, _output = self.run(playbook, variables)
                if number > 0:
                    times[name].append(seconds)
        return {name: statistics.median(values) for name, values in times.items()}


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


def table(rows: list[tuple[str, str, str, str]]) -> str:
    header = ("what", "median", "against", "goal")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def measure(directory: Path, rounds: int, keep: contextlib.ExitStack) -> list[tuple[str, str, str, str]]:
    account = choose_account()
    program = copy_server(directory)

    def new_server(name: str) -> Server:
        server = Server(directory / name, account, program)
        keep.callback(server.stop)
        return server

    def failing_server(name: str, big_log: bool = False) -> Server:
        server = new_server(name)
        if big_log:
            fill_big_log(server)
        server.start()
        server.client.mset({f"key:{number}": "value" for number in range(1000)})
        server.break_saves()
        server.save()
        return server

    ssh_server = SshServer(directory / "ssh")
    keep.callback(ssh_server.stop)
    ssh_server.start()
    bench = Bench(directory, ssh_server, link_collection())

    one = failing_server("one")
    client = shutil.which("redis-cli") or shutil.which("valkey-cli")
    perf = REPOSITORY / "tests" / "perf"
    cases: dict[str, tuple[str, dict[str, t.Any]]] = {
        "ping": (str(perf / "ping.yml"), {}),
        "diagnose": (DIAGNOSE, instances([one])),
    }
    if client:
        checks = {
            "quick_checks_client": client,
            "quick_checks_port": one.port,
            "quick_checks_log": str(one.log),
        }
        cases["quick checks"] = (str(perf / "quick_checks.yml"), checks)
    else:
        say("Without redis-cli (Debian: redis-tools) the quick checks are left out.")
    say(f"One server: {', '.join(cases)}; {rounds} runs each ...")
    basic = bench.compare(cases, rounds)
    rows = [("a playbook with one ping", f"{basic['ping']:.2f} s", "", "")]
    rows.append(
        (
            "diagnose, 1 server",
            f"{basic['diagnose']:.2f} s",
            f"{basic['diagnose'] / basic['ping']:.2f} x ping",
            "<= 1.5 x",
        )
    )
    if client:
        rows.append(
            (
                "the guide's 13 quick checks as shell tasks",
                f"{basic['quick checks']:.2f} s",
                f"{basic['quick checks'] / basic['ping']:.2f} x ping",
                "",
            )
        )

    _seconds, output = bench.run(DIAGNOSE, instances([one]), "-vvv")
    rows.append(("module executions on the host, 1 server", str(count_executions(output)), "", "1"))

    say("A log of 10 GB against a small one ...")
    big = failing_server("big-log", big_log=True)
    logs = bench.compare({"small": (DIAGNOSE, instances([one])), "big": (DIAGNOSE, instances([big]))}, rounds)
    rows.append(
        (
            "diagnose, 1 server with a log of 10 GB",
            f"{logs['big']:.2f} s",
            f"{logs['big'] - logs['small']:+.2f} s",
            "< +0.1 s",
        )
    )

    say(f"{MANY_SERVERS} servers on the host against one, and one of them stopped ...")
    many = [one] + [failing_server(f"server-{number}") for number in range(1, MANY_SERVERS)]
    _seconds, output = bench.run(DIAGNOSE, instances(many), "-vvv")
    rows.append((f"module executions on the host, {MANY_SERVERS} servers", str(count_executions(output)), "", "1"))
    crowd = bench.compare({"one": (DIAGNOSE, instances([one])), "many": (DIAGNOSE, instances(many))}, rounds)
    rows.append(
        (
            f"diagnose, {MANY_SERVERS} servers",
            f"{crowd['many']:.2f} s",
            f"{crowd['many'] - crowd['one']:+.2f} s against 1",
            "<= +1.5 s",
        )
    )
    stopped = many[-1]
    stopped.signal(signal.SIGSTOP)
    try:
        hung = bench.compare({"many": (DIAGNOSE, instances(many))}, rounds)
    finally:
        stopped.signal(signal.SIGCONT)
    rows.append(
        (
            f"diagnose, {MANY_SERVERS} servers, one of them stopped",
            f"{hung['many']:.2f} s",
            f"{hung['many'] - crowd['many']:+.2f} s against none stopped",
            "<= its time-out, once",
        )
    )
    return rows


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
