# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of redis_diagnosis_info is documented as the modules that it joins document theirs."""

from __future__ import annotations

import evidence_returns


def test_the_copy_is_up_to_date() -> None:
    assert evidence_returns.main(["--check"]) == 0
