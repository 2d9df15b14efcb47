# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One server's evidence as the rules and the signals see it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, mapping

Attempt = dict[str, t.Any]


@dataclass(frozen=True)
class Case:
    """The parts of the evidence document (docs/evidence.md) that concern one server, and its save attempts.

    An absent part is an empty mapping, so that each field of it reads as unknown. ``attempt`` is the deciding one: the
    last failed disk attempt after the last success. ``peers`` are the other servers of the same host.
    """

    instance: Mapping
    host: Mapping
    now: float
    attempts: list[Attempt] = field(default_factory=list)
    streak: list[Attempt] = field(default_factory=list)
    attempt: Attempt | None = None
    peers: list[Mapping] = field(default_factory=list)

    @property
    def redis(self) -> Mapping:
        return mapping(self.instance, "redis")

    @property
    def info(self) -> Mapping:
        return mapping(self.instance, "redis", "info")

    @property
    def config(self) -> Mapping:
        return mapping(self.instance, "redis", "config")

    @property
    def process(self) -> Mapping:
        return mapping(self.instance, "process")

    @property
    def cgroups(self) -> Mapping:
        return mapping(self.instance, "cgroups")

    @property
    def directory(self) -> Mapping:
        return mapping(self.instance, "data_directory")

    @property
    def log(self) -> Mapping:
        return mapping(self.instance, "redis_log")

    @property
    def kernel(self) -> Mapping:
        return mapping(self.host, "kernel_log")
