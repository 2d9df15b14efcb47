# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a checkout of any name usable as the collection ``redisops.persistence``.

ansible-core wants a collection below ``ansible_collections/NAMESPACE/NAME``. A link in the checkout's own cache
directory gives the tests, the demo and every ``ansible-playbook`` that they start the same tree.
"""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def link_collection(repository: Path = REPOSITORY) -> Path:
    """Make the link and return the directory to put into ``ANSIBLE_COLLECTIONS_PATH``.

    A link that points elsewhere (the checkout was moved or copied) is replaced. The new link is renamed into
    place, so that two runs at once can't meet a moment without one.
    """
    collections = repository / ".cache" / "collections"
    link = collections / "ansible_collections" / "redisops" / "persistence"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.resolve() != repository.resolve():
        fresh = link.with_name(f".persistence.{os.getpid()}")
        fresh.symlink_to(repository, target_is_directory=True)
        fresh.replace(link)
    return collections


if __name__ == "__main__":
    print(link_collection())
