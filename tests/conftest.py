# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make ``ansible_collections.redisops.persistence`` importable from a checkout of any name.

ansible-core wants a collection below ``ansible_collections/NAMESPACE/NAME``. A link in the checkout's own
cache directory gives every test, and every ``ansible-playbook`` that a test starts, the same tree.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COLLECTIONS = REPOSITORY / ".cache" / "collections"


def link_collection() -> None:
    """Make the link, once; an old one that points elsewhere is replaced."""
    link = COLLECTIONS / "ansible_collections" / "redisops" / "persistence"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.resolve() != REPOSITORY:
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(REPOSITORY, target_is_directory=True)


link_collection()
sys.path.insert(0, str(COLLECTIONS))
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
