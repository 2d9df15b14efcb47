# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of one lab run."""

from __future__ import annotations

import collections
import contextlib
import typing as t


class Score:
    """Counts verdicts and cures as the tests judge them; a fault that could not be provoked counts as not run.

    ``counts``: changes announced and made, keys lost, changes of second runs.
    """

    def __init__(self) -> None:
        self.right: collections.Counter[str] = collections.Counter()
        self.run: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.seconds: list[float] = []

    def note(self, group: str, name: str, right: bool) -> None:
        self.run[group] += 1
        if right:
            self.right[group] += 1
        else:
            self.wrong.append(f"{group}: {name}")

    @contextlib.contextmanager
    def noting(self, group: str, name: str) -> t.Iterator[None]:
        """Count what happens inside: right, unless it raises."""
        right = False
        try:
            yield
            right = True
        finally:
            self.note(group, name, right)

    def lines(self) -> list[str]:
        lines = []
        for group in ("faults", "states", "pairs", "fleet"):
            if self.run[group]:
                lines.append(f"verdicts right / {group} x servers: {self.right[group]} / {self.run[group]}")
        if self.run["controls"]:
            false_causes = self.run["controls"] - self.right["controls"]
            lines.append(f"false causes / controls x servers: {false_causes} / {self.run['controls']}")
        return lines + self.remediation_lines() + [f"wrong: {name}" for name in self.wrong]

    def remediation_lines(self) -> list[str]:
        lines = []
        if self.run["remedies"]:
            lines += [
                f"faults cured / faults with a fix x servers: {self.right['remedies']} / {self.run['remedies']}",
                f"left alone unasked / faults x servers: {self.right['refusals']} / {self.run['refusals']}",
                f"changes announced / made: {self.counts['announced']} / {self.counts['made']}",
                f"keys lost: {self.counts['keys lost']}",
                f"second-run changes: {self.counts['second-run changes']}",
            ]
        if self.run["attempts"]:
            through = self.run["attempts"] - self.right["attempts"]
            lines.append(f"rule-breaking attempts tried / got through: {self.run['attempts']} / {through}")
        if self.run["harms"]:
            through = self.run["harms"] - self.right["harms"]
            lines.append(f"ways to do harm tried / got through: {self.run['harms']} / {through}")
        if self.run["combinations"]:
            lines += [
                f"random combinations with announced = made: {self.right['combinations']} / {self.run['combinations']}",
                f"their changes announced / made: {self.counts['combined announced']} / {self.counts['combined made']}",
                f"their dumps, keys lost: {self.counts['combined dumps lost']}, {self.counts['combined keys lost']}",
            ]
        if self.seconds:
            lines.append(f"seconds from ansible-playbook to proof, one broken host: {max(self.seconds):.1f}")
        return lines


SCORE = Score()
