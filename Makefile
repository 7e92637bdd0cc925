# Needs python3 (3.10 or newer) and make; everything else comes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-failed check coverage nightly clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## the example app with real traffic and what its telemetry says of it (KEEP=1 stays up)
	@PYTHONPATH=examples/leads_api $(BIN)/python examples/leads_api/demo.py

# Many tests wait for a server: more of them than there are cores. What shares a server is in one file.
PARALLEL = -n 4 --dist loadfile --no-loadscope-reorder
test: $(READY) ## all tests but the nightly ones
	$(BIN)/python -m pytest -q -m "not nightly" $(PARALLEL)

test-failed: $(READY) ## the tests that failed in the last run, one at a time
	$(BIN)/python -m pytest -q -m "not nightly" --last-failed --last-failed-no-failures none

check: $(READY) ## ruff, pyright, codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m tests.typing.complete
	$(BIN)/codespell

coverage: $(READY) ## which branches of the package `make test` runs, also in the processes that it starts
	$(BIN)/python -m pip install -q -c constraints.txt coverage
	$(BIN)/python -m coverage erase
	-$(BIN)/python -m coverage run -m pytest -q -m "not nightly" $(PARALLEL)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --sort=cover

nightly: $(READY) ## every test, also those too long for each change
	$(BIN)/python -m pytest -q --hypothesis-profile=nightly
	$(MAKE) suites dashboards-pictures matrix coexistence workflows audit

clean: ## remove the environment, caches and builds
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(READY) ## the environment of all of the above

ENVIRONMENT = '.[cli,quickstart,alembic,dbmate]' --group test --group check
$(READY): pyproject.toml constraints.txt constraints-hashes.txt
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
ifdef CI # every file by its hash, and then nothing more
	$(BIN)/python -m pip install -q --require-hashes --no-deps -r constraints-hashes.txt
	$(BIN)/python -m pip uninstall -q -y logfire logfire-sdk  # for `make bench` alone: its Pydantic plug-in would take part in every test
	$(BIN)/python -m pip install -q --no-index --no-build-isolation -e $(ENVIRONMENT)
else
	$(BIN)/python -m pip install -q --upgrade 'pip >= 25.1'
	@echo "installing what constraints.txt names: a minute or two"
	$(BIN)/python -m pip install -q -c constraints.txt -e $(ENVIRONMENT)
endif
	@touch $@

-include make/*.mk
