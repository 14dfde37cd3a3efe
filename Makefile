# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0

# Debian's own Python where there is one; another python3 may stand before it in PATH.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
# The lab makes network namespaces and starts guests: that takes root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

CODE := $(wildcard app workers lab migrations bench tests docs)
LINTED := $(CODE) $(wildcard rolls) .ci/fresh
FAST := $(wildcard tests/unit tests/ops tests/property tests/repo)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv setup lab-setup check format-check lint types imports fast docs test test-machines demo demo-down format lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.ready ## make the virtual environment .venv from the lock file

$(VENV)/.locked: requirements-dev.txt
	@.ci/setup .ci/packages.txt
	@echo "venv: installing the locked packages into $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.locked setup.cfg pyproject.toml
	@$(BIN)/python -m pip install -q --no-build-isolation --no-deps --no-index -e .
	@touch $@

setup: ## install the Debian packages that the tests and the lab need, if they lack
	@.ci/setup .ci/packages.txt tests/packages.txt lab/packages.txt

check: venv format-check lint types imports fast docs ## format, lint, types, imports, fast tests, docs: about a minute

format-check: venv
	@$(BIN)/ruff format --check -q $(LINTED) || { echo "run: make format"; exit 1; }

lint: venv
	@$(BIN)/ruff check -q $(LINTED)

types: venv
	@$(BIN)/mypy --no-error-summary $(filter-out docs,$(CODE))

imports: venv
	@$(BIN)/lint-imports --no-logo --config setup.cfg --no-cache

fast: venv
	@$(BIN)/pytest -q $(FAST)

docs: venv
	@$(BIN)/sphinx-build -q -W --keep-going -d .cache/doctrees -b html docs docs/_build/html

# Two processes, each with hosts of its own: the tests wait for guests more than they compute. A file's tests stay in
# one of them, so that no two build the same image into the builders' cache.
test: setup venv format-check lint types imports docs ## everything, on SQLite and PostgreSQL, with the lab's hosts
	@$(AS_ROOT) $(BIN)/pytest -o cache_dir=.cache/pytest-root --ignore=tests/machines \
	  -n 2 --dist loadfile --no-loadscope-reorder --durations=40 --durations-min=10

test-machines: setup venv ## the tests on machine hosts: 802.1Q, LVM, Xen on kernels that have them
	@$(AS_ROOT) $(BIN)/pytest -o cache_dir=.cache/pytest-root --durations=40 --durations-min=10 tests/machines

lab-setup:
	@.ci/setup .ci/packages.txt lab/packages.txt

demo: lab-setup venv ## a whole virtual cluster on this machine, from the booking to the login
	@$(AS_ROOT) $(BIN)/python -m lab.demo up

demo-down: venv ## end the demo's reservation, then remove the lab
	@$(AS_ROOT) $(BIN)/python -m lab.demo down

bench-%: setup venv ## one bench of bench/, for instance: make bench-fanout
	@$(AS_ROOT) $(BIN)/python -m bench.$*

format: venv ## let ruff format and mend what it can
	@$(BIN)/ruff check -q --fix-only $(LINTED)
	@$(BIN)/ruff format -q $(LINTED)

lock: ## write the lock files anew from requirements.in and requirements-dev.in
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/python -m pip install -q uv
	@for name in requirements requirements-dev; do \
	  .cache/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-build \
	    --custom-compile-command 'make lock' $$name.in -o $$name.txt || exit 1; done

clean: ## remove what make made: the environment, caches, built docs (not var/)
	@$(AS_ROOT) rm -rf $(VENV) .cache docs/_build *.egg-info .ruff_cache .mypy_cache .pytest_cache
