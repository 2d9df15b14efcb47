# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break the saves of a throwaway server for real, let one playbook find out why, and let the other put it right.

Everything lies in one temporary directory that is removed at the end; the only process that is stopped is the one
that was started here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import redis

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "tools"))

from collection_link import link_collection  # noqa: E402
from throwaway_server import Server, choose_account, make_work_directory  # noqa: E402

STEPS = 9
KEYS = 1000
OUTPUT = REPOSITORY / ".cache" / "demo"
# They hold for the whole machine, which is not the demonstration's to change.
HOST_WIDE_FIXES = ["overcommit", "thp"]


class PlaybookRun(t.NamedTuple):
    """How a run ended, its report, and the words of its recap (``changed=1``)."""

    exit_code: int
    report: dict[str, t.Any]
    recap: list[str]


def say(text: str = "") -> None:
    """A line for the reader, at once: the playbook writes to the same terminal."""
    print(text, flush=True)


def step(number: int, text: str) -> None:
    say(f"\n[{number}/{STEPS}] {text}")


class Operator:
    """Runs the playbooks on this machine, for one server, with nothing but defaults and the variables below."""

    def __init__(self, server: Server, directory: Path, collections: Path) -> None:
        self._directory = directory
        self._configuration = directory / "ansible.cfg"
        self._configuration.touch()
        self._variables = {
            "redis_instances": [{"login_host": "127.0.0.1", "login_port": server.port}],
            "diagnose_report_dir": str(OUTPUT / "diagnosis"),
            "remediate_report_dir": str(OUTPUT / "remediation"),
            "remediate_record_dir": str(OUTPUT / "records"),
            "remediate_allowed_dirs": [str(server.data)],
            "remediate_skip": HOST_WIDE_FIXES,
            "ansible_python_interpreter": sys.executable,
        }
        self._environment = dict(
            os.environ,
            PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            ANSIBLE_COLLECTIONS_PATH=str(collections),
            # Only defaults: no configuration of the user's own, nothing left behind in the home directory.
            ANSIBLE_CONFIG=str(self._configuration),
            ANSIBLE_HOME=str(directory / "ansible"),
            ANSIBLE_LOCALHOST_WARNING="false",
            ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
            # The story is told by what the roles print; the names of a few dozen skipped tasks are left out.
            ANSIBLE_DISPLAY_SKIPPED_HOSTS="false",
        )

    def run(self, playbook: str, *options: str) -> PlaybookRun:
        """Run a playbook of the collection, its output on the reader's terminal."""
        kind = "diagnosis" if playbook == "diagnose" else "remediation"
        report = OUTPUT / kind / "report.json"
        report.unlink(missing_ok=True)
        variables = self._directory / "variables.json"
        variables.write_text(json.dumps(self._variables))
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            f"redisops.persistence.{playbook}",
            *("-i", "localhost,", "-c", "local", "-e", f"@{variables}", *options),
        ]
        lines: list[str] = []
        with subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._directory,
        ) as process:
            for line in t.cast("t.IO[str]", process.stdout):
                print(line, end="", flush=True)
                lines.append(line)
        recap = next((line.split() for line in reversed(lines) if line.startswith("localhost ")), [])
        try:
            return PlaybookRun(process.returncode, json.loads(report.read_text()), recap)
        except (OSError, ValueError) as error:
            raise SystemExit(f"The playbook left no report: {error}") from error


def the_only(run: PlaybookRun) -> dict[str, t.Any]:
    """The document of the one server in a report."""
    documents = [document for host in run.report["hosts"].values() for document in host["instances"]]
    if len(documents) != 1:
        raise SystemExit(f"The report has {len(documents)} servers instead of one. This is a bug in the collection.")
    return t.cast("dict[str, t.Any]", documents[0])


def expect(what: str, expected: t.Any, found: t.Any) -> None:
    """End the demonstration where it did not go as it must."""
    if expected != found:
        raise SystemExit(f"{what} should have been {expected}, and was {found}. This is a bug in the collection.")


def refusal_of_write(server: Server) -> str | None:
    """What the server says to a write; None where it takes it."""
    try:
        server.client.set("order:2", "refunded")
    except redis.ResponseError as error:
        return str(error).partition(". ")[0]
    return None


def break_and_look(server: Server) -> str:
    """Break the server's saves and show what everybody sees of it. The cause that must be found."""
    step(2, f"Writing {KEYS:,} keys and saving them: this works.")
    server.client.mset({f"order:{number}": "paid" for number in range(KEYS)})
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
    refusal = refusal_of_write(server)
    if refusal is None:
        raise SystemExit("The server still takes writes: the demonstration did not break it.")
    say(f"      SET order:2 refunded > (error) {refusal}.")
    return str(broken.cause)


def cure(server: Server, operator: Operator, cause: str) -> None:
    """From the verdict to the proof, and once more to see that nothing is left to do."""
    step(5, "Why? ansible-playbook redisops.persistence.diagnose -i localhost, -c local ...")
    verdict = the_only(operator.run("diagnose"))
    expect("The verdict", cause, verdict["cause"]["id"] if verdict["cause"] else verdict["state"])

    step(6, "What would put it right? ansible-playbook redisops.persistence.remediate --check --diff ...")
    announced = the_only(operator.run("remediate", "--check", "--diff"))
    expect("The status after the check run", "err", server.client.info("persistence")["rdb_last_bgsave_status"])

    step(7, "Do it. ansible-playbook redisops.persistence.remediate ...")
    cured = operator.run("remediate")
    expect("The exit code", 0, cured.exit_code)
    expect("The result", "cured", the_only(cured)["result"])
    expect("What was changed", announced["changes"], the_only(cured)["changes"])

    step(8, "What the application and the operator see now:")
    say(f"      rdb_last_bgsave_status:{server.client.info('persistence')['rdb_last_bgsave_status']}")
    say(f"      SET order:2 refunded > {refusal_of_write(server) or 'OK'}")
    say(f"      DBSIZE > {server.client.dbsize()}")
    expect("The number of keys", KEYS, server.client.dbsize())

    step(9, "And again: there is nothing left to do.")
    again = operator.run("remediate")
    expect("The exit code", 0, again.exit_code)
    expect("Changed tasks of the second run", True, "changed=0" in again.recap)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=Path, help="take the collection from there instead of this checkout")
    arguments = parser.parse_args()
    # A Ctrl-C or a kill must clean up as well.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))

    collections = arguments.collections.resolve() if arguments.collections else link_collection()
    directory = make_work_directory("demo")
    server = None
    try:
        server = Server(directory, choose_account())
        step(1, "Starting a throwaway server ...")
        server.start()
        say(f"      {server.describe()}, data in {server.data}")

        cause = break_and_look(server)
        cure(server, Operator(server, directory, collections), cause)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)

    say("\nThe server is stopped and its directory removed. What the screens had no room for is in the reports:")
    for kind in ("diagnosis", "remediation"):
        say(f"    {(OUTPUT / kind / 'report.json').relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
