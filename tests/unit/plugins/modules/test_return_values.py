# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules return is what their documentation says, to the leaves."""

from __future__ import annotations

import typing as t

import yaml
from ansible_collections.redisops.persistence.plugins.doc_fragments.redis import ModuleDocFragment
from ansible_collections.redisops.persistence.plugins.module_utils._attempts import new_attempt
from ansible_collections.redisops.persistence.plugins.module_utils._bgsave import empty_result
from ansible_collections.redisops.persistence.plugins.module_utils._client import Client, ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._guarded_save import nothing_added
from ansible_collections.redisops.persistence.plugins.module_utils._info import parse_info
from ansible_collections.redisops.persistence.plugins.module_utils._instances import (
    collect_instances,
)
from ansible_collections.redisops.persistence.plugins.module_utils._options import (
    connection_argument_spec,
    instances_argument_spec,
)
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import collect_facts
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System
from ansible_collections.redisops.persistence.plugins.modules import redis_bgsave, redis_persistence_info


class Silent(Client):
    """Answers nothing but an empty list."""

    kind = "redis-py"

    def command(self, *arguments: str) -> t.Any:
        return []


def test_persistence_info() -> None:
    documented = yaml.safe_load(redis_persistence_info.RETURN)
    result = collect_instances({"instances": [{"unix_socket": "/nonexistent/redis.sock"}]}, System(root="/nonexistent"))
    assert set(result) == set(documented)
    instance = documented["instances"]["contains"]
    assert set(result["instances"][0]) == set(instance)
    assert set(result["instances"][0]["connection"]) == set(instance["connection"]["contains"])
    facts = collect_facts(
        Silent(ConnectionOptions()), parse_info("redis_version:7.0.0"), System(), Gaps(), float("inf")
    )
    assert set(facts) == set(instance["redis"]["contains"])


def test_bgsave() -> None:
    documented = yaml.safe_load(redis_bgsave.RETURN)
    own = {"address", "connection", "attempt", "gaps", *nothing_added()}
    assert set(documented) == (set(empty_result()) - {"stage", "aborted", "changed", "may_be_running"}) | own
    assert set(documented["attempt"]["contains"]) == set(new_attempt())


def test_options_of_the_fragments_are_those_of_the_modules() -> None:
    fragment = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    instances = yaml.safe_load(ModuleDocFragment.INSTANCES)["options"]
    assert set(fragment) == set(connection_argument_spec())
    assert set(instances["instances"]["suboptions"]) == set(connection_argument_spec())
    assert set(fragment) | set(instances) == set(instances_argument_spec())


def test_every_instance_has_an_answer_of_its_own() -> None:
    """Without a server anywhere: each is unreachable, none disturbs another."""
    entries = [{"unix_socket": f"/nonexistent/{number}.sock"} for number in range(40)]
    result = collect_instances({"instances": entries, "timeout_seconds": 1.0}, System(root="/nonexistent"))
    assert [instance["address"] for instance in result["instances"]] == [
        f"unix:{entry['unix_socket']}" for entry in entries
    ]
    assert {instance["connection"]["state"] for instance in result["instances"]} <= {"unreachable", "no_client"}
