# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read, as whom (rules 6 and 7), and servers that answer oddly (rule 8)."""

from __future__ import annotations

from ..attempts import Attempt

READING_HARMS: tuple[Attempt, ...] = ()
