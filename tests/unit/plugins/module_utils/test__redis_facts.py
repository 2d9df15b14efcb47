# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.redisops.persistence.plugins.module_utils import _redis_facts
from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    Client,
    ConnectionOptions,
    RedisFailure,
)
from ansible_collections.redisops.persistence.plugins.module_utils._parallel import NotFinished
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

FIXTURES = Path(__file__).parents[2] / "fixtures" / "client"
SYSTEM = System(clock=lambda: 2_000_000_000.0)

Answer = t.Union[str, list, RedisFailure]


def refused(text: str) -> RedisFailure:
    return Client(ConnectionOptions()).refusal(text)


class ScriptedClient(Client):
    """Answers by the command; keeps what was asked."""

    kind = "redis-py"

    def __init__(self, answers: dict[str, Answer], options: ConnectionOptions) -> None:
        super().__init__(options)
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def command(self, *arguments: str) -> t.Any:
        self.asked.append(arguments)
        answer = self.answers.get(" ".join(arguments), self.answers.get(arguments[0]))
        if isinstance(answer, RedisFailure):
            raise answer
        assert answer is not None, f"unexpected {arguments}"
        return answer


def collect(
    monkeypatch: pytest.MonkeyPatch, info: str, config: Answer, user: Answer = "default", **options: t.Any
) -> tuple[dict[str, t.Any], list[dict[str, str]], ScriptedClient]:
    answers: dict[str, Answer] = {
        "INFO": info,
        "CONFIG": config,
        "ACL WHOAMI": user,
        "ACL": ["commands", "+@all"] if "redis_version:6" in info else "OK",
        "COMMAND": [["bgsave", -1]],
    }
    client = ScriptedClient(answers, ConnectionOptions.from_mapping(options))
    monkeypatch.setattr(_redis_facts, "connect", lambda *_arguments: client)
    gaps = Gaps()
    result = _redis_facts.collect_redis(client.options, SYSTEM, gaps)
    return result, gaps.entries(), client


def recorded(name: str) -> str:
    # Kept with the line ends of a text file; the protocol has others.
    return (FIXTURES / name).read_text().replace("\n", "\r\n")


SOME = ["dir", "/data", "dbfilename", "dump.rdb", "save", "900 1", "requirepass", "hunter2", "masterauth", "hunter3"]


def test_old_server_is_asked_for_everything_and_secrets_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    result, gaps, client = collect(monkeypatch, recorded("info_redis_6.2.14.txt"), SOME, login_password="hunter2")
    assert client.asked[:2] == [("INFO",), ("CONFIG", "GET", "*")]
    assert result["redis"]["user"] == "default"
    assert result["redis"]["config"] == {"dir": "/data", "dbfilename": "dump.rdb", "save": "900 1"}
    assert result["redis"]["password_set"] is True
    assert "hunter" not in str(result) + str(gaps)


@pytest.mark.parametrize("name", ["info_redis_7.0.15.txt", "info_valkey_9.1.2.txt"])
def test_new_server_is_asked_by_name_in_one_command(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    result, gaps, client = collect(monkeypatch, recorded(name), SOME[:6] + ["requirepass", ""])
    assert client.asked[1] == ("CONFIG", "GET", *_redis_facts.CONFIG_PARAMETERS, "requirepass")
    assert "rdb-key-save-delay" in client.asked[1]
    assert result["redis"]["config_state"] == "ok"
    assert result["redis"]["password_set"] is False
    assert gaps == []


@pytest.mark.parametrize("status", ["ok", "err"])
def test_only_after_a_failed_save_is_the_right_to_save_asked_for(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    info = f"redis_version:7.0.15\r\nuptime_in_seconds:60\r\nrdb_last_bgsave_status:{status}\r\n"
    result, gaps, client = collect(monkeypatch, info, SOME)
    asked = [words for words in client.asked if words[0] not in ("INFO", "CONFIG")]
    assert asked == ([("ACL", "DRYRUN", "default", "BGSAVE")] if status == "err" else [])
    assert result["redis"]["can_bgsave"] is (True if status == "err" else None)
    assert gaps == []


def test_every_name_of_the_schema_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _gaps, _client = collect(monkeypatch, recorded("info_redis_7.0.15.txt"), SOME)
    assert set(result) == {"address", "connection", "redis"}
    assert set(result["connection"]) == {"state", "client", "error", "seconds"}
    schema = (Path(__file__).parents[4] / "docs" / "evidence.md").read_text(encoding="utf-8")
    block = schema[schema.index("## REDIS\n") : schema.index("`info` holds")]
    assert [name for name in result["redis"] if name not in block] == []


@pytest.mark.parametrize(
    ("failure", "state", "remedy"),
    [
        (
            "NOPERM User diag has no permissions to run the 'config|get' command",
            "forbidden",
            "ACL SETUSER diag +config|get",
        ),
        ("ERR unknown command 'CONFIG', with args beginning with: 'GET' ", "renamed", "CONFIG is renamed"),
        ("ERR something else", "unavailable", "Ask again"),
    ],
)
def test_config_that_is_refused(monkeypatch: pytest.MonkeyPatch, failure: str, state: str, remedy: str) -> None:
    result, gaps, _client = collect(
        monkeypatch, recorded("info_redis_7.0.15.txt"), refused(failure), login_user="diag", login_password="x"
    )
    assert result["connection"]["state"] == "ok"
    assert (result["redis"]["config_state"], result["redis"]["config"]) == (state, {})
    assert gaps[0]["what"] == "redis.config"
    assert gaps[0]["remedy"].startswith(remedy)


def test_config_that_hides_the_directory_is_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    result, gaps, _client = collect(monkeypatch, recorded("info_redis_7.0.15.txt"), ["maxmemory", "0"])
    assert result["redis"]["config_state"] == "partial"
    assert "dbfilename, dir, save" in gaps[0]["why"]


def test_named_user_is_known_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _gaps, client = collect(
        monkeypatch, recorded("info_redis_7.0.15.txt"), SOME[:6], login_user="diag", login_password="x"
    )
    assert result["redis"]["user"] == "diag"
    assert ("ACL", "WHOAMI") not in client.asked
    assert result["redis"]["password_set"] is None


CERTIFIED = {"tls": True, "client_cert_file": "/cert"}


def test_client_certificate_may_make_us_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _gaps, client = collect(monkeypatch, recorded("info_valkey_9.1.2.txt"), SOME, "diag", **CERTIFIED)
    assert ("ACL", "WHOAMI") in client.asked
    assert result["redis"]["user"] == "diag"


def test_refused_identity_is_one_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    result, gaps, _client = collect(
        monkeypatch, recorded("info_redis_7.0.15.txt"), SOME, refused("NOPERM no permissions"), **CERTIFIED
    )
    assert result["redis"]["user"] is None
    assert [(gap["what"], gap["remedy"]) for gap in gaps] == [("redis.user", "ACL SETUSER default +acl|whoami")]


def test_server_before_acls_is_not_asked_for_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    result, gaps, client = collect(monkeypatch, "redis_version:5.0.14\r\nuptime_in_seconds:60\r\n", SOME)
    assert ("ACL", "WHOAMI") not in client.asked
    assert (result["redis"]["user"], gaps) == (None, [])
    assert result["redis"]["started_unix"] == 1_999_999_940


def test_nothing_more_is_asked_after_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    late = RedisFailure("timeout", "timeout", "No answer", "redis-py")
    result, gaps, client = collect(monkeypatch, recorded("info_redis_7.0.15.txt"), late, **CERTIFIED)
    assert [asked[0] for asked in client.asked] == ["INFO", "CONFIG"]
    assert result["redis"]["config_state"] == "unavailable"
    assert [gap["what"] for gap in gaps] == ["redis.config", "redis.user"]


def test_sentinel_is_not_asked_for_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    result, gaps, client = collect(monkeypatch, "redis_version:7.0.15\r\nredis_mode:sentinel\r\n", SOME)
    assert [asked[0] for asked in client.asked] == ["INFO"]
    assert (result["redis"]["mode"], result["redis"]["config_state"], gaps) == ("sentinel", "unavailable", [])


def test_server_that_takes_one_pattern_only_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ScriptedClient(
        {
            "INFO": "redis_version:7.4.0\r\n",
            "CONFIG GET *": SOME,
            "CONFIG": refused("ERR wrong number of arguments for 'config|get' command"),
            "ACL": "default",
        },
        ConnectionOptions(),
    )
    monkeypatch.setattr(_redis_facts, "connect", lambda *_arguments: client)
    assert _redis_facts.collect_redis(client.options, SYSTEM, Gaps())["redis"]["config"]["dir"] == "/data"


@pytest.mark.parametrize("info", ["OK", "+PONG", ""])
def test_answer_that_is_no_info(monkeypatch: pytest.MonkeyPatch, info: str) -> None:
    result, gaps, _client = collect(monkeypatch, info, SOME)
    assert (result["connection"]["state"], result["redis"]) == ("not_redis", None)
    assert len(gaps) == 1


def test_unexpected_errors_become_a_result_without_secrets() -> None:
    options = ConnectionOptions(login_password="hunter2")
    result = _redis_facts.failed_result(options, ValueError("odd hunter2"))
    assert result["connection"]["state"] == "error"
    assert result["connection"]["error"] == {
        "kind": "ValueError",
        "message": "Unexpected error (ValueError): odd ********",
    }
    late = _redis_facts.failed_result(options, NotFinished("not finished in 16 seconds"))
    assert late["connection"]["state"] == "timeout"
