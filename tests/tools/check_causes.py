# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""check_causes.py: every cause and state that can be said has a proof, a text and something to show.

For each outcome of roles/diagnose/files/outcomes.yml:

* a fault of the lab with that verdict (tests/lab/faults.py), or a recorded file (tests/unit/fixtures/replay) that
  must lead to it;
* a section in docs/causes.md, to which its ``documentation`` points;
* at least one piece of evidence to quote, of its own or of a question that leads to it.

The lab's table is read, not imported: this check needs neither pytest nor a server.
"""

from __future__ import annotations

import ast
import json
import sys
import typing as t
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "tools"))

from generate_docs import nodes_leading_to  # noqa: E402

Rule = dict[str, t.Any]


def verdicts_of_lab(path: Path) -> set[str]:
    """The second argument, or ``verdict=``, of every ``Fault(...)`` of the table."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Fault":
            continue
        named = [keyword.value for keyword in node.keywords if keyword.arg == "verdict"]
        for argument in [*node.args[1:2], *named]:
            if isinstance(argument, ast.Constant):
                found.add(str(argument.value))
    return found


def verdicts_of_recordings(directory: Path) -> set[str]:
    """What the recorded files must lead to: the causes and the state in ``expect``."""
    found: set[str] = set()
    for path in directory.glob("*.json"):
        expected = json.loads(path.read_text(encoding="utf-8")).get("expect", {})
        for value in expected.values():
            found.update(value if isinstance(value, list) else [value] if isinstance(value, str) else [])
    return found


def problems_of(outcome: Rule, nodes: list[Rule], proven: set[str], headings: set[str]) -> list[str]:
    """What one outcome lacks."""
    name = outcome["id"]
    problems = []
    if name not in proven:
        problems.append("no fault in tests/lab/faults.py and no recorded file leads to it")
    if name not in headings:
        problems.append("docs/causes.md has no section for it")
    if not str(outcome.get("documentation", "")).endswith(f"causes.md#{name}"):
        problems.append(f"its documentation is {outcome.get('documentation')!r}, and not docs/causes.md#{name}")
    if not outcome.get("quotes") and not any(node.get("quotes") for node in nodes_leading_to(name, nodes)):
        problems.append("it has no evidence to quote")
    return [f"{name}: {problem}" for problem in problems]


def main() -> int:
    files = REPOSITORY / "roles" / "diagnose" / "files"
    outcomes: list[Rule] = yaml.safe_load((files / "outcomes.yml").read_text(encoding="utf-8"))
    nodes: list[Rule] = yaml.safe_load((files / "failure_tree.yml").read_text(encoding="utf-8"))
    proven = verdicts_of_lab(REPOSITORY / "tests" / "lab" / "faults.py")
    proven |= verdicts_of_recordings(REPOSITORY / "tests" / "unit" / "fixtures" / "replay")
    document = (REPOSITORY / "docs" / "causes.md").read_text(encoding="utf-8")
    headings = {line.lstrip("# ").strip() for line in document.splitlines() if line.startswith("#")}
    problems = [problem for outcome in outcomes for problem in problems_of(outcome, nodes, proven, headings)]
    for problem in problems:
        print(problem)
    print(f"{len(outcomes)} causes and states checked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
