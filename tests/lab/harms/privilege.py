# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Privilege (rule 11): nothing is given to whom it was not given before."""

from __future__ import annotations

from ..attempts import Attempt

PRIVILEGE_HARMS: tuple[Attempt, ...] = ()
