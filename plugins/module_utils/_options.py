# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The options of the modules, apart from the code that serves them.

The control node checks them before a host is asked, and has no use for the rest.
"""

from __future__ import annotations

import typing as t

PLACE_OPTIONS = ("login_host", "login_port", "unix_socket")
"""Options that name one server."""

LOG_LIMIT_BYTES = 2 * 1024 * 1024
"""How much is read from the end of a log. Failing saves log about 400 bytes every six seconds: nine hours of them."""


def connection_argument_spec() -> dict[str, t.Any]:
    """The options of the fragment ``redisops.persistence.redis``."""
    return {
        "login_host": {"type": "str"},
        "login_port": {"type": "int"},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "unix_socket": {"type": "path"},
        "tls": {"type": "bool"},
        "ca_certs": {"type": "path"},
        "client_cert_file": {"type": "path"},
        "client_key_file": {"type": "path"},
        "validate_certs": {"type": "bool"},
        "timeout_seconds": {"type": "float"},
        "password_from_config": {"type": "bool", "no_log": False},
    }


def instances_argument_spec() -> dict[str, t.Any]:
    """The options of the fragment ``redisops.persistence.redis.instances``."""
    return {
        "instances": {"type": "list", "elements": "dict", "options": connection_argument_spec()},
        "discover": {"type": "bool", "default": True},
        **connection_argument_spec(),
    }


def diagnosis_argument_spec() -> dict[str, t.Any]:
    """All options of ``redis_diagnosis_info``. The action plugin keeps those that concern the control node alone."""
    return {
        **instances_argument_spec(),
        "reproduce": {"type": "bool", "default": False},
        "reproduce_addresses": {"type": "list", "elements": "str"},
        "deep": {"type": "bool", "default": False},
        "log_limit_bytes": {"type": "int", "default": LOG_LIMIT_BYTES},
        "show": {"type": "bool", "default": False},
        "return_evidence": {"type": "bool", "default": False},
        "evidence_dir": {"type": "path"},
        "evidence_file": {"type": "path"},
        "extra_nodes": {"type": "list", "elements": "dict"},
        "extra_outcomes": {"type": "list", "elements": "dict"},
        "extra_risks": {"type": "list", "elements": "dict"},
    }
