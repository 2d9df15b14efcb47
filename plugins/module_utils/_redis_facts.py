# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What one server says about itself: INFO, then CONFIG GET, at most ACL WHOAMI.

Of a server whose last save failed also whether this user may BGSAVE (:mod:`_save_right`), by questions that change
nothing. Nothing else is ever sent.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    MASK,
    Client,
    ConnectionOptions,
    RedisFailure,
    connect,
    connection_failure,
)
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import standing
from ansible_collections.redisops.persistence.plugins.module_utils._info import (
    ParsedInfo,
    error_statistics,
    identify,
    looks_like_info,
    mode,
    number,
    parse_info,
    role,
    wanted_fields,
)
from ansible_collections.redisops.persistence.plugins.module_utils._save_right import may_save
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

CONFIG_PARAMETERS = (
    "dir",
    "dbfilename",
    "save",
    "stop-writes-on-bgsave-error",
    "rdbcompression",
    "rdb-save-incremental-fsync",
    "appendonly",
    "appendfilename",
    "appenddirname",
    "auto-aof-rewrite-percentage",
    "auto-aof-rewrite-min-size",
    "no-appendfsync-on-rewrite",
    "logfile",
    "loglevel",
    "syslog-enabled",
    "syslog-ident",
    "log-format",
    "log-timestamp-format",
    "maxmemory",
    "maxmemory-policy",
    "repl-diskless-sync",
    "oom-score-adj",
    "oom-score-adj-values",
    "disable-thp",
    "enable-protected-configs",
    "enable-debug-command",
    "protected-mode",
    "bind",
    "port",
    "tls-port",
    "unixsocket",
    "daemonize",
    "supervised",
    "replica-serve-stale-data",
    "replica-ignore-disk-write-errors",
    "rdb-key-save-delay",
    "set-proc-title",
    "use-fork",
)
"""What the evidence document keeps of the configuration. Never a secret."""

ESSENTIAL_PARAMETERS = frozenset({"dir", "dbfilename", "save"})
"""Without these CONFIG GET has not said what matters (managed services hide them): ``partial``."""

PASSWORD_PARAMETER = "requirepass"

BUDGET_FACTOR = 2.0
"""A whole look at one server, the connection included, may take this many times its time-out."""

PARAMETER_LIMIT = 4096
VALUE_LIMIT_CHARACTERS = 4096
"""No path is longer, and no other value is that is looked at."""

LEAST_RIGHTS = "-@all +info +config|get +ping +lastsave"
"""The least rights that a reading user needs, 6.0 to 9.1."""


def overall_deadline_seconds(options: ConnectionOptions) -> float:
    """When to give a server up whatever it does (a name look-up or a trickle of bytes has no time-out of its own)."""
    return (BUDGET_FACTOR + 1) * options.timeout_seconds + 1


def failed_result(options: ConnectionOptions, error: Exception, seconds: float | None = None) -> dict[str, t.Any]:
    """The result for a server about which an unexpected error, or nothing in time, is all that is known."""
    if isinstance(error, RedisFailure):
        state, kind, message, client = error.state, error.kind, error.message, error.client
    else:
        text = clean_text(str(error)) or "no text"
        if options.login_password:
            text = text.replace(options.login_password, MASK)
        late = type(error).__name__ == "NotFinished"
        state, kind, client = ("timeout", "deadline", None) if late else ("error", type(error).__name__, None)
        message = f"Gave the server up: {text}." if late else f"Unexpected error ({type(error).__name__}): {text}"
    return {
        "address": options.address,
        "connection": {
            "state": state,
            "client": client,
            "error": {"kind": kind, "message": message},
            "seconds": seconds,
        },
        "redis": None,
    }


def collect_redis(
    options: ConnectionOptions, system: System, gaps: Gaps, prefer: str | None = None
) -> dict[str, t.Any]:
    """``{address, connection, redis}`` of the evidence document. Never raises for what a server does.

    A server that does not answer costs its time-out once: after a failure other than a refusal nothing more is sent.
    """
    began = time.monotonic()
    client: Client | None = None
    give_up_at = began + BUDGET_FACTOR * options.timeout_seconds
    try:
        client = connect(options, system, prefer)
        client.give_up_at = give_up_at
        parsed = ask_info(client)
    except RedisFailure as failure:
        if client is not None:
            client.close()
        final = connection_failure(failure)
        gaps.add("redis", final.message, remedy_for_connection(final, options))
        return failed_result(options, final, round(time.monotonic() - began, 3))
    try:
        facts = collect_facts(client, parsed, system, gaps, give_up_at)
    finally:
        client.close()
    for warning in client.warnings:
        gaps.add("login_password", warning, "Remove login_password for this server.")
    return {
        "address": options.address,
        "connection": {
            "state": "loading" if number(parsed, "loading") == 1 else "ok",
            "client": client.kind,
            "error": None,
            "seconds": round(time.monotonic() - began, 3),
        },
        "redis": facts,
    }


def ask_info(client: Client) -> ParsedInfo:
    """INFO, the first command always. Raises :class:`RedisFailure`."""
    reply = client.command("INFO")
    if not isinstance(reply, str) or not looks_like_info(reply):
        raise client.failure(
            "not_redis", "no_info", f"The answer to INFO is none of Redis or Valkey: {str(reply)[:200]!r}"
        )
    return parse_info(reply)


def collect_facts(
    client: Client, parsed: ParsedInfo, system: System, gaps: Gaps, give_up_at: float
) -> dict[str, t.Any]:
    """The REDIS block of the evidence document."""
    fields = parsed.fields
    server, version = identify(parsed)
    server_mode = mode(parsed)
    uptime = number(parsed, "uptime_in_seconds")
    asker = _Asker(client, gaps, give_up_at)
    config_state, config, requirepass = (
        ("unavailable", {}, None) if server_mode == "sentinel" else collect_config(asker, server, version, fields)
    )
    user = collect_user(asker, version)
    can_bgsave, why_no_bgsave = collect_save_right(asker, server, version, fields, user)
    return {
        "server": server,
        "version": version,
        "compatible_version": fields.get("redis_version"),
        "mode": server_mode,
        "role": role(parsed),
        "process_id": number(parsed, "process_id"),
        "config_file": fields.get("config_file"),
        "executable": fields.get("executable"),
        "uptime_seconds": uptime,
        "started_unix": started_unix(parsed, system),
        "user": user,
        "can_bgsave": can_bgsave,
        "why_no_bgsave": why_no_bgsave,
        "info": wanted_fields(parsed),
        "errorstats": error_statistics(parsed),
        "config_state": config_state,
        "config": config,
        "password_set": password_set(client.options, requirepass, client.warnings),
        "config_file_settings": None,
        "emergency_unblock": standing(system, fields.get("run_id"), config.get("stop-writes-on-bgsave-error")),
        "modules": parsed.modules[:64],
    }


def started_unix(parsed: ParsedInfo, system: System) -> int | None:
    """When the server started, by its own clock where it tells (``server_time_usec``, 6.0+)."""
    uptime = number(parsed, "uptime_in_seconds")
    if uptime is None:
        return None
    server_time = number(parsed, "server_time_usec")
    now = server_time / 1_000_000 if server_time else system.clock()
    return int(now - uptime)


class _Asker:
    """Sends what may be refused, as long as the server answers and the budget lasts."""

    def __init__(self, client: Client, gaps: Gaps, give_up_at: float) -> None:
        self.client = client
        self.gaps = gaps
        self._give_up_at = give_up_at
        self._lost: RedisFailure | None = None

    def ask(self, *arguments: str) -> t.Any:
        """A reply. Raises :class:`RedisFailure`; ``refused`` is the server's own answer."""
        if self._lost is not None:
            raise self._lost
        if time.monotonic() > self._give_up_at:
            raise self.client.failure("timeout", "budget", "The server answers too slowly to be asked more.")
        try:
            return self.client.command(*arguments)
        except RedisFailure as failure:
            if failure.state != "refused":
                self._lost = failure
            raise


def version_tuple(version: str | None) -> tuple[int, ...]:
    """``7.0.15`` as (7, 0, 15); () where there is no number."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", (version or "")[:64])[:3])


def takes_many_parameters(server: str, version: str | None) -> bool:
    """CONFIG GET with several parameters: Redis 7.0, every Valkey. Older ones take one pattern."""
    return server == "valkey" or (server in ("redis", "unknown") and version_tuple(version) >= (7,))


def collect_config(
    asker: _Asker, server: str, version: str | None, fields: dict[str, str]
) -> tuple[str, dict[str, str], str | None]:
    """(config_state, config, requirepass).

    One command: by name where that is possible, which also shows parameters that patterns hide (``rdb-key-save-delay``
    on 7.0+). Else ``CONFIG GET *``, of which everything but the wanted parameters is dropped at once.
    """
    try:
        try:
            names = CONFIG_PARAMETERS if takes_many_parameters(server, version) else ()
            reply = asker.ask("CONFIG", "GET", *(names + (PASSWORD_PARAMETER,) if names else ("*",)))
        except RedisFailure as failure:
            if not (names and "wrong number of arguments" in failure.message.lower()):
                raise
            reply = asker.ask("CONFIG", "GET", "*")
    except RedisFailure as failure:
        state, remedy = config_refusal(failure, asker.client.options)
        asker.gaps.add("redis.config", failure.message, remedy)
        return state, {}, None
    pairs = pairs_of(reply)
    requirepass = pairs.get(PASSWORD_PARAMETER)
    config = {name: pairs[name] for name in CONFIG_PARAMETERS if name in pairs}
    # Up to 4.0 replica-... is slave-...
    for name in CONFIG_PARAMETERS:
        old = name.replace("replica-", "slave-", 1)
        if name not in config and old in pairs:
            config[name] = pairs[old]
    missing = sorted(ESSENTIAL_PARAMETERS - set(config))
    if missing:
        asker.gaps.add(
            "redis.config",
            f"CONFIG GET does not show {', '.join(missing)}.",
            "The service hides them; only the host can tell, if there is one.",
        )
        return "partial", config, requirepass
    return "ok", config, requirepass


def pairs_of(reply: t.Any) -> dict[str, str]:
    """The flat list of CONFIG GET as a mapping."""
    if not isinstance(reply, list):
        return {}
    texts = ["" if part is None else str(part)[:VALUE_LIMIT_CHARACTERS] for part in reply[: 2 * PARAMETER_LIMIT]]
    return dict(zip(texts[::2], texts[1::2]))


def config_refusal(failure: RedisFailure, options: ConnectionOptions) -> tuple[str, str]:
    """(config_state, remedy) for a CONFIG GET that failed."""
    if failure.kind == "NOPERM":
        return "forbidden", f"ACL SETUSER {options.login_user or 'default'} +config|get"
    if failure.kind == "UNKNOWN_COMMAND":
        return (
            "renamed",
            "CONFIG is renamed or disabled (rename-command, or a managed service): the host shows the directory and "
            "the configuration file; run on the server's host as root.",
        )
    return "unavailable", "Ask again when the server answers."


def collect_user(asker: _Asker, version: str | None) -> str | None:
    """The ACL user that we are (6.0+).

    Known without asking: who logged in by name is that user, everybody else is ``default``; a refused question would
    fill the server's ACL LOG. Only a client certificate can make us somebody else (tls-auth-clients-user).
    """
    options = asker.client.options
    if version_tuple(version) < (6,):
        return None
    if options.login_user and not asker.client.warnings:
        return options.login_user
    if not (options.tls and options.client_cert_file):
        return "default"
    try:
        reply = asker.ask("ACL", "WHOAMI")
    except RedisFailure as failure:
        remedy = f"ACL SETUSER {options.login_user or 'default'} +acl|whoami"
        asker.gaps.add("redis.user", failure.message, remedy if failure.kind == "NOPERM" else "None is needed.")
        return None
    return reply if isinstance(reply, str) else None


def collect_save_right(
    asker: _Asker, server: str, version: str | None, fields: dict[str, str], user: str | None
) -> tuple[bool | None, str | None]:
    """(whether this user may BGSAVE, why not). Asked only where a save will have to prove a cure: the last one failed.

    A question that is refused stands in the server's ACL LOG, so a healthy server is not asked.
    """
    if fields.get("rdb_last_bgsave_status") != "err":
        return None, None
    can, why = may_save(asker.ask, version_tuple(version), user, takes_many_parameters(server, version))
    if can is None and why is not None:
        remedy = f"ACL SETUSER {user or 'default'} +acl|dryrun (before 7.0 +acl|getuser +command)"
        asker.gaps.add("redis.can_bgsave", why, remedy)
    return can, why if can is False else None


def password_set(options: ConnectionOptions, requirepass: str | None, warnings: t.Sequence[str]) -> bool | None:
    """Whether the default user needs a password. ``requirepass`` alone does not tell: ACL SETUSER can set one, too."""
    if requirepass:
        return True
    if options.login_password is None or warnings:
        return False  # INFO was answered without one
    if options.login_user in (None, "", "default"):
        return True
    return None


def remedy_for_connection(failure: RedisFailure, options: ConnectionOptions) -> str:
    """What would make the server readable."""
    user = options.login_user or "default"
    remedies = {
        "unreachable": "Start the server, or name its address in redis_instances.",
        "timeout": "See whether the process is stopped (state T) or in uninterruptible sleep (state D).",
        "auth_required": "Set login_password (and login_user), or password_from_config: true.",
        "denied": "Protected mode: connect from the server's own host, or set a password.",
        "not_permitted": f"ACL SETUSER {user} +info   (least rights: {LEAST_RIGHTS})",
        "not_redis": "Name the server's own address in redis_instances.",
        "tls_error": "Set tls, ca_certs, client_cert_file, client_key_file as the server's tls-* settings want.",
        "no_client": "Install redis-tools (redis-cli) or the Python library redis on the host.",
        "loading": "Wait until the dataset is loaded.",
        "masterdown": "The replica has lost its master and serves nothing (replica-serve-stale-data no).",
    }
    return remedies.get(failure.state, "See the error's text.")
