# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""generate_docs.py [--check]: write docs/causes.md, docs/risks.md and docs/failure-tree.md from the rules.

The rules in roles/diagnose/files are the only place where a cause, a risk or a question is described; the documents
are drawn from them, so that they can't say something else. ``--check`` writes nothing, and fails where a document is
not what it would write.
"""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RULES = REPOSITORY / "roles" / "diagnose" / "files"
DOCS = REPOSITORY / "docs"
GENERATED = (
    "<!-- Written by tests/tools/generate_docs.py from roles/diagnose/files: change the rules, not this file. -->\n"
)
STAGES = {
    "fork": "fork: the server makes the child that will write",
    "before open": "before the file is opened",
    "open": "open: the child makes its temporary file",
    "write": "write: the child writes, flushes and syncs",
    "dir fsync": "directory sync: the new file is in place already",
    "rename": "rename: the temporary file takes the old one's name",
    "child": "the child ended before it was done",
    "any": "any stage",
    "unknown": "no record of the failure",
}
CLASS_WORDS = {
    "none": "touches nothing else",
    "host-wide": "changes the whole host",
    "guarded": "guarded: only when asked for by name",
    "restart": "needs a restart of the server",
    "load": "loads the machine as a save does",
    "manual": "by hand",
}

Rule = dict[str, t.Any]


def read(name: str) -> list[Rule]:
    return t.cast("list[Rule]", yaml.safe_load((RULES / name).read_text(encoding="utf-8")))


def one_line(text: t.Any) -> str:
    return " ".join(str(text).split())


def prose(text: t.Any) -> str:
    """A text of a rule for readers: what is filled in from the evidence becomes a name in italics."""
    return re.sub(r"\{([^{}]+)\}", lambda match: f"*{placeholder_name(match.group(1))}*", one_line(text))


def placeholder_name(placeholder: str) -> str:
    return re.split(r"[|:!]", placeholder)[0].split(".")[-1].replace("_", " ")


def command(text: str) -> str:
    """A command for readers: what is filled in becomes a word in capitals."""
    return re.sub(r"\{([^{}]+)\}", lambda match: placeholder_name(match.group(1)).upper().replace(" ", "_"), text)


def cell(text: t.Any) -> str:
    return one_line(text).replace("|", "\\|")


def code(text: t.Any) -> str:
    """Inline code whatever the text holds: JMESPath is full of backticks."""
    line = one_line(text)
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def evidence_lines(quotes: t.Iterable[Rule]) -> list[str]:
    lines = []
    for quote in quotes:
        expected = f", expected {code(quote['expected'])}" if quote.get("expected") is not None else ""
        lines.append(f"- {quote['source']}: {quote['name']}{expected}")
    return lines


def manual_lines(rule: Rule) -> list[str]:
    manual = rule.get("manual")
    if not manual:
        return []
    lines = [f"By hand: {prose(manual['reason'])}", ""]
    if manual.get("commands"):
        lines += [*(f"    {command(text)}" for text in manual["commands"]), ""]
    return lines


def fix_lines(rule: Rule, fixes: dict[str, Rule]) -> list[str]:
    lines = []
    for name in rule.get("fixes") or []:
        fix = fixes[name]
        lines += [f"- `{name}`: {prose(fix['title'])} ({CLASS_WORDS[fix['class']]})", ""]
        if fix.get("commands"):
            lines += [*(f"      {command(text)}" for text in fix["commands"]), ""]
    return ["What helps:", "", *lines] if lines else []


def nodes_leading_to(outcome: str, nodes: list[Rule]) -> list[Rule]:
    """The questions one answer of which leads to an outcome, alone or as one of several that may stand."""
    found = []
    for node in nodes:
        leads = [node.get(answer, node.get(boolean)) for answer, boolean in (("yes", True), ("no", False))]
        leads.append(node.get("unknown"))
        if any(outcome == lead or isinstance(lead, list) and outcome in lead for lead in leads):
            found.append(node)
    return found


def outcome_section(outcome: Rule, nodes: list[Rule], fixes: dict[str, Rule]) -> list[str]:
    lines = [f"### {outcome['id']}", "", f"**{prose(outcome['title'])}**", "", prose(outcome["summary"]), ""]
    leading = nodes_leading_to(outcome["id"], nodes)
    if leading:
        lines += ["Asked: " + " · ".join(one_line(node["question"]) for node in leading[:4]), ""]
    quotes = evidence_lines(outcome.get("quotes") or [])
    if quotes:
        lines += ["Evidence that is shown, as far as it could be read:", "", *quotes, ""]
    rules = [
        ("It still stands where", outcome.get("present")),
        ("Confirmed where", outcome.get("confirmed_when")),
        ("Probable where", outcome.get("probable_when")),
    ]
    stated = [f"- {text} {code(expression)}" for text, expression in rules if expression is not None]
    if stated:
        lines += ["How it is decided:", "", *stated, ""]
    lines += fix_lines(outcome, fixes)
    lines += manual_lines(outcome)
    if outcome.get("leads_to"):
        links = ", ".join(f"[`{name}`](#{name})" for name in outcome["leads_to"])
        lines += [f"It often brings about: {links}.", ""]
    return lines


def causes_document(outcomes: list[Rule], nodes: list[Rule], fixes: dict[str, Rule]) -> str:
    causes = [outcome for outcome in outcomes if outcome["kind"] == "cause"]
    states = [outcome for outcome in outcomes if outcome["kind"] == "state"]
    lines = [
        "# Causes",
        "",
        GENERATED,
        CAUSES_INTRODUCTION,
        "| Cause | At | In short |",
        "|---|---|---|",
        *(f"| [`{rule['id']}`](#{rule['id']}) | {rule['stage']} | {cell(prose(rule['title']))} |" for rule in causes),
        "",
        "| State | In short |",
        "|---|---|",
        *(f"| [`{rule['id']}`](#{rule['id']}) | {cell(prose(rule['title']))} |" for rule in states),
        "",
    ]
    stages = list(dict.fromkeys(rule["stage"] for rule in causes))
    for stage in stages:
        lines += [f"## {STAGES.get(stage, stage).capitalize()}", ""]
        for rule in causes:
            if rule["stage"] == stage:
                lines += outcome_section(rule, nodes, fixes)
    lines += ["## States", ""]
    for rule in states:
        lines += outcome_section(rule, nodes, fixes)
    return "\n".join(lines).rstrip() + "\n"


def risks_document(risks: list[Rule], fixes: dict[str, Rule]) -> str:
    lines = [
        "# Risks",
        "",
        GENERATED,
        "A risk has not broken a save yet. It is reported apart from the verdict, with its severity, the threshold and",
        "what was measured.",
        "",
        "| Risk | Severity | In short |",
        "|---|---|---|",
    ]
    for risk in risks:
        severities = ", ".join(level["severity"] for level in risk["levels"])
        lines.append(f"| [`{risk['id']}`](#{risk['id']}) | {severities} | {cell(prose(risk['title']))} |")
    lines.append("")
    for risk in risks:
        lines += [f"## {risk['id']}", "", f"**{prose(risk['title'])}**", "", prose(risk["summary"]), ""]
        lines += [f"Threshold: {prose(risk['threshold'])}", ""]
        lines += [*(f"- {level['severity']} where {code(level['when'])}" for level in risk["levels"]), ""]
        quotes = evidence_lines(risk.get("quotes") or [])
        if quotes:
            lines += ["Evidence that is shown:", "", *quotes, ""]
        lines += fix_lines(risk, fixes)
        lines += manual_lines(risk)
    return "\n".join(lines).rstrip() + "\n"


def leads_of(node: Rule) -> list[tuple[str, t.Any]]:
    """The three answers and where they lead; PyYAML reads the bare keys yes and no as booleans."""
    return [
        ("yes", node.get("yes", node.get(True))),
        ("no", node.get("no", node.get(False))),
        ("unknown", node.get("unknown")),
    ]


def chart_text(text: str) -> str:
    """A text that is safe inside the quotes of a Mermaid label, cut into lines."""
    words, lines = one_line(text).replace('"', "'").split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 32:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def flowchart(nodes: list[Rule], outcomes: list[Rule]) -> list[str]:
    """The tree as a Mermaid flowchart. Answers with the same lead share an arrow."""
    outcome_ids = {outcome["id"] for outcome in outcomes}
    lines = ["```mermaid", "flowchart TD"]
    for node in nodes:
        lines.append(f'  {node["id"]}{{"{chart_text(node["question"])}"}}')
    drawn: set[str] = set()
    for node in nodes:
        arrows: dict[str, list[str]] = {}
        for answer, lead in leads_of(node):
            if isinstance(lead, str):
                target = f"end_{lead}" if lead in outcome_ids else lead
                if lead in outcome_ids and target not in drawn:
                    drawn.add(target)
                    lines.append(f'  {target}(["{lead}"])')
            else:
                target = f"stands_{hash_of(lead)}"
                if target not in drawn:
                    drawn.add(target)
                    lines.append(f'  {target}[/"whichever stands now:<br>{"<br>".join(lead)}"/]')
            arrows.setdefault(target, []).append(answer)
        for target, answers in arrows.items():
            lines.append(f"  {node['id']} -->|{', '.join(answers)}| {target}")
    return [*lines, "```"]


def hash_of(names: list[str]) -> int:
    """The same number for the same names in every run, unlike hash()."""
    number = 0
    for character in ",".join(names):
        number = (number * 131 + ord(character)) % 1_000_000_007
    return number


def lead_text(lead: t.Any, outcome_ids: set[str]) -> str:
    if isinstance(lead, list):
        return "whichever stands: " + ", ".join(f"[`{name}`](causes.md#{name})" for name in lead)
    return f"[`{lead}`](causes.md#{lead})" if lead in outcome_ids else f"[`{lead}`](#{lead})"


def tree_document(nodes: list[Rule], outcomes: list[Rule]) -> str:
    outcome_ids = {outcome["id"] for outcome in outcomes}
    lines = [
        "# The failure tree",
        "",
        GENERATED,
        TREE_INTRODUCTION,
        "## The chart",
        "",
        *flowchart(nodes, outcomes),
        "",
        "## The questions",
        "",
    ]
    for node in nodes:
        lines += [f"### {node['id']}", "", f"{one_line(node['question'])} {code(node['when'])}", ""]
        if node.get("needs"):
            lines += [f"Can be asked where {', '.join(code(need) for need in node['needs'])} is known.", ""]
        lines += [*(f"- {answer}: {lead_text(lead, outcome_ids)}" for answer, lead in leads_of(node)), ""]
    return "\n".join(lines).rstrip() + "\n"


CAUSES_INTRODUCTION = """\
Each verdict has an id that stays the same from version to version. A **cause** says why the last save failed; a
**state** is what else can be said about a server. Words in *italics* are filled in from the evidence. How a verdict
is reached is in [the failure tree](failure-tree.md).

How sure a verdict is: `confirmed` - a log line, a kernel record or an observed failure names it; `probable` - the state
matches and nothing contradicts; `possible` - it would explain the failure, and so would something else.
"""

TREE_INTRODUCTION = """\
The tree is data: questions, each with a [JMESPath](https://jmespath.org/) expression over
[the evidence](evidence.md) and over signals computed from it, and where its three answers lead. **Unknown** is an
answer: what could not be read is never "no". A list means "whichever of these stands now".

## Rules of your own

A question, an outcome or a risk of your own goes into the inventory. One with the id of a shipped rule replaces the
keys that it names; the rest is added:

    diagnose_extra_risks:
      - id: dump_over_50_gb
        title: The dump is larger than the backup takes
        summary: The nightly backup copies at most 50 GB.
        documentation: https://wiki.example.com/redis-backup
        threshold: 50 GB
        levels:
          - severity: medium
            when: data_directory.dump.size_bytes > `53687091200`
        quotes:
          - {source: file, name: size of the dump, path: data_directory.dump.size_bytes}

    diagnose_extra_nodes:
      - id: failed_at_fork
        "no": ask_the_storage_team

All expressions are compiled and all leads are followed before a host is asked. What is wrong with a rule is said
with the rule's id: a misspelt key, an unknown signal, a lead to nowhere, a circle, a question that nothing leads to.
"""


def documents() -> dict[Path, str]:
    nodes, outcomes, risks = read("failure_tree.yml"), read("outcomes.yml"), read("risks.yml")
    fixes = {fix["id"]: fix for fix in read("fixes.yml")}
    return {
        DOCS / "causes.md": causes_document(outcomes, nodes, fixes),
        DOCS / "risks.md": risks_document(risks, fixes),
        DOCS / "failure-tree.md": tree_document(nodes, outcomes),
    }


def main() -> int:
    stale = []
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
                print(f"wrote {path.relative_to(REPOSITORY)}")
    if stale and "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(REPOSITORY)) for path in stale)
        print(f"not what the rules say: {names}. Run tests/tools/generate_docs.py.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
