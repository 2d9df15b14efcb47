# Copyright (c) 2026, redisops.persistence contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything that a target installs goes into .cache, except for Debian packages (make test, as root).
# PYTHON=/path/to/python3 chooses the Python. TESTS="tests/unit -k fork" chooses tests.

TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help demo test campaign fleet lint perf clean

help:
	@echo "make demo    break a throwaway server's saves and watch one playbook find out why, and the other put it right (a minute)"
	@echo "make test    all tests, installing what they need; as root the lab too, with real faults"
	@echo "make campaign   every way to do harm on every kind of server, and 50 random combinations of faults; root, half an hour"
	@echo "make fleet   real systemd hosts over SSH (Debian 13 in containers); root, minutes"
	@echo "make lint    every check that needs no server: style, types, ansible-lint, ansible-test sanity, packaging"
	@echo "make perf    what a diagnosis costs over SSH, against a ping and the quick checks as shell tasks"
	@echo "make clean   remove .cache and what tests left behind"

demo:
	@tests/demo/run

test:
	@tests/tools/packages
	@tests/tools/run-tests $(TESTS)

campaign:
	@tests/tools/packages
	@tests/tools/run-tests tests/lab/test_harm*.py tests/lab/test_remediate_combinations.py --campaign --combinations 50

fleet:
	@tests/tools/packages fleet
	@tests/tools/run-tests tests/fleet

lint:
	@tests/tools/lint

perf:
	@tests/tools/packages
	@tests/perf/run

clean:
	rm -rf .cache .ansible tests/output .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
