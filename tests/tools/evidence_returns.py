# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evidence_returns.py [--check]: document the evidence of redis_diagnosis_info from the modules that share it.

The evidence joins what redis_persistence_info and redis_host_info return. Ansible wants the documentation of a returned
value in the module itself, so the part below the marker in redis_diagnosis_info is copied from theirs. ``--check``
writes nothing, and fails where the copy is not what it would write.
"""

from __future__ import annotations

import ast
import sys
import typing as t
from pathlib import Path

import yaml

MODULES = Path(__file__).resolve().parent.parent.parent / "plugins" / "modules"
TARGET = MODULES / "redis_diagnosis_info.py"
BEGIN = "# What follows is copied from the other modules by tests/tools/evidence_returns.py.\n"
END = '"""\n\nfrom ansible.module_utils.basic'

Returns = dict[str, t.Any]


class PlainDumper(yaml.SafeDumper):
    """Without aliases, and with lists indented as the collection's other YAML is."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def returns_of(module: str) -> Returns:
    """The RETURN block of a module."""
    tree = ast.parse((MODULES / f"{module}.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) == "RETURN":
            return t.cast(Returns, yaml.safe_load(ast.literal_eval(statement.value)))
    raise SystemExit(f"{module}.py has no RETURN")


def value(description: str, kind: str, sample: t.Any, **more: t.Any) -> Returns:
    return {"description": description, "returned": "always", "type": kind, "sample": sample, **more}


def evidence() -> Returns:
    """The documentation of the returned evidence (docs/evidence.md)."""
    redis = returns_of("redis_persistence_info")
    host = returns_of("redis_host_info")
    attempt = dict(returns_of("redis_bgsave")["attempt"])
    attempt.update(
        description="The save that O(reproduce) started. V(null) where it started none.",
        returned="always",
    )
    instance = {
        **redis["instances"]["contains"],
        **host["instances"]["contains"],
        "observed_attempt": attempt,
    }
    contains = {
        "schema_version": value("Version of the document's shape.", "int", 1),
        "collection_version": value("Version of the collection that gathered it.", "str", "0.1.0"),
        "gathered_at_unix": value("When the gathering began, in seconds since the epoch.", "float", 1795380000.5),
        "duration_seconds": value("How long the gathering took.", "float", 0.21),
        "host": host["host"],
        "instances": {
            "description": "What is known of each server.",
            "returned": "always",
            "type": "list",
            "elements": "dict",
            "contains": instance,
        },
        "gaps": host["gaps"],
    }
    return {
        "evidence": {
            "description": [
                "Everything that was gathered.",
                "A saved copy can be diagnosed later with O(evidence_file), or by the filter "
                "P(redisops.persistence.diagnose#filter).",
            ],
            "returned": "when O(return_evidence) is set",
            "type": "dict",
            "contains": contains,
        }
    }


def main(arguments: list[str]) -> int:
    source = TARGET.read_text(encoding="utf-8")
    start = source.index(BEGIN) + len(BEGIN)
    end = source.index(END, start)
    copied = yaml.dump(evidence(), Dumper=PlainDumper, sort_keys=False, width=150, allow_unicode=True)
    wanted = source[:start] + copied + source[end:]
    if wanted == source:
        return 0
    if "--check" in arguments:
        print("redis_diagnosis_info documents other evidence than its modules: run tests/tools/evidence_returns.py")
        return 1
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
