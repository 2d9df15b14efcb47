# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The report of a run: one JSON file on the control node."""

from __future__ import annotations

import json
import os
import re
import time
import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils import files
from ansible_collections.redisops.persistence.plugins.plugin_utils.fleet import Hosts, summarise

SCHEMA_VERSION = 1
FILE_NAME = "report.json"


def collection_version() -> str | None:
    """The version of this collection: from the manifest of an installed one, or the galaxy.yml of a checkout."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    try:
        with open(os.path.join(root, "MANIFEST.json"), encoding="utf-8") as handle:
            return str(json.load(handle)["collection_info"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        with open(os.path.join(root, "galaxy.yml"), encoding="utf-8") as handle:
            found = re.search(r"^version:\s*(\S+)", handle.read(), re.MULTILINE)
    except OSError:
        return None
    return found.group(1) if found else None


def build(
    hosts: Hosts, now_unix: float, summarise: t.Callable[[Hosts], t.Mapping[str, t.Any]] = summarise, **more: t.Any
) -> dict[str, t.Any]:
    """The report document: ``{schema_version, collection_version, generated_at, ..more, hosts, summary}``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "collection_version": collection_version(),
        "generated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_unix)),
        **more,
        "hosts": {name: hosts[name] for name in sorted(hosts)},
        "summary": summarise(hosts),
    }


def write(directory: str, document: t.Mapping[str, t.Any]) -> str:
    """Write ``report.json``. Returns its path. Raises OSError."""
    return files.write_json(directory, FILE_NAME, document)
