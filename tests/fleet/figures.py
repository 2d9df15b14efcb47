# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of remediation, printed at the end of the run."""

from __future__ import annotations

import collections


class Figures:
    """Counted as the tests find them, before they judge."""

    def __init__(self) -> None:
        self.counted: collections.Counter[str] = collections.Counter()
        self.seconds_to_proof: float | None = None

    def count(self, name: str, number: int) -> None:
        self.counted[name] += number

    def lines(self) -> list[str]:
        counted = self.counted
        lines = []
        if counted["faults"]:
            lines.append(f"cured / faults with a fix x servers: {counted['cured']} / {counted['faults']}")
        if counted["made"]:
            lines.append(f"changes announced by check mode / made: {counted['announced']} / {counted['made']}")
            lines.append(f"changes of the second run: {counted['second']}")
        if counted["digests"]:
            lines.append(f"data sets that differ afterwards: {counted['lost']} / {counted['digests']}")
        if self.seconds_to_proof is not None:
            lines.append(
                f"from the start of ansible-playbook to its end, one broken server: {self.seconds_to_proof:.1f} s"
            )
        return lines


FIGURES = Figures()
