# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _instances
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

NOWHERE = System(root="/nonexistent")


def server(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "pid": 10,
        "command": "redis-server",
        "title": "redis-server *:6379",
        "kind": "redis",
        "sentinel": False,
        "addresses": [("tcp", "127.0.0.1", 6379)],
        "config_file": "/etc/redis.conf",
        "network_is_host": True,
        "tls": False,
        **changes,
    }


def targets(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, t.Any], servers: t.Sequence[dict[str, t.Any]] = ()
) -> tuple[list[_instances.Target], list[dict[str, str]]]:
    monkeypatch.setattr(_instances, "discover", lambda *_arguments: list(servers))
    monkeypatch.setattr(_instances, "find_pid", lambda *_arguments: servers[0]["pid"] if servers else None)
    monkeypatch.setattr(_instances, "server_password", lambda _system, found: "from-file" if found else None)
    gaps = Gaps()
    return _instances.resolve_targets(parameters, NOWHERE, gaps), gaps.entries()


def test_named_instances_take_what_they_leave_out_from_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {
        "login_password": "p",
        "unix_socket": "/default.sock",
        "instances": [{"login_port": 1}, {"unix_socket": "/s", "login_password": "q"}, {}],
    }
    found, _gaps = targets(monkeypatch, parameters, [server()])
    assert [target.options for target in found] == [
        ConnectionOptions(login_port=1, login_password="p"),
        ConnectionOptions(unix_socket="/s", login_password="q"),
        ConnectionOptions(unix_socket="/default.sock", login_password="p"),
    ]


@pytest.mark.parametrize(
    "parameters", [{"login_port": 7}, {"login_host": "h"}, {"unix_socket": "/s"}, {"discover": False}]
)
def test_one_place_means_one_server(monkeypatch: pytest.MonkeyPatch, parameters: dict[str, t.Any]) -> None:
    found, _gaps = targets(monkeypatch, parameters, [server(), server(pid=11)])
    assert [target.options for target in found] == [ConnectionOptions.from_mapping(parameters)]


def test_discovered_servers_take_the_module_s_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [server(), server(addresses=[("unix", "/s")]), server(addresses=[], network_is_host=False)]
    found, _gaps = targets(monkeypatch, {"login_user": "u", "login_password": "p", "tls": True}, servers)
    assert [target.options for target in found] == [
        ConnectionOptions(login_user="u", login_password="p", tls=True),
        ConnectionOptions(login_user="u", login_password="p", unix_socket="/s"),
        None,
    ]
    assert found[2].address == "*:6379"
    assert _instances.collect_target(found[2], NOWHERE, Gaps())["connection"]["error"]["kind"] == "other_network"


def test_no_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found, gaps = targets(monkeypatch, {})
    assert (found, [gap["what"] for gap in gaps]) == ([], ["servers"])


def test_empty_list_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets(monkeypatch, {"instances": []}, [server()]) == ([], [])


@pytest.mark.parametrize(
    ("parameters", "password"),
    [
        ({}, None),
        ({"password_from_config": True}, "from-file"),
        ({"password_from_config": True, "login_password": "mine"}, "mine"),
        ({"password_from_config": True, "login_user": "diag"}, None),
        ({"password_from_config": True, "login_port": 6379}, "from-file"),
        ({"instances": [{"login_port": 6379, "password_from_config": True}]}, "from-file"),
    ],
)
def test_password_from_the_configuration_file_is_opt_in(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, t.Any], password: str | None
) -> None:
    found, gaps = targets(monkeypatch, parameters, [server()])
    assert [target.options.login_password for target in found if target.options] == [password]
    assert gaps == []


def test_password_that_is_not_found_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    found, gaps = targets(monkeypatch, {"password_from_config": True, "login_host": "192.0.2.1"})
    assert found[0].options == ConnectionOptions(login_host="192.0.2.1")
    assert [gap["what"] for gap in gaps] == ["password of 192.0.2.1:6379"]
