# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may say, and what is told of what can't be used."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import FIX_IDS, Policy, PolicyError
from ansible_collections.redisops.persistence.plugins.plugin_utils.rules import load_rules

GIB = 1024**3


def test_the_fixes_are_those_of_the_rules() -> None:
    assert set(FIX_IDS) == set(load_rules().fixes)


def test_nothing_given_is_the_default() -> None:
    nothing = {"opt_in": [], "rescue_dir": None, "rescue_control_dir": "", "maxmemory": None, "save_points": None}
    assert Policy.from_options(nothing) == Policy()


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("opt_in", ["thp", "verify"], frozenset({"thp", "verify"})),
        ("opt_in", "thp, verify", frozenset({"thp", "verify"})),
        ("skip", ("thp",), frozenset({"thp"})),
        ("scope", "incident", "incident"),
        ("allowed_dirs", ["/var/lib/redis*", "/data/"], ("/var/lib/redis*", "/data")),
        ("allowed_dirs", ["/srv/*"], ("/srv/*",)),
        ("rescue_dir", "/mnt//rescue/", "/mnt/rescue"),
        ("rescue_control_dir", "~/rescues", "~/rescues"),
        ("emergency_seconds", "600", 600),
        ("process_limit", "65536", 65_536),
        ("process_limit", "unlimited", "unlimited"),
        ("pids_limit", 500, 500),
        ("cgroup_memory_bytes", "4G", 4 * GIB),
        ("cgroup_memory_bytes", "512 MiB", 512 * 1024**2),
        ("cgroup_memory_bytes", 2 * GIB, 2 * GIB),
        ("cgroup_memory_bytes", str(GIB), GIB),
        # Redis counts in thousands where no b follows.
        ("maxmemory", "4gb", 4 * GIB),
        ("maxmemory", "4G", 4_000_000_000),
        ("maxmemory", 1234, 1234),
        ("save_points", "3600 1  300 100", "3600 1 300 100"),
        ("verify_timeout_seconds", 60, 60),
        ("run_tags", ["all"], frozenset({"all"})),
        ("skip_tags", [], frozenset()),
    ],
)
def test_a_value_is_read(name: str, value: t.Any, read: t.Any) -> None:
    assert getattr(Policy.from_options({name: value}), name) == read


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("opt_in", ["chmod_777"], "there is no fix 'chmod_777'; the fixes are cgroup_memory, data_dir"),
        ("skip", ["tph"], "there is no fix 'tph'"),
        ("opt_in", [1], "must be a list of texts"),
        ("scope", "all", "must be one of incident, prevention, both"),
        ("allowed_dirs", ["data"], "must be an absolute path"),
        ("allowed_dirs", ["/srv/*/data"], "has a * before its last part"),
        ("allowed_dirs", ["/srv/../etc"], "holds '..'"),
        ("allowed_dirs", ["/"], "would allow the whole machine"),
        ("allowed_dirs", ["/*"], "would allow the whole machine"),
        ("allowed_dirs", ["/srv/a\nb"], "control character"),
        ("rescue_dir", "rescue", "must be an absolute path"),
        ("rescue_dir", ["/rescue"], "must be an absolute path"),
        ("emergency_seconds", 0, "must be a whole number from 1 on"),
        ("emergency_seconds", 100_000, "must be at most 86400"),
        ("process_limit", True, "must be a whole number"),
        ("process_limit", "many", "must be a whole number or unlimited"),
        ("pids_limit", -1, "must be a whole number"),
        ("cgroup_memory_bytes", "4 elephants", "must be a number of bytes or a size such as 4G"),
        ("cgroup_memory_bytes", 0, "must be a number of bytes"),
        ("cgroup_memory_bytes", 1.5, "must be a number of bytes"),
        ("maxmemory", "50%", "must be a number of bytes or a size as Redis writes it"),
        ("maxmemory", "0", "must be a number of bytes"),
        ("save_points", "3600", "must be pairs of seconds and changes"),
        ("save_points", '""', "must be pairs"),
        ("save_points", "0 1", "must be pairs"),
        ("save_points", "3600 1; SHUTDOWN", "must be pairs"),
        ("colour", "red", "is not part of the policy"),
    ],
)
def test_what_can_not_be_used_is_told_by_its_name(name: str, value: t.Any, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_options({name: value})
    assert str(caught.value).startswith(f"remediate_{name}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "selected"),
    [
        (["all"], [], {"thp", "overcommit", "verify"}),
        (["plan"], [], set()),
        (["apply"], [], {"thp", "overcommit"}),
        (["verify"], [], {"verify"}),
        (["overcommit"], [], {"overcommit"}),
        (["plan", "thp", "verify"], [], {"thp", "verify"}),
        (["all"], ["thp"], {"overcommit", "verify"}),
        (["all"], ["verify"], {"thp", "overcommit"}),
        (["all"], ["apply"], {"verify"}),
        (["apply"], ["overcommit"], {"thp"}),
        # A tag of the caller's own is for the role as a whole.
        (["database"], [], {"thp", "overcommit", "verify"}),
        (["database", "thp"], [], {"thp"}),
        (["all"], ["database"], {"thp", "overcommit", "verify"}),
        (["tagged"], [], {"thp", "overcommit", "verify"}),
    ],
)
def test_tags_choose(run_tags: list[str], skip_tags: list[str], selected: set[str]) -> None:
    policy = Policy.from_options({"run_tags": run_tags, "skip_tags": skip_tags})
    assert {fix for fix in ("thp", "overcommit", "verify") if policy.selects(fix)} == selected


@pytest.mark.parametrize(
    ("name", "value"),
    [("lock_seconds", 0), ("lock_seconds", 7 * 86400 + 1), ("lock_seconds", "soon"), ("restart_seconds", -4)],
)
def test_values_that_only_tasks_use_are_checked_before(name, value):
    with pytest.raises(PolicyError, match=f"remediate_{name}"):
        Policy.from_options({name: value})
    assert Policy.from_options({"lock_seconds": 60, "restart_seconds": "30"}) == Policy.from_options({})
