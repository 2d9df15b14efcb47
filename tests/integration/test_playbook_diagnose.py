# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook, as an operator runs it, against real servers: one whose saves fail, one with a password."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from live_servers import Lab, Server, free_port

PASSWORD = "Zq9 pass\"wo'rd $HOME"
PLAYBOOK = "redisops.persistence.diagnose"
OWN_PLAYBOOK = """
- hosts: all
  gather_facts: false
  serial: "{{ batch | default('100%') }}"
  strategy: "{{ chosen_strategy | default('linear') }}"
  roles:
    - role: redisops.persistence.diagnose
  tasks:
    - ansible.builtin.debug:
        msg: "SEEN {{ inventory_hostname }} {{ diagnose_results | map(attribute='state') | join(',') }}"
"""


def ansible_playbook() -> str:
    beside = Path(sys.executable).parent / "ansible-playbook"
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if found is None:
        pytest.skip("ansible-playbook is not installed")
    return found


class Site:
    """Real servers, and a directory to run playbooks in."""

    def __init__(self, lab: Lab) -> None:
        name = next(iter(lab.binaries), None)
        if name is None:
            pytest.skip("no server on this machine")
        self.broken = self.started(lab.start(name, "--save", "3600", "1"))
        self.locked = self.started(lab.start(name, "--requirepass", PASSWORD))
        (self.broken.directory / "dump.rdb").mkdir()
        self.broken.ask("SET", "key", "value")
        self.broken.ask("BGSAVE")
        give_up_at = time.monotonic() + 10
        while "rdb_last_bgsave_status:err" not in self.broken.ask("INFO", "persistence"):
            assert time.monotonic() < give_up_at, "the save did not fail"
            time.sleep(0.05)

    @staticmethod
    def started(server: Server | None) -> Server:
        assert server is not None, "the server did not start"
        return server

    @property
    def instances(self) -> list[dict[str, t.Any]]:
        return [{"login_port": self.broken.port}]

    def forks(self) -> str:
        """The lines of INFO that a save would change."""
        wanted = ("total_forks", "rdb_saves", "latest_fork_usec")
        lines = self.broken.ask("INFO", "everything").splitlines()
        return ",".join(line for line in lines if line.startswith(wanted))


class Run(t.NamedTuple):
    rc: int
    output: str
    directory: Path

    def report(self) -> dict[str, t.Any]:
        return json.loads((self.directory / "reports" / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    lab = Lab(Path(tempfile.mkdtemp(prefix="play-live-")))
    try:
        yield Site(lab)
    finally:
        lab.stop()


@pytest.fixture
def play(tmp_path: Path, site: Site) -> t.Callable[..., Run]:
    def run(
        *options: str, hosts: str = "web-07", playbook: str = PLAYBOOK, local: bool = True, **variables: t.Any
    ) -> Run:
        variables.setdefault("diagnose_report_dir", "reports")
        if local:
            variables["ansible_python_interpreter"] = sys.executable
        (tmp_path / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
        argv = [ansible_playbook(), playbook, "-e", "@variables.json", *options]
        if hosts:
            argv += ["-i", hosts]
        if local:
            argv += ["-c", "local"]
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_HOME": str(tmp_path / "home"),
        }
        done = subprocess.run(
            argv,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return Run(done.returncode, done.stdout, tmp_path)

    return run


def one_fleet_line(run: Run) -> str:
    lines = [line for line in run.output.splitlines() if line.startswith("Fleet: ")]
    assert len(lines) == 1, run.output
    return lines[0]


def test_an_operator_reads_why_it_can_not_save(play: t.Callable[..., Run], site: Site) -> None:
    run = play(hosts="web-07,", redis_instances=site.instances, diagnose_evidence_dir="evidence")
    assert run.rc == 0, run.output
    assert "CAN'T SAVE: " in run.output
    assert "[destination_is_directory]" in run.output
    assert "How sure     confirmed" in run.output
    assert "Is a directory" in run.output
    assert f"$ rmdir {site.broken.directory}/dump.rdb" in run.output
    screens = run.output[run.output.index("=== ") : run.output.index("ok: [web-07]", run.output.index("=== "))]
    assert max(map(len, screens.splitlines())) <= 100
    assert len(screens.splitlines()) <= 42
    assert "1 host, 1 server: 1 failing, 1 with writes blocked" in one_fleet_line(run)
    report = run.report()
    assert list(report["hosts"]["web-07"]) == ["reachable", "error", "instances"]
    assert report["hosts"]["web-07"]["instances"][0]["cause"]["id"] == "destination_is_directory"
    for path in ("reports/report.json", "evidence/web-07.json"):
        assert stat.S_IMODE((run.directory / path).stat().st_mode) == 0o600

    again = play(hosts="", local=False, diagnose_evidence_from="evidence", diagnose_report_dir="offline")
    assert again.rc == 0, again.output
    offline = json.loads((run.directory / "offline" / "report.json").read_text(encoding="utf-8"))
    assert offline["hosts"] == report["hosts"]
    assert "CAN'T SAVE: " in again.output


def test_check_mode_says_the_same_and_starts_no_save(play: t.Callable[..., Run], site: Site) -> None:
    before = site.forks()
    run = play("--check", hosts="web-07,", redis_instances=site.instances)
    assert run.rc == 0, run.output
    assert "[destination_is_directory]" in run.output
    assert "changed=0" in run.output
    refused = play("--check", hosts="web-07,", redis_instances=site.instances, diagnose_reproduce=True)
    assert refused.rc != 0
    assert "diagnose_reproduce" in refused.output
    assert site.forks() == before


@pytest.mark.parametrize("variables", [{}, {"batch": 1}, {"chosen_strategy": "free"}])
def test_the_role_sums_up_a_play_once(play: t.Callable[..., Run], tmp_path: Path, site: Site, variables: t.Any) -> None:
    (tmp_path / "own.yml").write_text(OWN_PLAYBOOK, encoding="utf-8")
    run = play("--limit", "a,b,c", hosts="a,b,c,d,", playbook="own.yml", redis_instances=site.instances, **variables)
    assert run.rc == 0, run.output
    assert "3 hosts, 3 servers: 3 failing" in one_fleet_line(run)
    assert list(run.report()["hosts"]) == ["a", "b", "c"]
    assert all(f"SEEN {name} failing" in run.output for name in "abc")


def test_hosts_in_trouble_stay_in_the_play(play: t.Callable[..., Run], tmp_path: Path, site: Site) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        pytest.skip("ssh works for no user that has a number and no name")
    (tmp_path / "inventory").write_text(
        f"good ansible_connection=local ansible_python_interpreter='{sys.executable}'\n"
        f"nopython ansible_connection=local ansible_python_interpreter=/nonexistent/python3\n"
        f"dead ansible_host=127.0.0.1 ansible_port={free_port()}\n",
        encoding="utf-8",
    )
    run = play(hosts="inventory", local=False, redis_instances=site.instances)
    hosts = run.report()["hosts"]
    assert run.rc == 0, run.output
    assert "unreachable=0" in run.output
    assert {name: entry["reachable"] for name, entry in hosts.items()} == {
        "good": True,
        "nopython": True,
        "dead": False,
    }
    assert hosts["good"]["error"] is None
    assert "ansible_python_interpreter" in hosts["nopython"]["error"]
    assert "Check that it is up" in hosts["dead"]["error"]
    assert hosts["dead"]["instances"][0]["state"] == "unreachable"
    assert "1 host unreachable, 1 host could not be examined" in one_fleet_line(run)


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD + "x"], ids=["right", "wrong"])
def test_a_password_is_nowhere(play: t.Callable[..., Run], site: Site, password: str) -> None:
    server = [{"login_port": site.locked.port, "login_password": password}]
    seen: set[bytes] = set()
    is_over = threading.Event()

    def watch() -> None:
        own = {str(site.locked.pid), str(os.getpid())}
        while not is_over.wait(0.005):
            for name in set(filter(str.isdigit, os.listdir("/proc"))) - own:
                try:
                    command = Path("/proc", name, "cmdline").read_bytes()
                except OSError:
                    continue
                if b"Zq9" in command:
                    seen.add(command)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run = play("-vvvv", hosts="web-07,", redis_instances=server, diagnose_evidence_dir="evidence")
    finally:
        is_over.set()
        watcher.join()
    assert run.rc == 0, run.output
    states = [document["state"] for document in run.report()["hosts"]["web-07"]["instances"]]
    assert (states == ["auth_required"]) is (password != PASSWORD)
    assert "Zq9" not in run.output
    assert not seen
    for path in [*run.directory.glob("reports/*"), *run.directory.glob("evidence/*")]:
        assert "Zq9" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"diagnose_evidence_from": "missing.json"}, "missing.json: No such file"),
        ({"diagnose_deep": "perhaps"}, "diagnose_deep"),
        ({"redis_instances": [{"port": 1}]}, "port"),
        ({"diagnose_extra_risks": [{"id": "mine"}]}, "risk 'mine'"),
        ({"diagnose_report_dir": "variables.json"}, "The report can't be written in variables.json"),
    ],
)
def test_bad_input_is_named_and_nothing_is_a_traceback(
    play: t.Callable[..., Run], site: Site, variables: t.Any, words: str
) -> None:
    run = play(hosts="web-07,", **{"redis_instances": site.instances, **variables})
    assert run.rc != 0
    assert words in run.output
    assert "Traceback" not in run.output
