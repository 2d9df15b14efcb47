# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prepare_ansible_test.py HOME: make a home directory in which ansible-test needs nothing but pip's index.

Two things stand in its way on a closed network:

* It fetches a bootstrap script for pip from a site of its own. Where that script lies in its cache already, it
  doesn't; so a stand-in is put there that does the same with the pip that Python carries.
* It drops the environment, ``PIP_*`` with it. So pip's settings as they are here are written into the
  configuration file of that home.

Run with the Python of the environment that has ansible-test.
"""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

BOOTSTRAP = '''\
"""Install pip into an empty environment from the wheel that Python carries, then at the version asked for."""

import ensurepip
import os
import runpy
import sys

packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
saved = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
ensurepip.bootstrap(upgrade=True)
# ensurepip shuts pip off from its settings, and with them from its index and its certificates.
os.environ.pop("PIP_CONFIG_FILE", None)
os.environ.update(saved)
sys.argv = ["pip", "install"] + packages
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def pip_versions() -> list[str]:
    """The versions of pip that the installed ansible-test may ask for."""
    spec = importlib.util.find_spec("ansible_test")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("ansible-test is not installed for this Python")
    text = Path(spec.submodule_search_locations[0], "_internal", "python_requirements.py").read_text(encoding="utf-8")
    found = sorted(set(re.findall(r"""\bpip=['"]([0-9.]+)['"]""", text)))
    if not found:
        raise SystemExit("ansible-test no longer names its pip where this script looks: see python_requirements.py")
    return found


def pip_settings() -> dict[str, dict[str, str]]:
    """pip's settings in force by section; one from the environment replaces one of a file."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    settings: dict[str, dict[str, str]] = {}
    from_environment: dict[str, str] = {}
    for line in listing.splitlines():
        name, separator, value = line.partition("=")
        if not separator:
            continue
        section, _dot, key = name.partition(".")
        if section == ":env:":
            from_environment[key] = ast.literal_eval(value)
        else:
            settings.setdefault(section, {})[key] = ast.literal_eval(value)
    settings.setdefault("global", {}).update(from_environment)
    # Errors only: the output is that of the checks.
    settings["global"]["quiet"] = "2"
    return settings


def write_settings(path: Path, settings: dict[str, dict[str, str]]) -> None:
    """Write pip's configuration file; only its owner may read it, for an index may need a password."""
    parser = configparser.RawConfigParser()
    for section, values in settings.items():
        parser[section] = {key: value.replace("\n", "\n    ") for key, value in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8") as handle:
        parser.write(handle)


def main() -> None:
    home = Path(sys.argv[1]).resolve()
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in pip_versions():
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP, encoding="utf-8")
    write_settings(home / ".config" / "pip" / "pip.conf", pip_settings())


if __name__ == "__main__":
    main()
