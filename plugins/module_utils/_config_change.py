# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Parameters of a running server, set all or none, and kept in its configuration file where that is safe."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.redisops.persistence.plugins.module_utils._changes import (
    Change,
    change,
    configuration_file,
    parameter,
)
from ansible_collections.redisops.persistence.plugins.module_utils._client import ConnectionOptions
from ansible_collections.redisops.persistence.plugins.module_utils._config_drift import (
    ConfigurationFile,
    Drift,
    clean_sentence,
    compare,
    compare_modules,
    compare_users,
    file_settings,
    read_configuration_file,
    why_not_writable,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_rewrite import (
    WHY_NO_LINK,
    ConfigPlace,
    FileState,
    lost_lines,
    open_place,
    process_start_unix,
    server_umask,
    why_directory_would_go,
    why_file_would_suffer,
    why_lines_would_change,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_session import (
    ConfigFailure,
    ConfigSession,
    closing,
    open_session,
    refused_parameter,
)
from ansible_collections.redisops.persistence.plugins.module_utils._config_values import (
    in_force,
    is_secret,
    kind_name,
    parse_memory,
    spelled,
    value_text,
)
from ansible_collections.redisops.persistence.plugins.module_utils._discovery import find_pid
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_state import forget_unwatched, read_state
from ansible_collections.redisops.persistence.plugins.module_utils._emergency_watcher import PARAMETER, UNBLOCKED
from ansible_collections.redisops.persistence.plugins.module_utils._forbidden_places import why_forbidden
from ansible_collections.redisops.persistence.plugins.module_utils._hijack_places import (
    DEFAULT_DBFILENAME,
    grade_name,
    grade_place,
)
from ansible_collections.redisops.persistence.plugins.module_utils._info import number
from ansible_collections.redisops.persistence.plugins.module_utils._module_outcome import diff_of
from ansible_collections.redisops.persistence.plugins.module_utils._path_walk import walk
from ansible_collections.redisops.persistence.plugins.module_utils._redis_facts import started_unix
from ansible_collections.redisops.persistence.plugins.module_utils._system import Gaps, System, clean_text

PARAMETER_LIMIT = 64
VALUE_LIMIT_CHARACTERS = 4096

PROTECTED = frozenset({"dir", "dbfilename"})
"""PROTECTED_CONFIG in config.c of 7.0 to 9.1: enable-protected-configs decides (no, local or yes)."""

IMMUTABLE = frozenset(
    """
    aclfile always-show-logo aof_rewrite_cpulist appendfilename bgsave_cpulist bio_cpulist cluster-enabled daemonize
    databases logfile pidfile rdbchecksum server_cpulist replicaof set-proc-title supervised syslog-enabled
    syslog-facility syslog-ident tcp-backlog unixsocket unixsocketperm
    """.split()
)
"""CONFIG SET of each was tried on Redis 6.2, 7.0 and Valkey 9.1, and refused by all."""
IMMUTABLE_SINCE_7 = frozenset(
    """
    appenddirname cluster-config-file cluster-port disable-thp enable-debug-command enable-module-command
    enable-protected-configs socket-mark-id
    """.split()
)

MAXMEMORY, MAXMEMORY_POLICY, NO_EVICTION = "maxmemory", "maxmemory-policy", "noeviction"

FILE_BEFORE, FILE_AFTER = "as at the start", "running values"


class Wish(t.NamedTuple):
    """One parameter: ``running`` now, ``after`` as CONFIG GET will spell it, ``value`` as it is sent."""

    name: str
    value: str
    running: str
    after: str


def change_configuration(parameters: t.Mapping[str, t.Any], system: System, check_mode: bool) -> dict[str, t.Any]:
    """What the module ``redis_config`` returns, with ``failed`` and ``msg`` where it failed."""
    options = ConnectionOptions.from_mapping(parameters)
    result: dict[str, t.Any] = {
        "address": options.address,
        "changed": False,
        "changes": [],
        "diff": [],
        "parameters": {},
        "conflicts": {},
        "refused": {},
        "rewritten": False,
        "rewrite_reason": None,
        "rewrite_refused": False,
    }
    try:
        wanted = read_wishes(parameters["parameters"] or {})
        expected = read_wishes(parameters["expected"] or {})
        own_names = read_names([*wanted, *(parameters["own_parameters"] or [])])
        assumed = read_wishes(parameters["assumed"] or {})
        in_file = read_wishes(parameters["expected_in_file"] or {})
        with closing(open_session(parameters, system, Gaps())) as session:
            run = _Run(session, system, check_mode, result, assumed, in_file)
            run.set_all(wanted, expected)
            if not check_mode and wanted.get("stop-writes-on-bgsave-error") == "yes":
                forget_unwatched(system, session.run_id)
            if parameters["rewrite"] != "no":
                run.rewrite(own_names, parameters["rewrite"] == "yes")
    except ConfigFailure as failure:
        result.update(failed=True, msg=f"{result['address']}: {failure}", refused=failure.refused)
    return result


def read_wishes(options: t.Mapping[str, t.Any]) -> dict[str, str]:
    """{parameter in lower case: value as text}. Raises ConfigFailure for what is never set."""
    wishes: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name, value in options.items():
        lowered = str(name).lower()
        try:
            text = value_text(value)
        except ValueError as error:
            refused[lowered] = str(error)
            continue
        if is_secret(lowered):
            refused[lowered] = "it is a secret, and this module shows the values that it sets; use the ACL commands"
        elif lowered in wishes:
            refused[lowered] = "it is named twice"
        elif "\0" in text or len(text) > VALUE_LIMIT_CHARACTERS:
            refused[lowered] = f"the value has a NUL byte, or more than {VALUE_LIMIT_CHARACTERS} characters"
        wishes[lowered] = text
    read_names(wishes)
    _raise_refused(refused)
    return wishes


def read_names(names: t.Iterable[str]) -> list[str]:
    """Names in lower case, each once. Raises ConfigFailure for what can't be one (CONFIG GET takes patterns)."""
    lowered = list(dict.fromkeys(str(name).lower() for name in names))
    bad = {name: "no parameter has such a name" for name in lowered if not re.match(r"[a-z0-9][a-z0-9._-]*\Z", name)}
    _raise_refused(bad)
    if len(lowered) > PARAMETER_LIMIT:
        raise ConfigFailure(f"More than {PARAMETER_LIMIT} parameters at once.")
    return lowered


def _raise_refused(refused: t.Mapping[str, str]) -> None:
    if refused:
        told = "; ".join(f"{clean_text(name)}: {reason}" for name, reason in sorted(refused.items()))
        raise ConfigFailure(f"Nothing was set. {told}", refused)


def predicted_refusal(
    wish: Wish, settings: t.Mapping[str, str], is_local: bool, is_7: bool, file_value: str | None, real_path: str | None
) -> str | None:
    """Why a parameter must not or can't be set, as far as that can be known beforehand.

    :param settings: running parameters. :param is_local: whether the server sees a local client.
    :param is_7: whether the server has what Redis 7.0 has.
    :param file_value: what the configuration file says of it. :param real_path: where ``dir`` leads, links followed.
    """
    kind = kind_name(wish.name)
    if kind in IMMUTABLE or (is_7 and kind in IMMUTABLE_SINCE_7):
        return "it is immutable: it can be set in the configuration file and takes effect at the next start"
    guarded = guard_place(wish.value, file_value, real_path) if kind == "dir" else None
    if kind == "dbfilename":
        guarded = guard_name(wish.value, file_value)
    if guarded is not None:
        return guarded
    if kind in PROTECTED and is_7:
        mode = settings.get("enable-protected-configs", "yes")
        if mode == "no" or (mode == "local" and not is_local):
            return f"it is protected (enable-protected-configs {mode}, which takes a restart to change)"
    return None


def guard_place(directory: str, file_value: str | None, real_path: str | None) -> str | None:
    """Why the dump must not go to a directory: intruders use it. A doubtful one may be the configuration file's own."""
    if not directory.startswith("/"):
        return "an absolute path is wanted"
    for path in dict.fromkeys(path for path in (spelled("dir", directory, ""), real_path) if path):
        if grade_place(path) == "strong":
            return f"{path} is a place that intruders use; no dump belongs there"
        forbidden = why_forbidden(path)
        if (forbidden or grade_place(path) == "weak") and file_value not in (directory, path):
            return f"{path} is {forbidden or 'a place that intruders use'}, and the configuration file does not name it"
    return None


def guard_name(name: str, file_value: str | None) -> str | None:
    """The same for the name of the dump."""
    grade = grade_name(name)
    if grade == "strong" or "/" in name:
        return f"{name!r} is a name that intruders use; no dump is called so"
    if grade == "weak" and file_value != name:
        return f"{name!r} is a name that intruders use, and the configuration file does not have it"
    return None


def why_keys_would_go(running: t.Mapping[str, str], after: t.Mapping[str, str], used_bytes: float | None) -> str | None:
    """Why a tighter ``maxmemory``, or a policy that evicts, must not come into force: keys or writes would go at once.

    :param running: ``maxmemory`` and ``maxmemory-policy`` now. :param after: the same afterwards.
    """
    limit, limit_now = (parse_memory(values.get(MAXMEMORY, "0")) for values in (after, running))
    if not limit:
        return None
    policy, policy_now = (values.get(MAXMEMORY_POLICY, NO_EVICTION) for values in (after, running))
    is_tighter = not limit_now or limit < limit_now or (policy != policy_now and policy != NO_EVICTION)
    if not is_tighter or (used_bytes is not None and used_bytes < limit):
        return None
    used = "an unknown number of" if used_bytes is None else int(used_bytes)
    effect = "writes would be refused" if policy == NO_EVICTION else "keys would be evicted"
    return f"{used} bytes are in use, and {MAXMEMORY} would be {limit} ({policy}): {effect}"


class _Run:
    """One server from before to after. Every method raises ConfigFailure."""

    def __init__(
        self,
        session: ConfigSession,
        system: System,
        check_mode: bool,
        result: dict[str, t.Any],
        assumed: t.Mapping[str, str],
        in_file: t.Mapping[str, str],
    ) -> None:
        self._session = session
        self._assumed = assumed
        self._in_file = in_file
        self._system = system
        self._check_mode = check_mode
        self._result = result
        self._file: ConfigurationFile | None = None
        self._set: dict[str, str] = {}
        facts = {"process_id": number(session.info, "process_id"), "started_unix": started_unix(session.info, system)}
        self._pid = find_pid(system, session.options, facts)

    # -- parameters

    def set_all(self, wanted: t.Mapping[str, str], expected: t.Mapping[str, str]) -> None:
        """Set what differs, and see that it is in force."""
        if not wanted:
            return
        asked = [*wanted, "enable-protected-configs", MAXMEMORY, MAXMEMORY_POLICY]
        settings = self._session.get(list(dict.fromkeys(asked)))
        unknown = [name for name in wanted if name not in settings]
        _raise_refused(dict.fromkeys(unknown, "the server does not know it"))
        wishes = []
        for name, value in wanted.items():
            running = settings[name]
            # CONFIG SET takes save points with one blank between two numbers only.
            sent = value if kind_name(name) == "dir" else spelled(name, value, "")
            wish = Wish(name, sent, running, self._spelled(name, value, running))
            self._result["parameters"][name] = {"before": running, "after": running}
            if self._is_in_force(wish):
                continue
            if name in expected and not in_force(name, expected[name], running):
                self._result["conflicts"][name] = {"running": running, "wanted": value, "expected": expected[name]}
                continue
            wishes.append(wish)
        self._refuse(wishes, settings)
        if wishes and not self._check_mode:
            self._send(wishes)
            wishes = self._verified(wishes)
        for wish in wishes:
            self._result["parameters"][wish.name]["after"] = wish.after
            self._set[wish.name] = wish.after
            self._note(change(parameter(wish.name), wish.running, wish.after))

    def _spelled(self, name: str, value: str, running: str) -> str:
        """As CONFIG GET will spell it; ``dir`` is answered with links followed (getcwd)."""
        if kind_name(name) == "dir":
            return self._real_path(value) or spelled(name, value, running)
        return spelled(name, value, running)

    def _is_in_force(self, wish: Wish) -> bool:
        return in_force(wish.name, wish.value, wish.running) or in_force(wish.name, wish.after, wish.running)

    def _real_path(self, path: str) -> str | None:
        """Where a path leads in the server's own root directory; None where that can't be seen."""
        if self._pid is None or not path.startswith("/"):
            return None
        looked_up = walk(self._system.path(f"/proc/{self._pid}/root"), path)
        try:
            return looked_up.steps[-1].path if looked_up.handle is not None else None
        finally:
            looked_up.close()

    def _refuse(self, wishes: t.Sequence[Wish], settings: t.Mapping[str, str]) -> None:
        refused = {}
        for wish in wishes:
            guarded = kind_name(wish.name) in PROTECTED
            reason = predicted_refusal(
                wish,
                settings,
                self._session.options.is_loopback,
                self._session.is_at_least(7),
                self._file_value(wish.name) if guarded else None,
                self._real_path(wish.value) if guarded and kind_name(wish.name) == "dir" else None,
            )
            if reason is not None:
                refused[wish.name] = reason
        limits = {wish.name: wish.after for wish in wishes if wish.name in (MAXMEMORY, MAXMEMORY_POLICY)}
        used_bytes = number(self._session.info, "used_memory")
        reason = why_keys_would_go(settings, {**settings, **limits}, used_bytes) if limits else None
        if reason is not None:
            refused.update(dict.fromkeys(limits, reason))
        _raise_refused(refused)

    def _file_value(self, name: str) -> str | None:
        file = self._configuration_file()
        if file.lines is None:
            return None
        return file_settings(file.lines).get(name, DEFAULT_DBFILENAME if name == "dbfilename" else None)

    def _send(self, wishes: t.Sequence[Wish]) -> None:
        """All in one command (7.0+); else one by one, with those before put back where one is refused."""
        if self._session.takes_many:
            try:
                self._session.set({wish.name: wish.value for wish in wishes})
            except ConfigFailure as failure:
                refused = refused_parameter(failure.message)
                raise ConfigFailure(
                    f"Nothing was set. {failure.message}", {refused[0]: refused[1]} if refused else None
                ) from None
            return
        done: list[Wish] = []
        for wish in wishes:
            try:
                self._session.set({wish.name: wish.value})
            except ConfigFailure as failure:
                told = f"{wish.name} was refused: {failure.message}. {self._put_back(done)}"
                raise ConfigFailure(told, {wish.name: failure.message}) from None
            done.append(wish)

    def _put_back(self, done: t.Sequence[Wish]) -> str:
        """Undo what was set before the refusal; in words."""
        kept = []
        for wish in reversed(done):
            try:
                self._session.set({wish.name: wish.running})
            except ConfigFailure as failure:
                kept.append(f"{wish.name} could not be put back to {wish.running!r} ({failure.message})")
                self._note(change(parameter(wish.name), wish.running, wish.after))
        if kept:
            return f"{'; '.join(kept)}."
        if not done:
            return "Nothing was set."
        return f"Put back to what they were: {', '.join(wish.name for wish in done)}."

    def _verified(self, wishes: t.Sequence[Wish]) -> list[Wish]:
        """The wishes with what CONFIG GET says now. Raises where a value is not in force."""
        now = self._session.get([wish.name for wish in wishes])
        seen = [wish._replace(after=now.get(wish.name, wish.running)) for wish in wishes]
        for wish in seen:
            if wish.after != wish.running:
                self._note(change(parameter(wish.name), wish.running, wish.after))
        wrong = {
            wish.name: f"it is {real.after!r} after CONFIG SET"
            for wish, real in zip(wishes, seen)
            if not in_force(wish.name, wish.value, real.after) and not in_force(wish.name, wish.after, real.after)
        }
        if wrong:
            told = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
            raise ConfigFailure(f"Not all was kept by the server. {told}", wrong)
        self._result.update(changes=[], diff=[])
        return seen

    def _note(self, made: Change) -> None:
        header = f"{made['what']} of {self._result['address']}"
        self._result["changed"] = True
        self._result["changes"].append(made)
        self._result["diff"].append(diff_of(header, made["before"], made["after"]))

    # -- the configuration file

    def _configuration_file(self) -> ConfigurationFile:
        if self._file is None:
            self._file = read_configuration_file(self._system, self._session, self._pid)
        return self._file

    def rewrite(self, own_names: t.Sequence[str], must: bool) -> None:
        """CONFIG REWRITE where it would change the file and is safe.

        :param must: asked for whatever else differs; what stands in the way is a failure then.
        """
        try:
            self._rewrite(own_names, must)
        except ConfigFailure as failure:
            if must:
                raise
            self._result.update(rewritten=False, rewrite_reason=failure.message, rewrite_refused=True)

    def _rewrite(self, own_names: t.Sequence[str], must: bool) -> None:
        running = self._running_afterwards()
        file = self._configuration_file()
        self._check_rewritable(file, running)
        drift = self._drift(file, running, own_names)
        if not must and (drift.foreign or drift.unknown):
            raise ConfigFailure(describe_refusal(drift, file.path))
        if drift.is_empty:
            self._result["rewrite_reason"] = f"{file.path} has the running values already."
            return
        place = self._place_of(file)
        try:
            before = self._check_losses(place, file, drift)
            if not self._check_mode and not self._send_rewrite(place, before, file.path, drift):
                return
        finally:
            place.close()
        self._result["rewritten"] = True
        self._note_file(file, drift)

    def _place_of(self, file: ConfigurationFile) -> ConfigPlace:
        """What a rewrite would lose can only be known where the file can be read."""
        place = None if self._pid is None or file.lines is None else open_place(self._system, self._pid, file.path)
        if place is None:
            raise ConfigFailure(
                f"What a rewrite would lose can't be seen: {file.problem or file.path + ' can not be read.'} "
                "Run on the server's host, as root or as the server's user."
            )
        return place

    def _check_losses(self, place: ConfigPlace, file: ConfigurationFile, drift: Drift) -> FileState:
        """The file as it is. Raises where a rewrite would lose or open something, whoever asks for it."""
        if self._pid is None:
            raise AssertionError("a file is only looked at where the process is known")
        try:
            if place.is_link():
                raise ConfigFailure(f"{file.path}: {WHY_NO_LINK}")
            state = place.read()
        except OSError as error:
            raise ConfigFailure(f"{file.path} can't be read ({error.strerror or error}).") from None
        others = self._changed_since(drift)
        if others:
            raise ConfigFailure(
                f"Somebody else has set it since: {clean_sentence(others)}. A rewrite would make that permanent."
            )
        started = process_start_unix(self._system, self._pid)
        problem = why_lines_would_change(drift, state, started, self._in_file) or why_file_would_suffer(
            state, server_umask(self._system, self._pid)
        )
        if problem is None and file.problem is not None:
            raise ConfigFailure(file.problem)
        if problem is not None:
            raise ConfigFailure(f"{file.path}: {problem}")
        return state

    def _changed_since(self, drift: Drift) -> list[str]:
        """Our parameters that have another value by now than we gave them."""
        return [
            name
            for name, (_written, running) in drift.own.items()
            if name in self._assumed and not in_force(name, self._assumed[name], running)
        ]

    def _send_rewrite(self, place: ConfigPlace, before: FileState, path: str, drift: Drift) -> bool:
        """Whether the file has changed. Raises, with the old one back in place, where more has than was meant to."""
        self._session.send("CONFIG", "REWRITE")
        allowed = {kind_name(name) for name in (*drift.own, *drift.foreign)}
        try:
            after = place.read()
            lost = lost_lines(before.content, after.content, allowed)
        except OSError as error:
            lost = [f"the file itself ({error.strerror or error})"]
        else:
            if after.content == before.content:
                self._result.update(rewritten=True, rewrite_reason=f"{path} is the same after CONFIG REWRITE.")
                return False
        if not lost:
            return True
        try:
            place.put_back(before)
        except OSError as error:
            raise ConfigFailure(
                f"CONFIG REWRITE has lost or changed what it should not: {clean_sentence(lost)}; and the old file "
                f"could not be put back ({error.strerror or error})."
            ) from None
        raise ConfigFailure(
            f"CONFIG REWRITE would lose or change what it should not: {clean_sentence(lost)}. {path} is as it was."
        )

    def _running_afterwards(self) -> dict[str, str]:
        """All parameters as they run, or would run in check mode after this call and what was to come before it."""
        running = self._session.get_all()
        assumed = {name: value for name, value in self._assumed.items() if name in running and self._check_mode}
        return {**running, **assumed, **self._set}

    def _check_rewritable(self, file: ConfigurationFile, running: t.Mapping[str, str]) -> None:
        if not file.path:
            raise ConfigFailure(str(file.problem))
        problem = why_directory_would_go(running)
        if problem is not None:
            raise ConfigFailure(problem)
        state = read_state(self._system, self._session.run_id)
        if state is not None and running.get(PARAMETER) == UNBLOCKED:
            raise ConfigFailure("An emergency unblock stands: a rewrite would make it permanent.")
        grades = {"dir": grade_place(running.get("dir")), "dbfilename": grade_name(running.get("dbfilename"))}
        for name, grade in grades.items():
            if grade == "strong":
                raise ConfigFailure(f"{name} is {running[name]!r}, which intruders use: a rewrite would keep it.")
        problem = why_not_writable(self._system, self._pid, file.path) if self._pid is not None else None
        if problem is not None:
            raise ConfigFailure(problem)

    def _drift(self, file: ConfigurationFile, running: t.Mapping[str, str], own_names: t.Sequence[str]) -> Drift:
        if file.lines is None:
            return Drift({}, [], [str(file.problem)])
        drift = compare(running, file.lines, own_names)
        if file.problem is not None:
            drift.unknown.append(file.problem)
        if not drift.is_empty:
            drift.foreign.extend(compare_users(self._session, running, file.lines))
            drift.foreign.extend(compare_modules(self._session, file.lines))
        return drift

    def _note_file(self, file: ConfigurationFile, drift: Drift) -> None:
        """Our own lines are shown, of others the names: a value can be a secret."""
        what = configuration_file(file.path)
        self._result["changed"] = True
        self._result["changes"].append(change(what, FILE_BEFORE, FILE_AFTER))
        before = [f"{name} {value[0]}" for name, value in drift.own.items() if value[0] is not None]
        after = [f"{name} {value[1]}" for name, value in drift.own.items()]
        others = [f"{name} (as it runs)" for name in drift.foreign]
        header = f"{what} of {self._result['address']}"
        self._result["diff"].append(
            {
                "before_header": header,
                "after_header": header,
                "before": "".join(f"{line}\n" for line in before),
                "after": "".join(f"{line}\n" for line in [*after, *others]),
            }
        )


def describe_refusal(drift: Drift, path: str) -> str:
    """Why a rewrite that was to keep our changes only is not made."""
    parts = []
    if drift.foreign:
        parts.append(f"More than our changes differs from {path}: {clean_sentence(drift.foreign)}.")
    parts += drift.unknown[:4]
    return " ".join(parts)
