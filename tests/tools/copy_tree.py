# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""copy_tree.py DIRECTORY: copy the files of this checkout, without caches, into a fresh DIRECTORY.

ansible-test wants a real directory ``ansible_collections/redisops/persistence`` (a link won't do), and looks at
every file in it: so it gets what git knows or would add, and nothing else. The copy is a git repository of its own,
for ansible-test would otherwise ask the one around it, which ignores the copy as a whole: nothing left to check.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def files_of_checkout(repository: Path) -> list[Path]:
    """Relative paths of the files that git tracks, or would with ``git add --all``."""
    listing = subprocess.run(
        ["git", "-C", str(repository), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
    ).stdout
    names = {Path(name.decode()) for name in listing.split(b"\0") if name}
    return sorted(name for name in names if (repository / name).is_symlink() or (repository / name).exists())


def copy_checkout(repository: Path, target: Path) -> int:
    """Copy the files with their modes; whatever was at ``target`` is removed first. Returns how many."""
    if target.exists():
        shutil.rmtree(target)
    names = files_of_checkout(repository)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / name, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", str(target)], check=True)
    return len(names)


if __name__ == "__main__":
    print(f"{copy_checkout(REPOSITORY, Path(sys.argv[1]))} files")
