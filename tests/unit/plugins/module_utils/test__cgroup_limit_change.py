# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _cgroup_limit_change
from ansible_collections.redisops.persistence.plugins.module_utils._cgroup_limit_change import (
    FILES,
    Plan,
    State,
    change_cgroup_limit,
    order_steps,
    parse_value,
    plan_limits,
)
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import Refused
from ansible_collections.redisops.persistence.tests.unit.recorded_tree import made_system

BOOTED_UNIX = 1_700_000_000
STARTED_UNIX = BOOTED_UNIX + 100.0
PID = 812
MEGABYTE = 1024 * 1024
V1_UNLIMITED = "9223372036854771712\n"
GROUP = "/db.slice/redis.service"


def process_files(cgroup):
    numbers = " ".join(["0"] * 18)
    return {
        "/proc/stat": f"btime {BOOTED_UNIX}\n",
        f"/proc/{PID}/stat": f"{PID} (redis-server) S {numbers} {100 * os.sysconf('SC_CLK_TCK')} 0 0\n",
        f"/proc/{PID}/cgroup": cgroup,
        "/proc/self/ns/cgroup": {"link": "cgroup:[4026531835]"},
    }


def version_2(limit="100\n", above="max\n", memory=f"{100 * MEGABYTE}\n", high="max\n"):
    files = process_files(f"0::{GROUP}\n")
    files["/proc/self/mountinfo"] = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    for path, pids, bytes_limit in ((GROUP, limit, memory), ("/db.slice", above, "max\n")):
        base = f"/sys/fs/cgroup{path}"
        files[f"{base}/cgroup.events"] = "populated 1\n"
        files[f"{base}/pids.max"] = pids
        files[f"{base}/pids.current"] = "7\n"
        files[f"{base}/memory.max"] = bytes_limit
        files[f"{base}/memory.current"] = f"{50 * MEGABYTE}\n"
        files[f"{base}/memory.high"] = high if path == GROUP else "max\n"
    files["/sys/fs/cgroup/cgroup.procs"] = ""
    return files


def version_1(limit, both):
    files = process_files(f"9:memory:{GROUP}\n8:pids:/\n0::/\n")
    files["/proc/self/mountinfo"] = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    for path, own, own_both in (
        (GROUP, limit, both),
        ("/db.slice", V1_UNLIMITED, V1_UNLIMITED),
        ("", *[V1_UNLIMITED] * 2),
    ):
        base = f"/sys/fs/cgroup/memory{path}"
        files[f"{base}/memory.limit_in_bytes"] = own
        files[f"{base}/memory.usage_in_bytes"] = f"{50 * MEGABYTE}\n"
        if own_both is not None:
            files[f"{base}/memory.memsw.limit_in_bytes"] = own_both
            files[f"{base}/memory.memsw.usage_in_bytes"] = f"{60 * MEGABYTE}\n"
    files["/sys/fs/cgroup/memory/release_agent"] = ""
    return files


def run(system, check_mode=False, **options):
    parameters = {
        "pid": PID,
        "started_unix": STARTED_UNIX,
        "controller": "pids",
        "path": GROUP,
        "value": "500",
        "expected": None,
        **options,
    }
    return change_cgroup_limit(parameters, system, check_mode)


def contents(root):
    return {str(path): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def run_all(system, **options):
    """Predicted, done, done again: the outcome of the real run."""
    before = contents(system.root)
    predicted = run(system, True, **options)
    assert contents(system.root) == before
    real = run(system, **options)
    assert predicted == real
    again = run(system, **options)
    assert again.result["changes"] == [] and again.failure == real.failure
    return real


def read(system, name, group=GROUP, base="/sys/fs/cgroup"):
    return Path(system.path(f"{base}{group}/{name}")).read_text().strip()


def test_more_processes(tmp_path):
    system = made_system(tmp_path, version_2())
    outcome = run_all(system)
    assert read(system, "pids.max") == "500"
    assert (outcome.failure, outcome.warnings) == (None, ())
    what = f"pids limit of the control group {GROUP}"
    assert outcome.result == {
        "changed": True,
        "changes": [{"what": what, "before": 100, "after": 500, "reversible": True}],
        "diff": [{"before_header": what, "after_header": what, "before": "100\n", "after": "500\n"}],
        "controller": "pids",
        "version": 2,
        "control_group": GROUP,
        "limit": {"before": 100, "after": 500},
        "memory_and_swap": None,
        "usage": 7,
        "tighter_ancestor": None,
        "conflict": None,
    }


def test_no_limit(tmp_path):
    system = made_system(tmp_path, version_2())
    assert run_all(system, value="unlimited").result["limit"]["after"] == "unlimited"
    assert read(system, "pids.max") == "max"


def test_an_ancestor_that_stays_tighter_is_named(tmp_path):
    outcome = run_all(made_system(tmp_path, version_2(above="200\n")))
    assert outcome.result["tighter_ancestor"] == {"path": "/db.slice", "limit": 200}
    assert "/db.slice" in outcome.warnings[0] and "200" in outcome.warnings[0]


def test_the_ancestor_itself_can_be_changed(tmp_path):
    system = made_system(tmp_path, version_2(above="50\n"))
    outcome = run_all(system, path="/db.slice")
    assert read(system, "pids.max", "/db.slice") == "500"
    assert outcome.result["tighter_ancestor"] == {"path": GROUP, "limit": 100}


def test_memory_in_whole_pages(tmp_path):
    system = made_system(tmp_path, version_2())
    outcome = run_all(system, controller="memory", value=str(200 * MEGABYTE + 1))
    assert outcome.result["limit"] == {"before": 100 * MEGABYTE, "after": 200 * MEGABYTE}
    assert read(system, "memory.max") == str(200 * MEGABYTE)


def test_memory_high_below_the_new_limit_is_told(tmp_path):
    outcome = run_all(
        made_system(tmp_path, version_2(high=f"{90 * MEGABYTE}\n")), controller="memory", value=str(200 * MEGABYTE)
    )
    assert "memory.high" in outcome.warnings[0]


@pytest.mark.parametrize(
    ("controller", "value"), [("pids", "6"), ("memory", str(50 * MEGABYTE - 1)), ("memory", "4096")]
)
def test_never_below_what_is_used(tmp_path, controller, value):
    system = made_system(tmp_path, version_2())
    before = contents(tmp_path)
    predicted = run(system, True, controller=controller, value=value)
    outcome = run(system, controller=controller, value=value)
    assert predicted == outcome
    assert "the group uses" in outcome.failure
    assert outcome.result["changed"] is False
    assert contents(tmp_path) == before


def test_lower_as_far_as_what_is_used(tmp_path):
    system = made_system(tmp_path, version_2())
    assert run_all(system, value="7", expected="100").failure is None
    assert read(system, "pids.max") == "7"


def test_what_somebody_else_changed_is_left_alone(tmp_path):
    outcome = run_all(made_system(tmp_path, version_2(limit="300\n")), value="100", expected="500")
    assert "is 300, neither 100 nor 500" in outcome.result["conflict"]
    assert outcome.result["limit"] == {"before": 300, "after": 300}


@pytest.mark.parametrize(
    "path",
    [
        "db.slice", "/db.slice/../db.slice/redis.service", "/db.slice/redis.service/", "//db.slice", "/db.slice//x",
        "/..", "/../../etc", "", "/db.slice/./redis.service", "/other.slice", "/db.slice/redis",
        "/db.slice/redis.service/x",
    ],
)  # fmt: skip
def test_paths_that_the_process_is_not_in(tmp_path, path):
    files = version_2()
    files["/sys/fs/cgroup/other.slice/pids.max"] = "5\n"
    system = made_system(tmp_path, files)
    before = contents(tmp_path)
    assert run(system, path=path).failure is not None
    assert contents(tmp_path) == before


def test_a_process_that_was_moved_meanwhile(tmp_path):
    system = made_system(tmp_path, version_2())
    Path(system.path(f"/proc/{PID}/cgroup")).write_text("0::/db.slice\n")
    assert "is not in the control group" in run(system).failure


def test_a_pid_that_was_given_away_again(tmp_path):
    system = made_system(tmp_path, version_2())
    assert "is not the one" in run(system, started_unix=STARTED_UNIX + 60).failure


def test_the_topmost_group_has_no_limit(tmp_path):
    system = made_system(tmp_path, version_2())
    assert "topmost" in run(system, path="/").failure
    assert run_all(system, path="/", value="unlimited").result["changes"] == []


def test_the_topmost_group_of_version_1(tmp_path):
    system = made_system(tmp_path, version_1(V1_UNLIMITED, None))
    before = contents(tmp_path)
    assert "topmost" in run(system, controller="memory", path="/", value=str(900 * MEGABYTE)).failure
    assert contents(tmp_path) == before


# --- version 1: memory and swap ------------------------------------------------------------------------------------


class Writes:
    """Records the order of writes, and checks after each what the kernel demands."""

    def __init__(self, monkeypatch, system):
        self.names = []
        self.system = system
        self.write = _cgroup_limit_change._write
        monkeypatch.setattr(_cgroup_limit_change, "_write", self)

    def __call__(self, system, target, name, limit):
        number = self.write(system, target, name, limit)
        self.names.append(name)
        values = []
        for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            text = read(system, file, base="/sys/fs/cgroup/memory")
            if text == "-1":
                text = V1_UNLIMITED.strip()
                Path(system.path(f"/sys/fs/cgroup/memory{GROUP}/{file}")).write_text(text)
            values.append(int(text))
        assert values[0] <= values[1], "the kernel refuses memory above memory and swap together"
        return number


def version_1_memory(tmp_path, monkeypatch, limit, both):
    system = made_system(tmp_path, version_1(limit, both))
    return system, Writes(monkeypatch, system)


def test_version_1_raises_both_in_order_and_puts_both_back(tmp_path, monkeypatch):
    system, writes = version_1_memory(tmp_path, monkeypatch, f"{100 * MEGABYTE}\n", f"{120 * MEGABYTE}\n")
    outcome = run_all(system, controller="memory", value=str(300 * MEGABYTE))
    assert outcome.failure is None
    assert writes.names == ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
    assert outcome.result["memory_and_swap"] == {"before": 120 * MEGABYTE, "after": 320 * MEGABYTE}
    assert [(entry["what"].split()[0], entry["reversible"]) for entry in outcome.result["changes"]] == [
        ("memory", True),
        ("memory+swap", True),
    ]
    writes.names.clear()
    back = run_all(system, controller="memory", value=str(100 * MEGABYTE), expected=str(300 * MEGABYTE))
    assert writes.names == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    assert back.result["memory_and_swap"]["after"] == 120 * MEGABYTE


def test_version_1_to_no_limit_at_all(tmp_path, monkeypatch):
    system, writes = version_1_memory(tmp_path, monkeypatch, f"{100 * MEGABYTE}\n", f"{120 * MEGABYTE}\n")
    outcome = run_all(system, controller="memory", value="unlimited")
    assert outcome.failure is None
    assert writes.names == ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
    assert [entry["reversible"] for entry in outcome.result["changes"]] == [True, False]


def test_version_1_where_swap_is_not_limited(tmp_path, monkeypatch):
    system, writes = version_1_memory(tmp_path, monkeypatch, f"{100 * MEGABYTE}\n", V1_UNLIMITED)
    run_all(system, controller="memory", value=str(300 * MEGABYTE))
    assert writes.names == ["memory.limit_in_bytes"]


def test_version_1_without_accounting_of_swap(tmp_path):
    system = made_system(tmp_path, version_1(f"{100 * MEGABYTE}\n", None))
    outcome = run_all(system, controller="memory", value=str(300 * MEGABYTE))
    assert outcome.result["memory_and_swap"] is None
    assert read(system, "memory.limit_in_bytes", base="/sys/fs/cgroup/memory") == str(300 * MEGABYTE)


def test_version_1_takes_the_first_write_back_where_the_second_fails(tmp_path, monkeypatch):
    system = made_system(tmp_path, version_1(f"{100 * MEGABYTE}\n", f"{120 * MEGABYTE}\n"))
    before = contents(tmp_path)
    write = _cgroup_limit_change._write
    monkeypatch.setattr(
        _cgroup_limit_change,
        "_write",
        lambda system, target, name, limit: (
            16 if name == "memory.limit_in_bytes" else write(system, target, name, limit)
        ),
    )
    outcome = run(system, controller="memory", value=str(300 * MEGABYTE))
    assert "EBUSY" in outcome.failure and outcome.result["changes"] == []
    assert {path: data.strip() for path, data in contents(tmp_path).items()} == {
        path: data.strip() for path, data in before.items()
    }


# --- plans ---------------------------------------------------------------------------------------------------------


def test_memory_and_swap_together_must_not_fall_below_their_use_either():
    now = State(100 * MEGABYTE, 50 * MEGABYTE, 120 * MEGABYTE, 90 * MEGABYTE, None)
    with pytest.raises(Refused, match="memory and swap together"):
        plan_limits(now, 60 * MEGABYTE)


def test_what_is_used_is_unknown():
    with pytest.raises(Refused, match="can't be read"):
        plan_limits(State(100, None, None, None, None), 50)
    assert plan_limits(State(100, None, None, None, None), "unlimited") == Plan("unlimited", None)


def test_nothing_to_write():
    now = State(100, 5, None, None, None)
    assert order_steps(now, plan_limits(now, 100), FILES["pids", 2]) == []


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "lots", "４"])
def test_values_that_are_no_limits(text):
    with pytest.raises(Refused):
        parse_value("memory", text)


def test_values():
    assert parse_value("memory", str(2**63 - 4096)) == "unlimited"
    assert parse_value("pids", "5000") == 5000
    with pytest.raises(Refused, match="less than a page"):
        parse_value("memory", "100")
