# Needs python3 (3.10 or newer) and make; everything else comes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test check floor newest nightly clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## the example app with real traffic and what its telemetry says of it (KEEP=1 stays up)
	@PYTHONPATH=examples/leads_api $(BIN)/python examples/leads_api/demo.py

test: $(READY) ## all tests but the nightly ones
	$(BIN)/python -m pytest -q -m "not nightly"

check: $(READY) ## ruff, pyright, codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell

RECORDING := $(wildcard tests/integration/test_fold.py tests/integration/test_fork.py tests/integration/test_recording.py)
LIBRARIES := $(wildcard $(foreach name,pydantic jsonschema marshmallow,tests/integration/test_$(name).py))
floor: .venv-floor/.ready ## recording and libraries on the oldest supported versions
	.venv-floor/bin/python -m pytest -q -m "not nightly" -W ignore::DeprecationWarning $(RECORDING) $(LIBRARIES)

newest: .venv-newest/.ready ## recording on the newest OpenTelemetry SDK there is
	.venv-newest/bin/python -m pytest -q -m "not nightly" $(RECORDING)

.venv-floor/.ready: pyproject.toml constraints-floor.txt
	$(PYTHON) -m venv .venv-floor
	.venv-floor/bin/python -m pip install -q --upgrade 'pip >= 25.1'
	.venv-floor/bin/python -m pip install -q -c constraints-floor.txt -e . --group floor
	@touch $@

.venv-newest/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install -q --upgrade 'pip >= 25.1'
	.venv-newest/bin/python -m pip install -q --upgrade -e . --group floor
	@touch $@

nightly: $(READY) ## every test, also those too long for each change
	$(BIN)/python -m pytest -q
	$(MAKE) suites dashboards-pictures

clean: ## remove the environment, caches and builds
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(READY) ## the environment of all of the above

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is older than 3.10: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@# Debian ships venv without ensurepip, in a package of its own
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		if [ -e /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
			apt-get update -qq && apt-get install -y -qq python3-venv; \
		else \
			echo "$(PYTHON) has no venv; on Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2; exit 2; \
		fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade 'pip >= 25.1'
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[cli,quickstart,alembic]' --group test --group check
	@touch $@

-include make/*.mk
