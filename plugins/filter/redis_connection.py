# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the modules reach one server of a host."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._instances import merge_options
from ansible_collections.redisops.persistence.plugins.module_utils._options import connection_argument_spec

Options = dict[str, t.Any]


def redis_connection(
    address: object, instances: object = None, defaults: object = None, found: object = None
) -> Options:
    """The connection options of the server at ``address``: those of the user's entry for it, or its place alone.

    :param address: ``host:port``, ``[v6]:port`` or ``unix:/path`` as a diagnosis spells it; empty for no server.
    :param instances: the user's list of connection options (``redis_instances``), or nothing where servers are found.
    :param defaults: options for all of them.
    :param found: ``[{address, connection}]`` of a plan: how servers were found that the user has not listed.
    :return: options without those that have no value.
    """
    if address is None or address == "":
        return {}
    if not isinstance(address, str):
        raise AnsibleFilterError("redis_connection: the address must be a text")
    shared = _options(defaults or {}, "the defaults")
    servers = instances or []
    if not isinstance(servers, (list, tuple)):
        raise AnsibleFilterError("redis_connection: the servers must be a list")
    for number, entry in enumerate(servers):
        merged = merge_options(_options(entry, f"server {number}"), shared)
        if ConnectionOptions.from_mapping(merged).address == address:
            return merged
    for item in found if isinstance(found, (list, tuple)) else []:
        if isinstance(item, dict) and item.get("address") == address and isinstance(item.get("connection"), dict):
            return merge_options(_options(item["connection"], f"the connection of {address}"), shared)
    return merge_options(place_of(address), shared)


def _options(value: object, what: str) -> Options:
    """Connection options without those that have no value. No message shows one: there is a password among them."""
    if not isinstance(value, dict):
        raise AnsibleFilterError(f"redis_connection: {what} must be a mapping of connection options")
    unknown = sorted(str(name) for name in value if name not in connection_argument_spec())
    if unknown:
        raise AnsibleFilterError(f"redis_connection: {what}: there is no option {unknown[0]}")
    # core 2.18 makes an empty text of null.
    return {str(name): option for name, option in value.items() if option is not None and option != ""}


def place_of(address: str) -> Options:
    """``login_host`` and ``login_port``, or ``unix_socket``."""
    if address.startswith("unix:/"):
        return {"unix_socket": address[len("unix:") :]}
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise AnsibleFilterError(
            f"redis_connection: {address!r} is not the address of a server (host:port, unix:/path)"
        )
    return {"login_host": host[1:-1] if host.startswith("[") and host.endswith("]") else host, "login_port": int(port)}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"redis_connection": redis_connection}
