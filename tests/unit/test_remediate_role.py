# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators give the role remediate reaches the plan, in each way that Ansible lets them give it."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import ansible.template
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import is_selected

ROLE = Path(__file__).parents[2] / "roles" / "remediate"


def trusted(value: t.Any) -> t.Any:
    """Texts that may be templates. Core 2.18 takes every text for one."""
    if isinstance(value, dict):
        return {name: trusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    trust = getattr(ansible.template, "trust_as_template", None)
    return trust(value) if trust and isinstance(value, str) else value


def load(path: Path) -> t.Any:
    return trusted(yaml.safe_load(path.read_text()))


def policy(**given: t.Any) -> dict[str, t.Any]:
    """The policy that the role hands to its plan."""
    variables = {
        **load(ROLE / "defaults" / "main.yml"),
        **load(ROLE / "vars" / "main.yml"),
        "ansible_run_tags": ["all"],
        "ansible_skip_tags": [],
        **given,
    }
    return ansible.template.Templar(DataLoader(), variables).template(trusted("{{ __remediate_policy }}"))


@pytest.mark.parametrize("value", [True, "true", "True", "yes", "1", 1])
def test_a_switch_is_on_however_it_is_written(value: t.Any) -> None:
    assert policy(remediate_opt_in_immutable=value)["opt_in"] == ["immutable"]


@pytest.mark.parametrize("value", [False, "false", "no", "0", 0])
def test_a_switch_is_off_however_it_is_written(value: t.Any) -> None:
    assert policy(remediate_opt_in_immutable=value)["opt_in"] == []


@pytest.mark.parametrize(
    "value", [["immutable", "destination"], "immutable,destination", "immutable, destination", "immutable,destination,"]
)
def test_fixes_are_asked_for_by_a_list_or_a_text(value: t.Any) -> None:
    assert sorted(policy(remediate_opt_in=value)["opt_in"]) == ["destination", "immutable"]


def test_a_fix_that_is_asked_for_twice_is_named_once() -> None:
    assert policy(remediate_opt_in=["rescue"], remediate_opt_in_rescue=True)["opt_in"] == ["rescue"]


def test_each_switch_of_the_documentation_has_an_effect() -> None:
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    switches = [name for name in options if name.startswith("remediate_opt_in_")]
    assert len(switches) > 10
    for name in switches:
        assert policy(**{name: True})["opt_in"] == [name[len("remediate_opt_in_") :]]


def test_no_task_hands_null_to_a_module() -> None:
    """Core 2.18 makes an empty text of null, which is no number; ``default(omit)`` lets null pass."""
    for path in sorted(ROLE.glob("tasks/**/*.yml")):
        for line in path.read_text().splitlines():
            assert not re.search(r"default\(omit\) *}}", line), f"{path.name}: {line.strip()}"


@pytest.mark.parametrize(
    ("run_tags", "own_tags", "meant"),
    [
        ({"all"}, {"always"}, True),
        ({"plan"}, {"always"}, True),
        ({"overcommit", "nginx"}, {"always"}, True),
        ({"tagged"}, {"always"}, True),
        ({"redis"}, {"always", "redis"}, True),
        ({"nginx"}, {"always"}, False),
        ({"overcomit"}, {"always", "redis"}, False),
        ({"always"}, {"always"}, False),
        ({"untagged"}, {"always"}, False),
    ],
)
def test_tags_of_something_else_do_not_mean_the_role(run_tags: set[str], own_tags: set[str], meant: bool) -> None:
    assert is_selected(run_tags, own_tags) is meant
