# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a run has achieved for each server: one remediation document each, and whether the play must fail.

The remediation document::

    {schema_version: 1, instance: {..}, diagnosis_before: {..},
     plan: [{id, class, decision: apply|opt_in|refuse|manual, reason, commands: [..], changes: [..]}],
     changes: [{fix, address, what, before, after, reversible}],
     result: cured|improved|unchanged|refused|failed, reason: text, left: [fix, ..],
     proof: {status, save: {seconds, reply} | null, keys_before, keys_after,
             kept_dump: {path, bytes, keys_at_least, saved_unix, method} | null,
             dump_before: DUMP | null, dump_after: DUMP | null, diagnosis_after: {..}} | null}

``DUMP`` = {owner, bytes, keys_at_least, saved_unix}: the file that the save replaced, and the one that it wrote.

In check mode ``changes`` is the prediction and ``proof`` is null. Pure: nothing is read but the arguments.
"""

from __future__ import annotations

import typing as t

from ansible_collections.redisops.persistence.plugins.plugin_utils import record
from ansible_collections.redisops.persistence.plugins.plugin_utils.diagnosis import NOT_ASKED
from ansible_collections.redisops.persistence.plugins.plugin_utils.fixes import MANUAL, VERIFY, identity_of, split_fixes
from ansible_collections.redisops.persistence.plugins.plugin_utils.plan_end import NO_DUMP_WANTED
from ansible_collections.redisops.persistence.plugins.plugin_utils.policy import FIX_IDS, how_to_ask
from ansible_collections.redisops.persistence.plugins.plugin_utils.screen import state_title
from ansible_collections.redisops.persistence.plugins.plugin_utils.values import (
    Mapping,
    entries,
    integer,
    mapping,
    number,
    text,
)
from ansible_collections.redisops.persistence.plugins.plugin_utils.wording import as_number, count, plain, shorten

SCHEMA_VERSION = 1
CURED, IMPROVED, UNCHANGED, REFUSED, FAILED = "cured", "improved", "unchanged", "refused", "failed"
RESULTS = (CURED, IMPROVED, UNCHANGED, REFUSED, FAILED)
UNSUPPORTED = "unsupported"
_DECISION_WORDS = {
    "opt_in": "waits to be asked for",
    "refuse": "is refused",
    "manual": "is for a person",
}
_REASON_LIMIT = 5
_ERROR_LIMIT = 500
# Two starts of one process, seen from different clocks, lie this near to each other.
_SAME_START_SECONDS = 5

Document = dict[str, t.Any]
Documents = t.Sequence[Mapping]


class Run(t.NamedTuple):
    """What is known when a run on one host ends.

    :ivar plan: what ``remediation_plan`` returned.
    :ivar entries: of the record; in check mode the predicted ones.
    :ivar decisions: what the verification decided for each server: {address: [fix]}; it replaces the plan's own.
    :ivar after: {address: {diagnosis, facts}} of the last look at the host; null where it was not looked at again.
    :ivar error: why the plan was left (another operator's lock, a task that failed), or null.
    :ivar trouble: why the host could not be looked at again, or null.
    """

    plan: Mapping
    entries: Documents
    decisions: Mapping
    after: Mapping | None
    error: str | None
    trouble: str | None
    check_mode: bool


class Conclusion(t.NamedTuple):
    """The documents of a host. ``failures``: a sentence for each reason for the play to fail."""

    remediations: list[Document]
    failures: list[str]
    cured_all: bool


def facts_of(instance: Mapping) -> Document:
    """What the plan remembers of a server's evidence to compare with later.

    ``{keys, expired_keys, evicted_keys, pid, started_unix, last_save_unix}``, null where unknown.
    """
    info = mapping(instance, "redis", "info")
    return {
        "keys": integer(info, "key_count"),
        "expired_keys": integer(info, "expired_keys"),
        "evicted_keys": integer(info, "evicted_keys"),
        "pid": integer(instance, "process", "pid") or integer(instance, "redis", "process_id"),
        "started_unix": number(instance, "process", "started_unix") or number(instance, "redis", "started_unix"),
        "last_save_unix": integer(info, "rdb_last_save_time"),
    }


def is_failing(diagnosis: Mapping) -> bool:
    """Whether the last save failed, whatever else the server is busy with now."""
    return diagnosis.get("state") == "failing" or diagnosis.get("status") == "err"


def will_fail(diagnosis: Mapping) -> bool:
    """Whether the next save is expected to fail, though the last one did not."""
    return mapping(diagnosis, "forecast").get("answer") == "will_fail"


def is_unseen(diagnosis: Mapping) -> bool:
    """Whether nobody could ask the server, though it is one that this collection could help."""
    return diagnosis.get("state") in NOT_ASKED and diagnosis.get("state") != UNSUPPORTED


def conclude(run: Run) -> Conclusion:
    """The document of each server of the plan, and the reasons to fail."""
    befores = {str(mapping(item, "instance").get("address")): item for item in entries(run.plan, "diagnoses")}
    items = {str(item.get("address")): item for item in entries(run.plan, "instances")}
    documents: list[Document] = []
    failures: list[str] = []
    host_error = text(run.plan, "error") or None
    if host_error and not befores:
        failures.append(host_error)
    for address, before in befores.items():
        verdict = _Verdict(run, address, before, items.get(address) or {})
        documents.append(verdict.document())
        if verdict.must_fail():
            failures.append(f"{plain(address)}: {documents[-1]['result']}: {documents[-1]['reason']}")
    if run.error and not any(run.error in failure for failure in failures):
        failures.append(run.error)
    # What fails for the host and concerns no server must not get lost.
    strays = [entry for entry in run.entries if entry.get("state") == record.FAILED]
    told = " ".join(document["reason"] for document in documents)
    failures.extend(_failure(entry) for entry in strays if _failure(entry) not in told)
    return Conclusion(documents, failures, not failures and not any(map(is_still_failing, documents)))


def is_still_failing(document: Mapping) -> bool:
    """Whether a server's last save counts as failed when the run ends, by its remediation document.

    That of a server which is told to keep no dump is without meaning.
    """
    if keeps_no_dump(entries(document, "plan")):
        return False
    proof = document["proof"]
    return is_failing(proof["diagnosis_after"] if proof else document["diagnosis_before"])


def keeps_no_dump(plan: Documents) -> bool:
    """Whether the plan has found that the server is told to keep no dump, so that no save is wanted."""
    return any(fix.get("id") == VERIFY and NO_DUMP_WANTED in (fix.get("objections") or ()) for fix in plan)


def _failure(entry: Mapping) -> str:
    return f"{plain(entry.get('fix'))} failed: {shorten(plain(entry.get('error')), _ERROR_LIMIT)}"


class _Verdict:
    """One server."""

    def __init__(self, run: Run, address: str, before: Mapping, item: Mapping) -> None:
        self.run = run
        self.address = address
        self.before = before
        self.facts = mapping(item, "facts")
        self.plan = _with_decisions(entries(item, "plan"), entries(run.decisions, address))
        own = {fix.get("id") for fix in self.plan}
        self.entries = [
            entry
            for entry in run.entries
            if entry.get("address") == address or (entry.get("address") is None and entry.get("fix") in own)
        ]
        self.changes = [dict(change) for entry in self.entries for change in entries(entry, "changes")]
        # What was lent for the time of the run, and is back, has put nothing right.
        self.lasting = [c for entry in self.entries if not entry.get("restored") for c in entries(entry, "changes")]
        self.look = mapping(run.after, address) if run.after is not None else {}
        self.after: Mapping | None = mapping(self.look, "diagnosis") or None
        self.failed = [entry for entry in self.entries if entry.get("state") == record.FAILED]
        self.open = [entry for entry in self.entries if entry.get("state") == record.STARTED]
        proofs = [entry for entry in self.entries if entry.get("fix") == VERIFY]
        self.proof_entry: Mapping = proofs[-1] if proofs else {}
        self._outcome: tuple[str, str] | None = None

    def document(self) -> Document:
        result, reason = self.outcome()
        return {
            "schema_version": SCHEMA_VERSION,
            "instance": dict(mapping(self.before, "instance")),
            "diagnosis_before": dict(self.before),
            "plan": self.plan,
            "changes": self.changes,
            "result": result,
            "reason": reason,
            "left": self.left(),
            "proof": self.proof(),
        }

    def must_fail(self) -> bool:
        """Whether the play must fail for this server."""
        result, _reason = self.outcome()
        if result == FAILED or is_unseen(self.before) or (self.after is not None and is_unseen(self.after)):
            return True
        if self.run.check_mode:
            return result == REFUSED
        if keeps_no_dump(self.plan):
            return False
        return is_failing(self.after if self.after is not None else self.before)

    def outcome(self) -> tuple[str, str]:
        """``(result, reason)``."""
        if self._outcome is None:
            self._outcome = self._judge()
        return self._outcome

    def left(self) -> list[Document]:
        """The fixes that would still help."""
        if self.after is None:
            done = {entry.get("fix") for entry in self.entries if entry.get("state") == record.DONE}
            if self.run.check_mode:
                done |= {fix.get("id") for fix in self.plan if fix.get("decision") == "apply"}
            left = [fix for fix in self.plan if fix.get("id") not in done]
            return left if is_failing(self.before) or self.run.check_mode else _without_proof(left)
        planned = {fix.get("id"): fix for fix in self.plan}
        left = [
            planned[fix.get("id")] if fix.get("id") in planned and fix.get("id") != MANUAL else dict(fix)
            for fix in entries(self.after, "fixes")
        ]
        return left if is_failing(self.after) else _without_proof(left)

    def proof(self) -> Document | None:
        if self.after is None or self.run.check_mode:
            return None
        details = mapping(self.proof_entry, "details")
        is_saved = self.proof_entry.get("state") == record.DONE
        return {
            "status": self.after.get("status"),
            "save": {"seconds": details.get("duration_seconds"), "reply": details.get("reply")} if is_saved else None,
            "keys_before": _known(integer(details, "keys_before"), integer(self.facts, "keys")),
            "keys_after": integer(self.look, "facts", "keys"),
            "kept_dump": details.get("kept_dump"),
            "dump_before": details.get("dump_before"),
            "dump_after": details.get("dump_after") if is_saved else None,
            "diagnosis_after": dict(self.after),
        }

    # The result

    def _judge(self) -> tuple[str, str]:
        if is_unseen(self.before):
            return UNCHANGED, self._unseen_reason(self.before)
        if self.run.check_mode:
            return self._judge_prediction()
        if not self.entries and (self.after is None or is_failing(self.after) == is_failing(self.before)):
            return self._judge_untouched()
        if self.after is None:
            trouble = self.run.trouble or "the server was not found any more"
            return FAILED, self._said(f"It could not be examined after the changes: {trouble}", *self._failures())
        if is_unseen(self.after):
            return FAILED, self._said(
                f"After the changes: {self._unseen_reason(self.after)}", *self._failures(), self._keys_remark()
            )
        if self._keys_lost():
            return FAILED, self._said(self._keys_remark(), *self._failures())
        return self._judge_seen(self.after)

    def _judge_seen(self, after: Mapping) -> tuple[str, str]:
        """The server answers, and has its keys."""
        extras = (*self._failures(), self._left_to_do(), self._keys_remark())
        if is_failing(self.before) and not is_failing(after) and self._is_saved(after):
            return CURED, self._said(self._proof_words(), *extras)
        if is_failing(after) and not is_failing(self.before):
            return FAILED, self._said(
                f"It was not failing before, and is now: {state_title(after)}", *extras, self._proof_refusal()
            )
        if self.failed or self.open or self.run.error:
            return FAILED, self._said(*extras, self.run.error)
        if not is_failing(self.before):
            if not self.changes:
                return UNCHANGED, self._said("It was not failing, and nothing had to be changed", *extras)
            return IMPROVED, self._said(f"{count(len(self.changes), 'change')} made; it was not failing", *extras)
        if keeps_no_dump(self.plan):
            made = f"{count(len(self.lasting), 'change')} made" if self.lasting else "Nothing was changed"
            return IMPROVED if self.lasting else UNCHANGED, self._said(made, self._proof_refusal(), *extras)
        refusals = self._refusals()
        if self.lasting:
            still = (
                f"the last save still counts as failed: {state_title(after)}"
                if is_failing(after)
                else "it does not fail any more, but no save has proven it"
            )
            return IMPROVED, self._said(
                f"{count(len(self.lasting), 'change')} made; {still}", self._proof_refusal(), *refusals, *extras
            )
        if refusals:
            return REFUSED, self._said(*refusals, self._proof_refusal(), *extras)
        return UNCHANGED, self._said("Nothing was changed", self._proof_refusal(), *extras)

    def _judge_untouched(self) -> tuple[str, str]:
        """Nothing was begun on it."""
        if self.run.error and self._has_work():
            return REFUSED if not self.run.entries else FAILED, self._said(self.run.error)
        if not is_failing(self.before):
            return UNCHANGED, self._untouched_reason("nothing has to be changed")
        if keeps_no_dump(self.plan):
            return UNCHANGED, self._said(self._proof_refusal())
        refusals = self._refusals()
        if refusals:
            return REFUSED, self._said(*refusals)
        return UNCHANGED, self._said("There is nothing that this role may do about it", self._proof_refusal())

    def _judge_prediction(self) -> tuple[str, str]:
        failures = self._failures()
        if failures:
            return FAILED, self._said(f"check mode: {failures[0]}", *failures[1:], self.run.error)
        if self.run.error and self._has_work():
            return FAILED if self.run.entries else REFUSED, self._said(f"check mode: {self.run.error}")
        is_sick = is_failing(self.before) and not keeps_no_dump(self.plan)
        refusals = self._refusals() if is_sick else []
        if refusals and not self.changes:
            return REFUSED, self._said("check mode: no change would be made", *refusals)
        if self.changes:
            return UNCHANGED, self._said(f"check mode: {count(len(self.changes), 'change')} would be made")
        if will_fail(self.before):
            return UNCHANGED, f"check mode: no change would be made. {self._untouched_reason('')}"
        return UNCHANGED, "check mode: no change would be made."

    def _untouched_reason(self, otherwise: str) -> str:
        """Of a server that was not failing, and on which nothing was done."""
        if not will_fail(self.before):
            return self._said(f"It is not failing, and {otherwise}")
        return self._said("It is not failing, but the next save will", *self._refusals())

    def _has_work(self) -> bool:
        return any(
            action.get("address") == self.address
            or (action.get("address") is None and action.get("fix") in {fix.get("id") for fix in self.plan})
            for action in entries(self.run.plan, "actions")
        )

    def _is_saved(self, after: Mapping) -> bool:
        """Whether a save has completed since the plan: the proof, or one of the server's own.

        ``err`` becomes ``ok`` by a save that succeeds, and by a restart.
        """
        if self.proof_entry.get("state") == record.DONE:
            return True
        facts = mapping(self.look, "facts")
        saved_before, saved_after = number(self.facts, "last_save_unix"), number(facts, "last_save_unix")
        if self._is_same_process() is not True or after.get("status") != "ok":
            return False
        return saved_before is not None and saved_after is not None and saved_after > saved_before

    def _is_same_process(self) -> bool | None:
        facts = mapping(self.look, "facts")
        before, after = number(self.facts, "started_unix"), number(facts, "started_unix")
        if self.facts.get("pid") is None or facts.get("pid") is None or before is None or after is None:
            return None
        return self.facts["pid"] == facts["pid"] and abs(before - after) <= _SAME_START_SECONDS

    # Keys

    def _missing_keys(self) -> int:
        """How many keys there are less than before, and nothing that expired or was evicted explains."""
        facts = mapping(self.look, "facts")
        before, after = integer(self.facts, "keys"), integer(facts, "keys")
        if before is None or after is None or after >= before:
            return 0
        explained = sum(
            max((integer(facts, name) or 0) - start, 0)
            for name in ("expired_keys", "evicted_keys")
            for start in ((integer(self.facts, name) or 0) if self._is_same_process() else 0,)
        )
        return max(before - after - explained, 0)

    def _keys_lost(self) -> bool:
        """Whether keys went with a process. One that has lived all the time has lost none but what clients deleted."""
        return self._missing_keys() > 0 and self._is_same_process() is not True

    def _keys_remark(self) -> str | None:
        missing = self._missing_keys()
        if not missing:
            return None
        before, after = self.facts.get("keys"), mapping(self.look, "facts").get("keys")
        if self._keys_lost():
            return (
                f"KEYS ARE MISSING: {before} before, {after} now, and {missing} of the difference neither expired nor "
                "were evicted. Don't let anything write; look for a rescue file or an older dump before all else"
            )
        return (
            f"It has {count(missing, 'key')} less than before ({before}, now {after}). It ran all the time and was "
            "told to delete none by this run, so its clients did"
        )

    # Words

    def _said(self, *sentences: str | None) -> str:
        told = [sentence.strip() for sentence in dict.fromkeys(sentences) if sentence and sentence.strip()]
        return " ".join(sentence if sentence.endswith((".", "!", "?")) else f"{sentence}." for sentence in told)

    def _unseen_reason(self, diagnosis: Mapping) -> str:
        why = self.run.plan.get("error") if diagnosis is self.before else self.run.trouble
        return self._said(f"It could not be examined: {why or state_title(diagnosis)}")

    def _failures(self) -> list[str]:
        failures = [_failure(entry) for entry in self.failed]
        failures += [
            f"{plain(entry.get('fix'))} was begun, and nobody knows how it ended"
            for entry in self.open
            if not self.run.check_mode
        ]
        return failures

    def _left_to_do(self) -> str | None:
        texts = [plain(entry.get("left_to_do")) for entry in self.entries if entry.get("left_to_do")]
        texts += [
            f"What {plain(entry.get('fix'))} had changed for a while is as it was."
            for entry in self.entries
            if entry.get("restored")
        ]
        return " ".join(texts) or None

    def _proof_words(self) -> str:
        details = mapping(self.proof_entry, "details")
        seconds = as_number(details.get("duration_seconds"))
        duration = f" in {seconds:.1f} s" if seconds is not None else ""
        made = [change for change in self.changes if change.get("fix") != VERIFY]
        after = f", after {count(len(made), 'change')}" if made else ""
        if self.proof_entry.get("state") != record.DONE:
            return f"The server has saved by itself{after}"
        return f"A save succeeded{duration}{after}"

    def _proof_refusal(self) -> str | None:
        """Why no save was started to prove the cure."""
        if self.proof_entry:
            return None
        decided = next((fix for fix in self.plan if fix.get("id") == VERIFY), None)
        if decided is None or decided.get("decision") == "apply":
            return None
        return f"No save was started: {plain(decided.get('reason'))}"

    def _refusals(self) -> list[str]:
        """What was not done, and why: the first few."""
        refused = [
            fix for fix in self.plan if fix.get("decision") in _DECISION_WORDS and fix.get("id") not in (VERIFY, None)
        ]
        wanted = _against_causes(self.after or self.before)
        helpful = [fix for fix in refused if identity_of(fix) in wanted] or refused
        sentences = [_refusal(fix) for fix in helpful[:_REASON_LIMIT]]
        if not sentences:
            verify = next((fix for fix in self.plan if fix.get("id") == VERIFY), None)
            if verify is not None and verify.get("decision") in _DECISION_WORDS:
                sentences = [f"No save was started: {plain(verify.get('reason'))}"]
        return sentences


def _against_causes(diagnosis: Mapping) -> set[tuple[t.Any, t.Any]]:
    """Those that a diagnosis offers against what fails, apart from those against risks."""
    urgent, _by_risk = split_fixes(diagnosis)
    return {identity_of(fix) for fix in urgent}


def _refusal(fix: Mapping) -> str:
    reason = plain(fix.get("reason"))
    if fix.get("id") == MANUAL:
        return f"By hand: {reason}"
    name = str(fix.get("id"))
    asking = f" ({how_to_ask(name)})" if fix.get("decision") == "opt_in" and name in FIX_IDS else ""
    return f"{plain(name)} {_DECISION_WORDS[str(fix['decision'])]}{asking}: {reason}"


def _with_decisions(plan: list[Mapping], decisions: list[Mapping]) -> list[Document]:
    """The plan with what the verification decided later."""
    later = {fix.get("id"): dict(fix) for fix in decisions}
    merged = [later.pop(fix.get("id"), dict(fix)) for fix in plan]
    return merged + list(later.values())


def _known(value: int | None, otherwise: int | None) -> int | None:
    return otherwise if value is None else value


def _without_proof(fixes: list[Document]) -> list[Document]:
    return [fix for fix in fixes if fix.get("id") != VERIFY]
