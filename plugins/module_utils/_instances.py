# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""From a module's options to the servers to ask, and what each of them answers."""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._config_file import read_config_file
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import (
    Survey,
    connection_mapping,
    discover,
    find_pid,
    listens_alone,
    server_address,
    server_password,
)
from ansible_collections.redisops.persistence.plugins.module_utils._options import (
    PLACE_OPTIONS,
    connection_argument_spec,
)
from ansible_collections.redisops.persistence.plugins.module_utils._parallel import run_in_parallel
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import (
    collect_redis,
    failed_result,
    overall_deadline_seconds,
)
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System

DEFECT = "Report this as a defect of redisops.persistence."


class Target(t.NamedTuple):
    """One server to ask. ``options`` is None where a server was found that can't be reached from here."""

    options: ConnectionOptions | None
    address: str
    server: dict[str, t.Any] | None


def merge_options(entry: t.Mapping[str, t.Any], defaults: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """One instance's options over the module's; a place that the entry names replaces the module's place whole."""
    merged = {name: value for name, value in defaults.items() if value is not None}
    named = {name: value for name, value in entry.items() if value is not None}
    if any(name in named for name in PLACE_OPTIONS):
        if "unix_socket" in named:
            merged = {name: value for name, value in merged.items() if name not in PLACE_OPTIONS}
        else:
            merged.pop("unix_socket", None)
    merged.update(named)
    return merged


def resolve_targets(
    parameters: t.Mapping[str, t.Any], system: System, gaps: Gaps, survey: Survey | None = None
) -> list[Target]:
    """The servers that a module's parameters mean.

    ``instances`` where given; else the one that ``login_host``, ``login_port`` or ``unix_socket`` name; else all that
    are found on this machine.
    """
    defaults = {name: parameters.get(name) for name in connection_argument_spec()}
    seen = survey or Survey(system)
    entries = parameters.get("instances")
    if entries is not None:
        return [_named_or_bare_target(merge_options(entry, defaults), system, gaps, seen) for entry in entries]
    if any(defaults[name] is not None for name in PLACE_OPTIONS) or not parameters.get("discover", True):
        return [_named_or_bare_target(merge_options({}, defaults), system, gaps, seen)]
    servers = discover(system, gaps, seen)
    if not servers:
        gaps.add(
            "servers",
            "No process of this machine is a Redis, Valkey, KeyDB or Dragonfly server.",
            "Start the server, or name its address in redis_instances; for a container's own /proc, run on its host.",
        )
    return [_discovered_target(server, defaults, system, gaps) for server in servers]


def _named_or_bare_target(mapping: dict[str, t.Any], system: System, gaps: Gaps, survey: Survey) -> Target:
    """The rim of one server: what nobody foresaw while its password was looked for leaves the others alone."""
    try:
        return _named_target(mapping, system, gaps, survey)
    except Exception as error:
        options = ConnectionOptions.from_mapping(mapping)
        gaps.add(f"password of {options.address}", f"{type(error).__name__}: {error}", DEFECT)
        return Target(options, options.address, None)


def _named_target(mapping: dict[str, t.Any], system: System, gaps: Gaps, survey: Survey) -> Target:
    options = ConnectionOptions.from_mapping(mapping)
    if not wants_password(mapping, options):
        return Target(options, options.address, None)
    pid = find_pid(system, options, None, survey)
    server = next((found for found in discover(system, Gaps(), survey) if found["pid"] == pid), None)
    return Target(with_password(options, server, system, gaps), options.address, server)


def _discovered_target(server: dict[str, t.Any], defaults: t.Mapping[str, t.Any], system: System, gaps: Gaps) -> Target:
    mapping = connection_mapping(server, defaults)
    if mapping is None:
        return Target(None, server_address(server), server)
    options = ConnectionOptions.from_mapping(mapping)
    if wants_password(mapping, options):
        options = with_password(options, server, system, gaps)
    return Target(options, options.address, server)


def wants_password(mapping: t.Mapping[str, t.Any], options: ConnectionOptions) -> bool:
    """Whether the password is to come from the configuration file: that one is the default user's."""
    absent = options.login_password is None and options.login_user in (None, "default")
    return bool(mapping.get("password_from_config")) and absent


def with_password(
    options: ConnectionOptions, server: dict[str, t.Any] | None, system: System, gaps: Gaps
) -> ConnectionOptions:
    """The options with the password of the server's configuration file; unchanged, with a gap, where none is found."""
    password = server_password(system, server) if server is not None else None
    if password is None:
        path = server["config_file"] if server is not None else None
        gaps.add(
            f"password of {options.address}",
            f"{path} holds none that can be used." if path else "The server's configuration file is not known.",
            "Set login_password for it in redis_instances.",
        )
        return options
    pid = server["pid"] if server is not None else 0
    return options._replace(
        login_password=password, may_be_told=lambda connection: listens_alone(system, pid, options, connection)
    )


def collect_target(target: Target, system: System, gaps: Gaps, survey: Survey | None = None) -> dict[str, t.Any]:
    """``{address, connection, redis}`` for one target, with the settings of its configuration file."""
    if target.options is None:
        return unreachable_result(target)
    result = collect_redis(target.options, system, gaps)
    facts = result["redis"]
    if facts is not None and facts["config_file"]:
        pid = find_pid(system, target.options, facts, survey)
        if pid is not None:
            facts["config_file_settings"] = read_config_file(system, f"/proc/{pid}/root{facts['config_file']}", gaps)
    return result


def unreachable_result(target: Target) -> dict[str, t.Any]:
    """The result for a server in another network namespace."""
    return {
        "address": target.address,
        "connection": {
            "state": "unreachable",
            "client": None,
            "error": {
                "kind": "other_network",
                "message": "The server runs in another network namespace (a container) and has no Unix socket that "
                "can be reached from here.",
            },
            "seconds": 0.0,
        },
        "redis": None,
    }


def collect_instances(parameters: t.Mapping[str, t.Any], system: System) -> dict[str, t.Any]:
    """What ``redis_persistence_info`` returns: ``{instances: [{address, connection, redis, gaps}], gaps}``."""
    gaps = Gaps()
    survey = Survey(system)
    targets = resolve_targets(parameters, system, gaps, survey)

    def ask(target: Target) -> dict[str, t.Any]:
        own_gaps = Gaps()
        result = collect_target(target, system, own_gaps, survey)
        return {**result, "gaps": own_gaps.entries()}

    def give_up(target: Target, error: Exception) -> dict[str, t.Any]:
        result = failed_result(target.options or ConnectionOptions(), error)
        return {**result, "address": target.address, "gaps": []}

    deadline = max((overall_deadline_seconds(target.options) for target in targets if target.options), default=1.0)
    return {"instances": run_in_parallel(ask, targets, give_up, deadline), "gaps": gaps.entries()}
