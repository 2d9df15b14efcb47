# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of modules says what the code takes, and what a real run on a real server returns."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from throwaway_server import Server, choose_account, make_work_directory

REPOSITORY = Path(__file__).resolve().parent.parent.parent
COLLECTION = "redisops.persistence"
MODULES = sorted(path.stem for path in (REPOSITORY / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
TOOLS = Path(sys.executable).parent

# What Ansible itself adds to a result.
ADDED_BY_ANSIBLE = {"changed", "failed", "invocation", "warnings", "deprecations", "exception", "msg", "_ansible_facts"}
# What each module is run with. {port} and {pid} become the throwaway server's.
RUNS: dict[str, dict[str, t.Any]] = {
    "redis_persistence_info": {"instances": [{"login_port": "{port}"}]},
    "redis_host_info": {"instances": [{"login_port": "{port}"}]},
    "redis_diagnosis_info": {"instances": [{"login_port": "{port}"}], "return_evidence": True},
    "redis_bgsave": {"login_port": "{port}"},
    # What these are asked for is so already.
    "kernel_setting": {"name": "vm.overcommit_memory", "value": "1", "boot": "unchanged", "running": False},
    "process_limit": {"pid": "{pid}", "resource": "fsize", "value": "unlimited"},
    "cgroup_limit": {"pid": "{pid}", "controller": "pids", "path": "/", "value": "unlimited"},
    "redis_config": {"login_port": "{port}", "parameters": {"maxmemory": "1gb"}, "rewrite": "if_only_drift"},
    "redis_emergency_unblock": {"login_port": "{port}", "seconds": 30},
    "redis_data_directory": {
        "pid": "{pid}",
        "path": "{data}",
        "mode": "0711",
        "allowed_dirs": ["{data}"],
        "accept": ["untrusted_server"],
    },
    "redis_temp_files": {
        "pid": "{pid}",
        "path": "{data}",
        "names": ["temp-1.rdb", "no temporary file"],
        "allowed_dirs": ["{data}"],
        "accept": ["untrusted_server"],
    },
    "remediation_lock": {"run_id": "documentation", "state": "released"},
    "redis_rescue": {"login_port": "{port}", "directory": "{scratch}"},
    # Refused: nothing runs this server as a service.
    "redis_restart": {"login_port": "{port}", "pid": "{pid}", "unit": "none.service", "directory": "{data}"},
    # With --tags plan nothing will be done, so that no record is needed.
    "remediation_plan": {
        "instances": [{"login_port": "{port}"}],
        "policy": {"run_tags": ["plan"], "allowed_dirs": ["/tmp/*", "/var/tmp/*"]},
    },
    "remediation_rollback": {"record_dir": "/nonexistent"},
}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    # An integer or "unlimited", an integer or a fraction.
    "raw": (str, int, float, bool, list, dict),
}


def run_tool(arguments: list[str], **more: t.Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TOOLS / arguments[0]), *arguments[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, t.Any]]:
    """What ansible-doc knows of each module, its fragments merged: {module: {doc, examples, return}}."""
    names = [f"{COLLECTION}.{module}" for module in MODULES]
    result = run_tool(["ansible-doc", "--json", "--type", "module", *names])
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    return {module: found[f"{COLLECTION}.{module}"] for module in MODULES}


class Captured(BaseException):
    """Carries the arguments of the AnsibleModule that a module was about to make."""

    def __init__(self, arguments: dict[str, t.Any]) -> None:
        super().__init__()
        self.arguments = arguments


def module_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """The arguments with which a module makes its AnsibleModule; {} where it only documents an action plugin."""
    module = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{name}")
    if not hasattr(module, "AnsibleModule"):
        return {}

    def capture(**arguments: t.Any) -> t.NoReturn:
        raise Captured(arguments)

    monkeypatch.setattr(module, "AnsibleModule", capture)
    with pytest.raises(Captured) as caught:
        module.main()
    return caught.value.arguments


def coded_options(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """The options in the code: the module's, or those of the action plugin that it only documents."""
    arguments = module_arguments(name, monkeypatch)
    if arguments:
        return dict(arguments["argument_spec"])
    action = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.action.{name}")
    return dict(action.OPTIONS)


def plain_option(option: dict[str, t.Any], suboptions: str) -> dict[str, t.Any]:
    """An option reduced to what documentation and code must agree on."""
    plain = {
        "type": option.get("type", "str"),
        "elements": option.get("elements"),
        "required": bool(option.get("required", False)),
        "default": option.get("default"),
        "choices": sorted(option["choices"]) if option.get("choices") else None,
        "options": None,
    }
    if option.get(suboptions):
        plain["options"] = {key: plain_option(value, suboptions) for key, value in option[suboptions].items()}
    return plain


@pytest.mark.parametrize("name", MODULES)
def test_documented_options_are_those_of_the_code(
    name: str, documents: dict[str, dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = coded_options(name, monkeypatch)
    documented = documents[name]["doc"].get("options", {})
    assert {key: plain_option(value, "suboptions") for key, value in documented.items()} == {
        key: plain_option(value, "options") for key, value in coded.items()
    }


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith("_info")])
def test_info_modules_run_in_check_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module_arguments(name, monkeypatch)["supports_check_mode"] is True


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_playbooks(name: str, documents: dict[str, dict[str, t.Any]], tmp_path: Path) -> None:
    examples = yaml.safe_load(documents[name]["examples"])
    assert isinstance(examples, list) and examples
    is_plays = all("hosts" in entry for entry in examples)
    assert any(f"{COLLECTION}.{name}" in json.dumps(entry, default=str) for entry in examples)
    playbook = tmp_path / "examples.yml"
    playbook.write_text(
        yaml.safe_dump(examples if is_plays else [{"hosts": "all", "gather_facts": False, "tasks": examples}])
    )
    result = run_tool(["ansible-playbook", "--syntax-check", "-i", "localhost,", str(playbook)])
    assert result.returncode == 0, result.stdout + result.stderr


def undocumented_and_missing(
    value: t.Any, described: dict[str, t.Any], where: str, problems: list[str], extra: t.Collection[str] = ()
) -> None:
    """Compare a dict with the RETURN entries of its keys, to the leaves."""
    for key in sorted(set(value) - set(described) - set(extra)):
        problems.append(f"{where}{key}: returned, and not documented")
    for key, entry in described.items():
        if key not in value:
            if entry.get("returned") == "always":
                problems.append(f"{where}{key}: documented as always returned, and absent")
            continue
        check_value(value[key], entry, f"{where}{key}", problems)


def check_value(value: t.Any, entry: dict[str, t.Any], where: str, problems: list[str]) -> None:
    """One value against its RETURN entry. ``null`` is "unknown", and allowed everywhere."""
    if value is None:
        return
    kind = entry.get("type", "str")
    is_number_for_bool = isinstance(value, bool) and kind in ("int", "float")
    if not isinstance(value, PYTHON_TYPES[kind]) or is_number_for_bool:
        problems.append(f"{where}: documented as {kind}, and is {type(value).__name__}")
        return
    contains = entry.get("contains")
    if isinstance(value, dict) and contains:
        undocumented_and_missing(value, contains, f"{where}.", problems)
    elif isinstance(value, list):
        for number, element in enumerate(value):
            if isinstance(element, dict) and contains:
                undocumented_and_missing(element, contains, f"{where}[{number}].", problems)
            elif element is not None and "elements" in entry:
                if not isinstance(element, PYTHON_TYPES[entry["elements"]]):
                    problems.append(f"{where}[{number}]: documented as {entry['elements']}: {element!r}")
            elif "elements" not in entry:
                problems.append(f"{where}: a list, and its elements are not documented")


def fill_in(value: t.Any, places: dict[str, t.Any]) -> t.Any:
    if isinstance(value, dict):
        return {key: fill_in(entry, places) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill_in(entry, places) for entry in value]
    return places.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def results() -> t.Iterator[dict[str, dict[str, t.Any]]]:
    """What each module returns for a throwaway server whose last save failed: {module: result}."""
    directory = make_work_directory("documentation")
    server = Server(directory, choose_account())
    try:
        server.start()
        server.client.mset({f"key:{number}": "value" for number in range(100)})
        server.save()
        server.break_saves()
        server.save()
        places = {"{port}": server.port, "{pid}": server.pid, "{data}": str(server.data)}
        places["{scratch}"] = str(directory / "scratch")
        tasks: list[dict[str, t.Any]] = []
        for module in sorted(set(RUNS) & set(MODULES)):
            tasks.append(
                {
                    "name": f"Run {module}",
                    f"{COLLECTION}.{module}": fill_in(RUNS[module], places),
                    "register": f"result_{module}",
                    # A save that fails is what redis_bgsave is to report here.
                    "ignore_errors": True,
                }
            )
            tasks.append(
                {
                    "name": f"Keep what {module} returned",
                    "ansible.builtin.copy": {
                        "content": f"{{{{ result_{module} | to_json }}}}",
                        "dest": str(directory / f"{module}.json"),
                    },
                }
            )
        playbook = directory / "run.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        # As JSON: the checkout's path may have blanks.
        interpreter = json.dumps({"ansible_python_interpreter": sys.executable})
        result = run_tool(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", interpreter, str(playbook)],
            env=dict(os.environ, ANSIBLE_HOME=str(directory / "ansible")),
        )
        assert result.returncode == 0, result.stdout + result.stderr
        yield {
            module: json.loads((directory / f"{module}.json").read_text())
            for module in sorted(set(RUNS) & set(MODULES))
        }
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_real_run_returns_what_is_documented(
    name: str, documents: dict[str, dict[str, t.Any]], results: dict[str, dict[str, t.Any]]
) -> None:
    described = documents[name]["return"] or {}
    assert described, "nothing is documented as returned"
    problems: list[str] = []
    undocumented_and_missing(results[name], described, "", problems, ADDED_BY_ANSIBLE)
    assert problems == []


@pytest.mark.parametrize("name", MODULES)
def test_every_return_value_is_described(name: str, documents: dict[str, dict[str, t.Any]]) -> None:
    def check(entries: dict[str, t.Any], where: str) -> list[str]:
        problems = []
        for key, entry in entries.items():
            if not entry.get("description"):
                problems.append(f"{where}{key}: no description")
            if entry.get("type") == "list" and not entry.get("elements"):
                problems.append(f"{where}{key}: a list of what?")
            problems += check(entry.get("contains") or {}, f"{where}{key}.")
        return problems

    described = documents[name]["return"] or {}
    assert described
    assert check(described, "") == []


def test_every_module_of_the_action_group_takes_connection_options(documents: dict[str, dict[str, t.Any]]) -> None:
    runtime = yaml.safe_load((REPOSITORY / "meta" / "runtime.yml").read_text())
    group = set(runtime["action_groups"]["redis"])
    assert group <= set(MODULES)
    takes_connection = {name for name in MODULES if "login_password" in documents[name]["doc"].get("options", {})}
    assert takes_connection <= group, "modules with login_* options that module_defaults would not reach"
    for name in sorted(group):
        options = documents[name]["doc"]["options"]
        assert "login_password" in options or "instances" in options
        assert "action_group" in documents[name]["doc"].get("attributes", {})


def test_an_entry_of_instances_is_described_as_the_options_of_one_server() -> None:
    fragment = importlib.import_module(
        f"ansible_collections.{COLLECTION}.plugins.doc_fragments.redis"
    ).ModuleDocFragment
    options = yaml.safe_load(fragment.DOCUMENTATION)["options"]
    entry = yaml.safe_load(fragment.INSTANCES)["options"]["instances"]["suboptions"]
    plain = json.loads(json.dumps(entry).replace("O(instances[].", "O("))
    assert plain == options


def test_every_link_between_documents_leads_somewhere() -> None:
    problems = []
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("tests/*/*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            file, _hash, anchor = target.partition("#")
            if "://" in file:
                continue
            destination = (path.parent / file).resolve() if file else path
            if not destination.exists():
                problems.append(f"{path.relative_to(REPOSITORY)}: {target}")
            elif anchor and anchor not in anchors(destination.read_text()):
                problems.append(f"{path.relative_to(REPOSITORY)}: {target} (no such heading)")
    assert problems == []


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as the usual hosts make them, and those set by hand."""
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(words.replace(" ", "-"))
    return found
