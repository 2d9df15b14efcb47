# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the modules reach one server of a host."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.redisops.persistence.plugins.filter.redis_connection import FilterModule

SECRET = "pass \"word' with blanks"
DEFAULTS = {"timeout_seconds": 5, "password_from_config": False}
connect = FilterModule().filters()["redis_connection"]


def test_the_users_entry_counts_whatever_its_place_is_called():
    servers = [
        {"login_port": 7000, "login_password": "other"},
        {"login_host": "::1", "login_port": "7001", "login_user": "ops", "login_password": SECRET},
        {"unix_socket": "/run/redis.sock", "login_port": 7000},
    ]
    assert connect("[::1]:7001", servers, DEFAULTS) == {**DEFAULTS, **servers[1]}
    assert connect("127.0.0.1:7000", servers, DEFAULTS)["login_password"] == "other"
    assert connect("unix:/run/redis.sock", servers, DEFAULTS)["unix_socket"] == "/run/redis.sock"


def test_an_entry_replaces_the_defaults_and_null_is_no_option():
    servers = [{"login_port": 7000, "timeout_seconds": 20, "tls": None, "ca_certs": ""}]
    assert connect("127.0.0.1:7000", servers, DEFAULTS) == {
        "login_port": 7000,
        "timeout_seconds": 20,
        "password_from_config": False,
    }


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1:6379", {"login_host": "127.0.0.1", "login_port": 6379}),
        ("[fe80::1%eth0]:6380", {"login_host": "fe80::1%eth0", "login_port": 6380}),
        ("unix:/run/a b.sock", {"unix_socket": "/run/a b.sock"}),
    ],
)
def test_a_server_that_was_found_is_reached_at_its_address(address, place):
    assert connect(address, [{"login_port": 1}], DEFAULTS) == {**place, **DEFAULTS}
    assert connect(address, None, None) == place


def test_what_was_found_out_about_a_server_is_used_where_the_user_has_not_listed_it():
    found = [
        {"address": "127.0.0.1:6379", "connection": {"login_host": "127.0.0.1", "login_port": 6379, "tls": True}},
        {"address": "127.0.0.1:6380", "connection": {"login_host": "127.0.0.1", "login_port": 6380}},
    ]
    assert connect("127.0.0.1:6379", [], DEFAULTS, found)["tls"] is True
    assert connect("127.0.0.1:6379", [{"login_port": 6379, "tls": False}], DEFAULTS, found)["tls"] is False


@pytest.mark.parametrize("address", [None, ""])
def test_an_action_of_the_host_concerns_no_server(address):
    assert connect(address, [{"login_password": SECRET}], DEFAULTS) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("process 17", None, None), "'process 17' is not the address"),
        (("127.0.0.1:x", None, None), "is not the address"),
        ((7000, None, None), "must be a text"),
        (("127.0.0.1:1", SECRET, None), "must be a list"),
        (("127.0.0.1:1", [SECRET], None), "server 0 must be a mapping"),
        (("127.0.0.1:1", [{"password": SECRET}], None), "server 0: there is no option password"),
        (("127.0.0.1:1", None, [SECRET]), "the defaults must be a mapping"),
    ],
)
def test_bad_input_is_named_without_its_values(arguments, words):
    with pytest.raises(AnsibleFilterError) as caught:
        connect(*arguments)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
