# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two or three faults on one server, drawn at random with a seed that is told, so that a run can be repeated."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import random
import shutil
import signal
import typing as t
from pathlib import Path

from .bench import Bench, missing_need
from .faults import CHATTR, MIB, fails, saves
from .remedies import leave_orphans
from .servers import Server, ServerKind

SEED = 20261125
BACKUP_KEYS = 400
SHARED = frozenset({"contents"})
"""What several can take."""
OTHER_UID = 59_990
"""Nobody's; below the users of the lab's servers."""


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """One fault of a combination.

    ``takes``: what it uses up of a server: two that take the same never meet. ``blocks``: saves fail by it alone; the
    others come after the failure. ``order``: within its half. ``precious``: the file in the dump's place is worth more
    than what is in memory.
    """

    id: str
    break_it: t.Callable[[Bench, Server], t.Any]
    takes: frozenset[str]
    blocks: bool
    order: int = 5
    needs: tuple[str, ...] = ("root",)
    precious: bool = False
    servers: t.Callable[[ServerKind], bool] = lambda kind: True


def close_directory(bench: Bench, server: Server) -> None:
    bench.chmod(server.directory, 0o555)


def give_directory_away(bench: Bench, server: Server) -> None:
    os.chown(server.directory, 0, 0)


def put_directory_in_place(bench: Bench, server: Server) -> None:
    server.dump.unlink()
    server.dump.mkdir()


def protect_directory(bench: Bench, server: Server) -> None:
    bench.chattr(server.directory, "i")


def protect_dump(bench: Bench, server: Server) -> None:
    bench.chattr(server.dump, "i")


def limit_processes(bench: Bench, server: Server) -> None:
    bench.prlimit(server, "nproc", 1)


def limit_file_size(bench: Bench, server: Server) -> None:
    bench.prlimit(server, "fsize", 2048)


def delete_directory(bench: Bench, server: Server) -> None:
    shutil.rmtree(server.directory)


def aim_elsewhere(bench: Bench, server: Server) -> None:
    server.call("CONFIG", "SET", "dir", "/etc/cron.d")
    server.call("CONFIG", "SET", "dbfilename", "root")


def kill_child(bench: Bench, server: Server) -> None:
    server.slow_child()
    server.bgsave()
    os.kill(server.child(), signal.SIGKILL)
    server.fast_child()


def lay_backup(bench: Bench, server: Server) -> None:
    """Somebody lays the dump of a larger dataset in place, for a restart that has not come yet."""
    shutil.copyfile(backup_of(bench), server.dump)
    bench.own(server.dump, server)


def backup_of(bench: Bench) -> Path:
    """A dump that another server of the same kind has written."""
    other = bench.new()
    other.start()
    other.fill(BACKUP_KEYS, 200, prefix="backup")
    saves(other)
    kept = bench.base / "backup.rdb"
    shutil.copyfile(other.dump, kept)
    bench.discard(other)
    shutil.rmtree(other.base)
    return kept


def delete_keys(bench: Bench, server: Server) -> None:
    """Almost all of them, while saves fail: what is on the disk is all that is left."""
    bench.exit.callback(server.reconnect)
    server.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    server.connection.call_many(("DEL", f"key:{number}") for number in range(1, 60))


def leave_temp_files(bench: Bench, server: Server) -> None:
    leave_orphans(server, 2, MIB // 4)


def leave_files_of_others(bench: Bench, server: Server) -> None:
    path = server.directory / "temp-4194000.rdb"
    path.write_text("another user's")
    os.chown(path, OTHER_UID, OTHER_UID)
    os.utime(path, (1_700_000_000, 1_700_000_000))


def want_no_dump(bench: Bench, server: Server) -> None:
    server.call("CONFIG", "SET", "save", "")


def let_writes_through(bench: Bench, server: Server) -> None:
    server.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


def taking(*names: str) -> frozenset[str]:
    return frozenset(names)


# fmt: off
INGREDIENTS: tuple[Ingredient, ...] = (
    Ingredient("closed directory", close_directory, taking("mode"), blocks=True),
    Ingredient("directory of another owner", give_directory_away, taking("owner"), blocks=True),
    Ingredient("directory in the dump's place", put_directory_in_place, taking("dump"), blocks=True, order=1),
    Ingredient("immutable directory", protect_directory, taking("attribute", "contents"), blocks=True, order=9,
               needs=CHATTR),
    Ingredient("immutable dump", protect_dump, taking("dump", "attribute"), blocks=True, needs=CHATTR),
    Ingredient("limit on processes", limit_processes, taking("fork"), blocks=True),
    Ingredient("limit on the size of files", limit_file_size, taking("size"), blocks=True),
    Ingredient("deleted directory", delete_directory,
               taking("dir", "mode", "owner", "dump", "attribute", "contents"), blocks=True),
    Ingredient("directory of intruders", aim_elsewhere, taking("dir"), blocks=True, order=8),
    Ingredient("killed child", kill_child, taking("fork", "size", "mode", "owner", "attribute", "dir"), blocks=True,
               order=0),
    Ingredient("backup in place", lay_backup, taking("dump", "contents"), blocks=False, precious=True),
    Ingredient("deleted keys", delete_keys, taking("keys", "writes"), blocks=False, precious=True),
    Ingredient("orphans", leave_temp_files, taking("contents", "orphans"), blocks=False),
    Ingredient("a file of another user", leave_files_of_others, taking("contents", "others"), blocks=False),
    Ingredient("no dump wanted", want_no_dump, taking("save points"), blocks=False),
    Ingredient("writes let through", let_writes_through, taking("writes"), blocks=False),
)
# fmt: on


class Combination(t.NamedTuple):
    ingredients: tuple[Ingredient, ...]

    @property
    def id(self) -> str:
        return " + ".join(ingredient.id for ingredient in self.ingredients)

    @property
    def is_precious(self) -> bool:
        return any(ingredient.precious for ingredient in self.ingredients)


def can_meet(some: t.Sequence[Ingredient]) -> bool:
    """One at least makes saves fail, no two take the same, and nothing is laid where nothing can be laid any more."""
    taken = [name for ingredient in some for name in ingredient.takes - SHARED]
    is_closed = any(ingredient.blocks and "contents" in ingredient.takes for ingredient in some)
    lays = any(not ingredient.blocks and "contents" in ingredient.takes for ingredient in some)
    return any(one.blocks for one in some) and len(taken) == len(set(taken)) and not (is_closed and lays)


def all_combinations() -> list[Combination]:
    """Every two and three that can meet, in a fixed order."""
    both = (itertools.combinations(INGREDIENTS, count) for count in (2, 3))
    return [Combination(some) for some in itertools.chain(*both) if can_meet(some)]


def draw(count: int, seed: int = SEED) -> list[Combination]:
    """That many different ones."""
    possible = [one for one in all_combinations() if not any(map(missing_need, needs_of(one)))]
    return random.Random(seed).sample(possible, min(count, len(possible)))


def needs_of(combination: Combination) -> set[str]:
    return {need for ingredient in combination.ingredients for need in ingredient.needs}


def draw_opt_ins(known: t.Sequence[str], number: int, seed: int = SEED) -> list[str]:
    """A random half of what can be opted into; the first draw has nothing, the second all."""
    if number == 0:
        return []
    if number == 1:
        return sorted(known)
    return sorted(random.Random(seed + number).sample(sorted(known), len(known) // 2))


class Broken(t.NamedTuple):
    """A server with its faults. ``precious``: the digest of a file that must not be lost; None where there is none."""

    combination: Combination
    server: Server
    precious: str | None


def break_all(combination: Combination, bench: Bench) -> Broken:
    config = {"enable-protected-configs": "yes"} if bench.kind.at_least(7) else {}
    server = saves(bench.start(keys=60, config=config))
    server.fill(3, prefix="more")
    blocking = sorted((one for one in combination.ingredients if one.blocks), key=lambda one: one.order)
    for ingredient in blocking:
        ingredient.break_it(bench, server)
    if [one.id for one in blocking] != ["killed child"]:
        fails(server)
    for ingredient in combination.ingredients:
        if not ingredient.blocks:
            ingredient.break_it(bench, server)
    return Broken(combination, server, digest_of_dump(server) if combination.is_precious else None)


def digest_of_dump(server: Server) -> str | None:
    """Null where a fault has taken the file itself."""
    return digest_of_file(server.dump) if server.dump.is_file() else None


def digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests_below(server: Server) -> set[str]:
    """What files there are of a server, in its own directories."""
    return {digest_of_file(path) for path in server.base.rglob("*") if path.is_file() and not path.is_symlink()}
