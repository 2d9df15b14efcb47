# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _client
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions, RedisFailure
from ansible_collections.redisops.persistence.plugins.module_utils._system import CommandResult, System

FIXTURES = Path(__file__).parents[2] / "fixtures" / "client"


class Recorder:
    """A runner that gives one answer and keeps what it was asked."""

    def __init__(self, result: CommandResult) -> None:
        self.result = result
        self.calls: list[tuple[list[str], dict[str, str], float]] = []

    def __call__(
        self, argv: list[str], environment: dict[str, str], timeout_seconds: float, stdin: str | None
    ) -> CommandResult:
        self.calls.append((argv, environment, timeout_seconds))
        return self.result


def cli(stdout: str = "", stderr: str = "", rc: int = 0, **options: object) -> tuple[_client.CliClient, Recorder]:
    recorder = Recorder(CommandResult(rc, stdout, stderr))
    made = ConnectionOptions.from_mapping(options)
    return _client.CliClient(made, System(runner=recorder), "/usr/bin/redis-cli"), recorder


def failure_of(*command: str, **answer: object) -> RedisFailure:
    client, _recorder = cli(**answer)  # type: ignore[arg-type]
    with pytest.raises(RedisFailure) as caught:
        client.command(*command)
    return _client.connection_failure(caught.value)


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_from_a_mapping_ignore_what_is_not_theirs() -> None:
    options = ConnectionOptions.from_mapping({"login_port": 1, "login_host": None, "instances": [], "tls": True})
    assert options == ConnectionOptions(login_port=1, tls=True)


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "127.0.0.1:6379"),
        ({"login_host": "::1", "login_port": 1}, "[::1]:1"),
        ({"unix_socket": "/run/r.sock", "login_port": 1}, "unix:/run/r.sock"),
    ],
)
def test_address(options: dict[str, object], address: str) -> None:
    assert ConnectionOptions.from_mapping(options).address == address


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "state"),
    [
        ("NOAUTH Authentication required.", "NOAUTH", "auth_required"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", "auth_required"),
        ("ERR invalid password", "WRONGPASS", "auth_required"),
        ("DENIED Running in protected mode because", "DENIED", "denied"),
        ("LOADING Redis is loading the dataset in memory", "LOADING", "loading"),
        ("MASTERDOWN Link with MASTER is down", "MASTERDOWN", "masterdown"),
        ("NOPERM this user has no permissions to run the 'info' command", "NOPERM", "not_permitted"),
        ("ERR unknown command `INFO`, with args beginning with: ", "UNKNOWN_COMMAND", "not_permitted"),
        ("ERR max number of clients reached", "MAX_CLIENTS", "error"),
        ("ERR", "ERR", "error"),
    ],
)
def test_refusals(text: str, kind: str, state: str) -> None:
    client, _recorder = cli()
    refusal = client.refusal(text)
    assert (refusal.state, refusal.kind) == ("refused", kind)
    assert _client.connection_failure(refusal).state == state


def test_password_is_masked_in_errors() -> None:
    client, _recorder = cli(login_password="hunter2")
    assert client.refusal("ERR no such thing as hunter2").message == "ERR no such thing as ********"


# --- redis-cli --------------------------------------------------------------------------------------------------------


def test_cli_reply_of_config_get() -> None:
    reply = _client.parse_cli_reply((FIXTURES / "cli_config_get.txt").read_text())
    assert isinstance(reply, list)
    assert dict(zip(reply[::2], reply[1::2])) == {
        "dir": "/var/lib/redis",
        "dbfilename": "dump.rdb",
        "save": "3600 1 300 100 60 10000",
        "logfile": "/var/lib/redis/log",
    }


def test_cli_reply_nested_and_escaped() -> None:
    reply = _client.parse_cli_reply((FIXTURES / "cli_nested.txt").read_text())
    assert reply == [1, [2, ["a\nb", 'c\\"d'], []], None, "\\xff\\xfex", "FINE"]


def test_cli_reply_with_padded_indexes() -> None:
    reply = _client.parse_cli_reply((FIXTURES / "cli_wide.txt").read_text())
    assert reply == [[number, "x"] for number in range(1, 13)]


def test_cli_reply_error() -> None:
    with pytest.raises(_client.CliError) as caught:
        _client.parse_cli_reply((FIXTURES / "cli_error.txt").read_text())
    assert caught.value.text == "ERR unknown command 'nosuch', with args beginning with:"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("OK\n", "OK"),
        ("(integer) -3\n", -3),
        ("(nil)\n", None),
        ('""\n', ""),
        ('"\\xc3\\xa9"\n', "é"),
        ("(empty list or set)\n", []),
        ("(empty array)\n", []),
    ],
)
def test_cli_reply_simple(text: str, reply: object) -> None:
    assert _client.parse_cli_reply(text) == reply


@pytest.mark.parametrize("text", ["", "\n", '"open', '"bad \\q"', "two\nlines", '1) "a"\nstray'])
def test_cli_reply_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        _client.parse_cli_reply(text)


def test_cli_command_line_and_environment() -> None:
    client, recorder = cli(
        stdout="OK\n",
        login_host="db",
        login_user="diag",
        login_password="hunter2",
        tls=True,
        ca_certs="/ca",
        client_cert_file="/cert",
        client_key_file="/key",
        validate_certs=False,
        timeout_seconds=2.5,
    )
    client.command("ACL", "WHOAMI")
    argv, environment, seconds = recorder.calls[0]
    assert argv == (
        "/usr/bin/redis-cli --no-raw -h db -p 6379 --user diag "
        "--tls --cacert /ca --cert /cert --key /key --insecure ACL WHOAMI"
    ).split(" ")
    assert environment["REDISCLI_AUTH"] == "hunter2"
    assert seconds == 2.5


def test_cli_socket_takes_no_tls() -> None:
    assert _client.cli_options(ConnectionOptions(unix_socket="/s", tls=True)) == ["-s", "/s"]


@pytest.mark.parametrize(
    ("answer", "state", "kind"),
    [
        ({"rc": 124}, "timeout", "timeout"),
        ({"rc": 127, "stderr": "redis-cli: not found"}, "no_client", "no_client"),
        (
            {"rc": 1, "stderr": "Could not connect to Redis at 127.0.0.1:1: Connection refused\n"},
            "unreachable",
            "connection_refused",
        ),
        (
            {"rc": 1, "stderr": "Could not connect to Valkey at x:1: Name or service not known\n"},
            "unreachable",
            "no_such_host",
        ),
        (
            {"rc": 1, "stderr": "Could not connect to Redis at x:1: SSL_connect failed: certificate verify failed\n"},
            "tls_error",
            "certificate",
        ),
        (
            {"rc": 1, "stderr": 'Error: Protocol error, got "H" as reply type byte\n'},
            "not_redis",
            "protocol",
        ),
        (
            {"rc": 1, "stderr": 'Error: Protocol error, got "\\x15\\x03" as reply type byte\n'},
            "tls_error",
            "tls_wanted",
        ),
        ({"stdout": "NOAUTH Authentication required.\n\n"}, "auth_required", "NOAUTH"),
        ({"stdout": "(error) NOAUTH Authentication required.\n"}, "auth_required", "NOAUTH"),
        (
            {"stdout": "NOAUTH Authentication required.\n", "stderr": "Warning: AUTH failed\n", "login_password": "x1"},
            "auth_required",
            "WRONGPASS",
        ),
        (
            {
                "stdout": "NOAUTH x\n",
                "stderr": "AUTH failed: WRONGPASS invalid username-password pair\n",
                "login_password": "x1",
            },
            "auth_required",
            "WRONGPASS",
        ),
        ({"rc": 1, "stderr": "AUTH failed: WRONGPASS no\n", "login_password": "x1"}, "auth_required", "WRONGPASS"),
        ({"rc": 1, "stderr": "Unrecognized option or bad number of args for: '--user'\n"}, "error", "client"),
    ],
)
def test_cli_failures(answer: dict[str, object], state: str, kind: str) -> None:
    failure = failure_of("INFO", **answer)
    assert (failure.state, failure.kind, failure.client) == (state, kind, "redis-cli")


def test_cli_password_that_is_not_wanted_is_a_warning() -> None:
    client, _recorder = cli(
        stdout="# Server\nredis_version:7.0.15\n",
        stderr="AUTH failed: ERR AUTH <password> called without any password configured for the default user.\n",
        login_password="x1",
    )
    assert client.command("INFO") == "# Server\nredis_version:7.0.15"
    assert len(client.warnings) == 1


def test_old_cli_that_stops_at_an_unwanted_password_is_run_without_it() -> None:
    """redis-cli 6.2 ends with 1 where 7.0 goes on."""
    complaint = "AUTH failed: ERR AUTH <password> called without any password configured for the default user.\n"
    asked: list[dict[str, str]] = []

    def answer(argv: list[str], environment: dict[str, str], seconds: float, stdin: str | None) -> CommandResult:
        asked.append(environment)
        return CommandResult(1, "", complaint) if environment else CommandResult(0, '1) "dir"\n2) "/d"\n', "")

    client = _client.CliClient(ConnectionOptions(login_password="x1"), System(runner=answer), "/usr/bin/redis-cli")
    assert client.command("CONFIG", "GET", "dir") == ["dir", "/d"]
    assert client.command("CONFIG", "GET", "dir") == ["dir", "/d"]
    assert [bool(environment) for environment in asked] == [True, False, False]
    assert len(client.warnings) == 1


# --- which client -----------------------------------------------------------------------------------------------------


def make_program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_no_client_names_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_client, "import_redis_py", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RedisFailure) as caught:
        _client.connect(ConnectionOptions(), System(root=str(tmp_path)))
    assert caught.value.state == "no_client"
    assert (
        "redis-py" in caught.value.message
        and "redis-cli" in caught.value.message
        and "valkey-cli" in caught.value.message
    )


def test_cli_beside_a_running_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    make_program(tmp_path / "opt/valkey/valkey-cli")
    process = tmp_path / "proc/7"
    process.mkdir(parents=True)
    (process / "comm").write_text("valkey-server\n")
    (process / "exe").symlink_to("/opt/valkey/valkey-server")
    assert _client.find_cli(System(root=str(tmp_path))) == "/opt/valkey/valkey-cli"


def test_cli_that_others_can_change_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    program = make_program(tmp_path / "opt/valkey/valkey-cli")
    process = tmp_path / "proc/7"
    process.mkdir(parents=True)
    (process / "comm").write_text("redis-server\n")
    (process / "exe").symlink_to("/opt/valkey/valkey-server")
    program.parent.chmod(0o777)
    assert _client.find_cli(System(root=str(tmp_path))) is None
    program.parent.chmod(0o755)
    program.chmod(0o775)
    assert _client.find_cli(System(root=str(tmp_path))) is None
    program.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(program, 12345, 12345)
        assert _client.find_cli(System(root=str(tmp_path))) is None


# --- redis-py ---------------------------------------------------------------------------------------------------------


class Exceptions:
    class RedisError(Exception):
        pass

    class ResponseError(RedisError):
        pass

    class NoPermissionError(ResponseError):
        pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Exceptions.ResponseError(""), "ERR"),
        (Exceptions.ResponseError("unknown command 'CONFIG'"), "ERR unknown command 'CONFIG'"),
        (Exceptions.ResponseError("DENIED Running in protected mode"), "DENIED Running in protected mode"),
        (Exceptions.ResponseError("ERR kept"), "ERR kept"),
        (Exceptions.NoPermissionError("this user has no permissions"), "NOPERM this user has no permissions"),
    ],
)
def test_codes_that_redis_py_cuts_off(error: Exception, text: str) -> None:
    assert _client.full_reply_text(error, Exceptions) == text


class OldConnection:
    """What redis-py 3.5 takes: no protocol, no lib_name, no connect time-out for Unix sockets."""

    def __init__(
        self, path: str = "", socket_timeout: float = 0, retry_on_timeout: bool = False, health_check_interval: int = 0
    ) -> None:
        self.path = path


class OldModule:
    UnixDomainSocketConnection = OldConnection


def test_old_redis_py_gets_only_what_it_knows() -> None:
    allowance = _client.Allowance(1.0)
    assert _client.make_connection(ConnectionOptions(unix_socket="/s"), OldModule, allowance).path == "/s"


def test_reply_of_redis_py_is_text_for_json() -> None:
    reply = _client.decode_reply([b"a", [b"\xff", 1, None], Exceptions.ResponseError("x")])
    assert reply == ["a", ["\\xff", 1, None], "x"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"login_port": 0},
        {"login_port": -1},
        {"login_port": 2**63},
        {"timeout_seconds": 0.0},
        {"timeout_seconds": float("nan")},
        {"timeout_seconds": float("inf")},
        {"timeout_seconds": -1.0},
    ],
)
def test_options_that_no_library_takes_are_an_answer(wrong):
    with pytest.raises(RedisFailure, match=f"{next(iter(wrong))} .* (is no port|must be a number)"):
        _client.connect(ConnectionOptions(**wrong), System())
