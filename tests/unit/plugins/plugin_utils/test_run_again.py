# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next command works as it is pasted, and shows no secret."""

from __future__ import annotations

import os
import shlex
import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.plugin_utils.run_again import Invocation, from_command_line


def words(arguments: dict[str, t.Any], host: str = "web-07", **variables: str) -> list[str]:
    return shlex.split(from_command_line(arguments).playbook("remediate", host, variables))


def test_the_bare_command_is_for_one_host() -> None:
    assert Invocation().playbook("rollback", "web-07", {"remediate_record": "20261122T235901Z-4711"}) == (
        "ansible-playbook redisops.persistence.rollback --limit web-07 -e remediate_record=20261122T235901Z-4711"
    )


def test_it_is_started_as_the_run_was() -> None:
    given = {
        "inventory": ("hosts.yml", "a,b,"),
        "become": True,
        "become_method": "sudo",
        "become_user": "admin",
        "connection": "smart",
        "remote_user": "op",
        "vault_ids": ["prod@prompt"],
        "vault_password_files": ["vault.txt"],
        "extra_vars": ("@vars.yml", "redis_hosts=all"),
    }
    here = os.getcwd()
    assert words(given)[2:] == [
        *("-i", f"{here}/hosts.yml", "-i", "a,b,", "--become", "--become-user", "admin", "--user", "op"),
        *("--vault-id", "prod@prompt", "--vault-password-file", f"{here}/vault.txt"),
        *("-e", f"@{here}/vars.yml", "-e", "redis_hosts=all", "--limit", "web-07"),
    ]


@pytest.mark.parametrize(
    "secret", ["login_password=hunter2", '{"redis_instances": [{"login_password": "hunter2"}]}', "MY_TOKEN=hunter2"]
)
def test_a_secret_is_left_out_and_said_to_be_missing(secret: str) -> None:
    invocation = from_command_line({"extra_vars": (secret,)})
    assert "hunter2" not in invocation.playbook("remediate", "h")
    assert invocation.left_out and invocation.note
    assert not from_command_line({"extra_vars": ("a=b",)}).note


def test_what_was_meant_for_this_run_alone_stays_behind() -> None:
    given = {"extra_vars": ("remediate_record=x", "diagnose_reproduce=true", "remediate_record_dir=/x")}
    assert words(given) == [
        *("ansible-playbook", "redisops.persistence.remediate", "-e", "remediate_record_dir=/x", "--limit", "web-07")
    ]


@pytest.mark.parametrize("host", ["a b", "$(touch x)", "-x", "all:!b", "[0]"])
def test_a_strange_name_means_itself_alone(host: str) -> None:
    pattern = words({}, host)[-1]
    assert pattern.startswith("~^") and pattern.endswith("$")


def test_a_value_reaches_ansible_whole() -> None:
    from ansible.parsing.splitter import parse_kv

    given = words({}, remediate_save_points="900 1 60 1000")[-1]
    assert parse_kv(given) == {"remediate_save_points": "900 1 60 1000"}
