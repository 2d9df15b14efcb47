# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One server whose parameters are read and set: CONFIG GET and CONFIG SET, and what a refusal means."""

from __future__ import annotations

import contextlib
import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import (
    Client,
    ConnectionOptions,
    RedisFailure,
    connect,
    connection_failure,
)
from ansible_collections.redisops.persistence.plugins.module_utils._info import ParsedInfo, identify
from ansible_collections.redisops.persistence.plugins.module_utils._instances import resolve_targets
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import (
    ask_info,
    pairs_of,
    remedy_for_connection,
    takes_many_parameters,
    version_tuple,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

CHANGING_RIGHTS = "+info +config|get +config|set"
"""The least rights for reading and setting parameters, 6.0 to 9.1."""


class ConfigFailure(Exception):
    """Nothing was changed, or what was is put back; the text says which.

    :ivar refused: {parameter: why it is not set}.
    :ivar kind: the kind of the :class:`RedisFailure` that was behind it.
    """

    def __init__(self, message: str, refused: t.Mapping[str, str] | None = None, kind: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.refused = dict(refused or {})
        self.kind = kind


class ConfigSession:
    """A connection to one server that has answered INFO."""

    def __init__(self, client: Client, info: ParsedInfo) -> None:
        self.client = client
        self.info = info
        self.server, self.version = identify(info)

    @property
    def options(self) -> ConnectionOptions:
        return self.client.options

    @property
    def run_id(self) -> str:
        """The server's own name for this start of it."""
        return self.info.fields.get("run_id", "")

    @property
    def takes_many(self) -> bool:
        """Whether CONFIG GET and SET take several parameters, the latter all or none of them (7.0+, Valkey)."""
        return takes_many_parameters(self.server, self.version)

    def is_at_least(self, *version: int) -> bool:
        """Whether the server has what Redis has since ``version`` (every Valkey is a Redis 7.2 in this)."""
        return self.server == "valkey" or version_tuple(self.version) >= version

    def get(self, names: t.Sequence[str]) -> dict[str, str]:
        """{name: value} of the parameters that the server knows, under the names that were asked for.

        Raises :class:`ConfigFailure`.
        """
        found: dict[str, str] = {}
        questions = [list(names)] if self.takes_many and names else [[name] for name in names]
        for question in questions:
            pairs = {name.lower(): value for name, value in pairs_of(self.send("CONFIG", "GET", *question)).items()}
            for name in question:
                if name in pairs:
                    found[name] = pairs[name]
        return found

    def get_all(self) -> dict[str, str]:
        """Every parameter, passwords too: for looking at, never for output. Raises :class:`ConfigFailure`."""
        return {name.lower(): value for name, value in pairs_of(self.send("CONFIG", "GET", "*")).items()}

    def set(self, values: t.Mapping[str, str]) -> None:
        """Set all of them in one command (7.0+), or the only one. Raises :class:`ConfigFailure`."""
        arguments = [text for pair in values.items() for text in pair]
        self.send("CONFIG", "SET", *arguments)

    def send(self, *arguments: str) -> t.Any:
        """A reply. Raises :class:`ConfigFailure` in words that say what to do."""
        try:
            return self.client.command(*arguments)
        except RedisFailure as failure:
            raise ConfigFailure(self._explain(failure, arguments), kind=failure.kind) from None

    def close(self) -> None:
        self.client.close()

    def _explain(self, failure: RedisFailure, arguments: t.Sequence[str]) -> str:
        command = " ".join(arguments[:2])
        if failure.kind == "NOPERM":
            right = "|".join(arguments[:2]).lower()
            user = self.options.login_user or "default"
            return f"{command} is not permitted ({failure.message}). Grant it: ACL SETUSER {user} +{right}"
        if failure.kind == "UNKNOWN_COMMAND":
            return (
                f"The server does not know {arguments[0]}: it is renamed or disabled "
                "(rename-command, or a managed service)."
            )
        return f"{command} failed: {failure.message}"


def open_session(parameters: t.Mapping[str, t.Any], system: System, gaps: Gaps) -> ConfigSession:
    """Connect to the one server that a module's options name. Raises :class:`ConfigFailure`."""
    target = resolve_targets({**parameters, "instances": None, "discover": False}, system, gaps)[0]
    return connect_session(target.options or ConnectionOptions(), system)


def connect_session(options: ConnectionOptions, system: System) -> ConfigSession:
    """The same with the options in hand. Raises :class:`ConfigFailure`."""
    client: Client | None = None
    try:
        client = connect(options, system)
        return ConfigSession(client, ask_info(client))
    except RedisFailure as failure:
        if client is not None:
            client.close()
        final = connection_failure(failure)
        message = f"{final.message} {remedy_for_connection(final, options)}"
        raise ConfigFailure(message, kind=final.kind) from None


def refused_parameter(message: str) -> tuple[str, str] | None:
    """(parameter, reason) of an error to CONFIG SET with several parameters (7.0+, config.c:configSetCommand)."""
    match = re.search(r"related to argument '([^']*)'\)(?: - (.*))?$", message, re.DOTALL)
    return (match.group(1).lower(), match.group(2) or "refused") if match else None


@contextlib.contextmanager
def closing(session: ConfigSession) -> t.Iterator[ConfigSession]:
    """The session, closed in the end."""
    try:
        yield session
    finally:
        session.close()
