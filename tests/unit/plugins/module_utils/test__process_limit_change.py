# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.plugins.module_utils._process_identity import (
    read_started_unix,
    why_not_the_same,
)
from ansible_collections.redisops.persistence.plugins.module_utils._process_limit_change import (
    Credentials,
    Limits,
    Plan,
    change_process_limit,
    is_above,
    parse_limit,
    plan_limits,
    run_as,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import System
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

BOOTED_UNIX = 1_700_000_000
START_TICKS = 12_345
STARTED_UNIX = BOOTED_UNIX + START_TICKS / os.sysconf("SC_CLK_TCK")
PID = 812
ROOT_CAPABILITIES = "000001ffffffffff"
WITHOUT_RESOURCE = "000001fffeffffff"


def limits_text(nproc):
    return (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max file size             unlimited            unlimited            bytes     \n"
        f"Max processes             {nproc[0]:<20} {nproc[1]:<20} processes \n"
    )


def status_text(uid, capabilities):
    ids = "\t".join([str(uid)] * 4)
    return f"Name:\tredis\nUid:\t{ids}\nGid:\t{ids}\nCapEff:\t{capabilities}\n"


def machine(tmp_path, nproc=(64, 1000), capabilities=ROOT_CAPABILITIES, uid=110):
    numbers = " ".join(["0"] * 18)
    return made_system(
        tmp_path,
        {
            "/proc/stat": f"cpu 1 2 3\nbtime {BOOTED_UNIX}\n",
            f"/proc/{PID}/stat": f"{PID} (redis-server) S {numbers} {START_TICKS} 0 0\n",
            f"/proc/{PID}/limits": limits_text(nproc),
            f"/proc/{PID}/status": status_text(uid, "0000000000000000"),
            "/proc/self/status": status_text(0, capabilities),
            "/proc/self/ns/user": {"link": "user:[4026531837]"},
        },
    )


class Kernel:
    """Takes the limits that are set, as a recorded /proc does not by itself."""

    def __init__(self, system):
        self.system = system
        self.calls = []

    def __call__(self, pid, resource, limits):
        self.calls.append((pid, resource, limits))
        names = ["unlimited" if number == -1 else number for number in limits]
        Path(self.system.path(f"/proc/{pid}/limits")).write_text(limits_text(names))


def run(system, check_mode=False, kernel=None, **options):
    parameters = {
        "pid": PID,
        "started_unix": STARTED_UNIX,
        "resource": "nproc",
        "value": "500",
        "expected": None,
        # Whom a limit is raised for is tested with _privilege_check.
        "accept": ["untrusted_server"],
        "config_file": None,
        **options,
    }
    return change_process_limit(parameters, system, check_mode, kernel or Kernel(system))


def run_all(system, **options):
    """Predicted, done, done again: the outcome of the real run."""
    kernel = Kernel(system)
    predicted = run(system, True, kernel, **options)
    assert kernel.calls == []
    real = run(system, False, kernel, **options)
    assert predicted == real
    calls = list(kernel.calls)
    assert run(system, False, kernel, **options).result["changes"] == []
    assert kernel.calls == calls
    return real


def test_up_to_the_hard_limit(tmp_path):
    outcome = run_all(machine(tmp_path))
    assert outcome.failure is None
    assert outcome.result == {
        "changed": True,
        "changes": [{"what": "limit nproc of the process", "before": 64, "after": 500, "reversible": True}],
        "diff": [
            {
                "before_header": "limit nproc of the process",
                "after_header": "limit nproc of the process",
                "before": "64\n",
                "after": "500\n",
            }
        ],
        "pid": PID,
        "resource": "nproc",
        "soft": {"before": 64, "after": 500},
        "hard": {"before": 1000, "after": 1000},
        "method": "direct",
        "conflict": None,
    }


def test_above_the_hard_limit_with_the_capability(tmp_path):
    result = run_all(machine(tmp_path), value="unlimited").result
    assert result["hard"] == {"before": 1000, "after": "unlimited"}
    assert [(entry["what"], entry["reversible"]) for entry in result["changes"]] == [
        ("limit nproc of the process", True),
        ("hard limit nproc of the process", False),
    ]


def test_putting_it_back_leaves_the_hard_limit(tmp_path):
    system = machine(tmp_path, nproc=(65536, 65536))
    result = run_all(system, value="64", expected="65536").result
    assert (result["soft"]["after"], result["hard"]["after"]) == (64, 65536)


@pytest.mark.parametrize("check_mode", [True, False])
def test_above_the_hard_limit_without_the_capability(tmp_path, check_mode):
    system = machine(tmp_path, capabilities=WITHOUT_RESOURCE)
    kernel = Kernel(system)
    outcome = run(system, check_mode, kernel, value="65536")
    assert "The hard limit is 1000, below 65536" in outcome.failure
    assert outcome.result["changes"] == [] and outcome.result["soft"] == {"before": 64, "after": 64}
    assert kernel.calls == []


@pytest.mark.parametrize("started_unix", [STARTED_UNIX - 60, STARTED_UNIX + 2.5])
def test_a_pid_that_was_given_away_again_is_left_alone(tmp_path, started_unix):
    system = machine(tmp_path)
    kernel = Kernel(system)
    outcome = run(system, False, kernel, started_unix=started_unix)
    assert "is not the one that was looked at" in outcome.failure
    assert kernel.calls == [] and outcome.result["changes"] == []


def test_a_clock_that_was_set_is_no_other_process(tmp_path):
    assert run(machine(tmp_path), True, started_unix=STARTED_UNIX + 1.5).failure is None


@pytest.mark.parametrize("pid", [0, -1, 813])
def test_no_such_process(tmp_path, pid):
    assert why_not_the_same(machine(tmp_path), pid, None) is not None
    assert run(machine(tmp_path / "again"), pid=pid).failure is not None


def test_a_limit_that_somebody_else_changed_is_left_alone(tmp_path):
    outcome = run_all(machine(tmp_path, nproc=(99, 1000)), value="64", expected="500")
    assert "is 99, neither 64 nor 500" in outcome.result["conflict"]
    assert outcome.result["changes"] == []


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "1.5", "９", str(2**63)])
def test_values_that_are_no_limits(tmp_path, value):
    system = machine(tmp_path)
    kernel = Kernel(system)
    assert "is no limit" in run(system, False, kernel, value=value).failure
    assert kernel.calls == []


def test_limits_in_order():
    assert is_above("unlimited", 5) and is_above(6, 5)
    assert not is_above(5, 5) and not is_above(5, "unlimited") and not is_above("unlimited", "unlimited")
    assert parse_limit(" unlimited ") == "unlimited"


ROOT = Credentials((0, 0, 0), (0, 0, 0), frozenset({"CAP_SETUID", "CAP_SETGID"}), True)
SERVER = Credentials((110, 110, 110), (115, 115, 115), frozenset(), True)


def test_root_without_the_capability_becomes_the_user():
    assert plan_limits(Limits(64, 1000), 500, ROOT, SERVER) == Plan(Limits(500, 1000), "as_its_user")


def test_the_servers_own_user_needs_nothing():
    assert plan_limits(Limits(64, 1000), 500, SERVER, SERVER).method == "direct"


def test_roots_own_process_needs_nothing():
    assert plan_limits(Limits(64, 1000), 500, ROOT, ROOT).method == "direct"


def test_another_user_may_not():
    with pytest.raises(Refused, match="belongs to uid 110"):
        plan_limits(Limits(64, 1000), 500, Credentials((1000,) * 3, (1000,) * 3, frozenset(), True), SERVER)


def test_a_process_with_several_uids_needs_the_capability():
    mixed = SERVER._replace(uids=(110, 0, 0))
    with pytest.raises(Refused, match="several uids"):
        plan_limits(Limits(64, 1000), 500, ROOT, mixed)
    able = ROOT._replace(capabilities=frozenset({"CAP_SYS_RESOURCE"}))
    assert plan_limits(Limits(64, 1000), 500, able, mixed).method == "direct"


def test_the_capability_in_a_user_namespace_raises_no_hard_limit():
    inside = ROOT._replace(capabilities=frozenset({"CAP_SYS_RESOURCE"}), in_first_user_namespace=False)
    assert plan_limits(Limits(64, 1000), 500, inside, SERVER).method == "direct"
    with pytest.raises(Refused, match="hard limit"):
        plan_limits(Limits(64, 1000), 1001, inside, SERVER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_child_is_the_other_user_for_good_and_has_no_groups():
    reader, writer = os.pipe()

    def tell():
        os.write(writer, f"{os.getresuid()} {os.getresgid()} {os.getgroups()}".encode())

    assert run_as(61234, 61235, tell) == 0
    assert os.read(reader, 1000) == b"(61234, 61234, 61234) (61235, 61235, 61235) []"
    os.close(reader)
    os.close(writer)
    assert os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_child_reports_the_error():
    assert run_as(61234, 61234, lambda: os.setresuid(0, 0, 0)) == errno.EPERM


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_child_that_hangs_or_dies_holds_nobody_up():
    began = time.monotonic()
    assert run_as(61234, 61234, lambda: time.sleep(60), 0.2) == errno.ETIMEDOUT
    assert run_as(61234, 61234, lambda: os.kill(os.getpid(), 9), 5) == errno.EIO
    assert time.monotonic() - began < 5
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_start_of_this_very_process():
    started = read_started_unix(System(), os.getpid())
    assert started is not None and 0 <= time.time() - started < 86_400
    assert why_not_the_same(System(), os.getpid(), started) is None
