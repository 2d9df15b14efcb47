# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons that only look like proof: records of another day, process or group."""

from __future__ import annotations

from ..attempts import Attempt

REASON_HARMS: tuple[Attempt, ...] = ()
