# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Will the server save again by itself, and what is at risk until then?"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils.case import Case
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import Mapping, number, text

Recovery = dict[str, t.Any]


def _answer(will_retry: bool | None, reason: str) -> Recovery:
    return {"will_retry": will_retry, "reason": reason}


def recovery(case: Case, signals: Mapping) -> Recovery:
    """{will_retry, reason}: what the server will do on its own, if it lives that long."""
    answer = _next_try(case, signals)
    if not signals.get("replica_would_panic"):
        return answer
    # The restart sets the status to ok and leaves the cause where it is: that is no recovery.
    return _answer(
        None if answer["will_retry"] else answer["will_retry"],
        f"{answer['reason']} But this is a replica: the next write of its master ends it "
        "(replica-ignore-disk-write-errors no).",
    )


def _next_try(case: Case, signals: Mapping) -> Recovery:
    """What serverCron will do on its own (server.c: save points, five seconds after a failure).

    The dead-lock: a BGSAVE by hand failed when too little had changed for any save point. Writes are refused, so
    nothing changes any more, so no save point is ever met, even after the cause is gone.
    """
    status = text(case.info, "rdb_last_bgsave_status")
    if status is None:
        return _answer(None, "The state of the last save is not known.")
    if status != "err" and signals.get("writes_blocked_by_aof"):
        return _answer(
            None,
            "The last save did not fail. Writes are refused because the AOF could not be written; the server tries "
            "that again every second.",
        )
    if status != "err":
        return _answer(None, "The last save did not fail, so there is nothing to recover from.")
    if signals.get("save_in_progress"):
        return _answer(True, "A save is running now.")
    points = signals.get("save_points")
    if points is None:
        return _answer(None, "The save points could not be read.")
    if not points:
        return _answer(
            False,
            "There are no save points: the server is told to keep no dump. Its failed status blocks no write and is "
            "without meaning.",
        )
    changes = number(case.info, "rdb_changes_since_last_save")
    seconds = number(signals, "seconds_since_last_save")
    if changes is None or seconds is None:
        return _answer(None, "How much has changed since the last save is not known.")
    if signals.get("save_points_met"):
        delay = signals.get("retry_delay_seconds")
        if signals.get("other_child_running"):
            return _answer(True, "A save point is met; the save starts when the child that is running now has ended.")
        return _answer(True, f"A save point is met: the server tries again about {delay} seconds after each failure.")
    coming = [point["seconds"] - seconds for point in points if changes >= point["changes"]]
    if coming:
        return _answer(True, f"Enough has changed; a save point is met in {int(max(min(coming), 0)) + 1} seconds.")
    missing = int(min(point["changes"] for point in points) - changes)
    blocked = signals.get("writes_blocked")
    if blocked:
        return _answer(
            False,
            f"Dead-lock: {missing} more changes are needed for the next automatic save, and writes are refused until "
            f"a save succeeds. {_what_it_takes(signals)}",
        )
    if blocked is None:
        return _answer(None, f"{missing} more changes are needed; whether writes are refused is not known.")
    return _answer(None, f"It depends on the clients: {missing} more changes are needed for the next automatic save.")


def _what_it_takes(signals: Mapping) -> str:
    if signals.get("dump_not_ours"):
        return "It takes a save, and the file that it would replace may be worth more than what is in memory."
    return "It takes a BGSAVE, also after the cause is gone."


def exposure(signals: Mapping) -> dict[str, t.Any]:
    """What would be lost if the server died now, as far as the dump goes (an AOF may hold it)."""
    return {
        "changes_at_risk": signals.get("changes_since_last_save"),
        "seconds_since_last_save": signals.get("seconds_since_last_save"),
        # INFO shows the time of the start as that of the last save until there is one.
        "since_start": signals.get("last_save_is_start"),
    }
