# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break the saves of a throwaway server for real, and let the playbook find out why.

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

STEPS = 5
REPORT = REPOSITORY / ".cache" / "demo" / "report.json"


def say(text: str = "") -> None:
    """A line for the reader, at once: the playbook writes to the same terminal."""
    print(text, flush=True)


def step(number: int, text: str) -> None:
    say(f"\n[{number}/{STEPS}] {text}")


def diagnose(server: Server, directory: Path, collections: Path) -> dict[str, t.Any]:
    """Run the playbook on this machine, for this one server, and return its report."""
    variables = {
        "redis_instances": [{"login_host": "127.0.0.1", "login_port": server.port}],
        "diagnose_report_dir": str(REPORT.parent),
        "ansible_python_interpreter": sys.executable,
    }
    REPORT.unlink(missing_ok=True)
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
        return t.cast("dict[str, t.Any]", json.loads(REPORT.read_text()))
    except (OSError, ValueError) as error:
        raise SystemExit(f"The playbook left no report: {error}") from error


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
            say(f"      SET order:2 refunded > (error) {str(error).partition('. ')[0]}.")

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
    say("The server is stopped and its directory removed. What the screen had no room for is in the report.")
    if causes != [broken.cause]:
        say(f"The verdict should have been {broken.cause}, and was {causes}. This is a bug in the collection.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
