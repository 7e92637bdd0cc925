# Benchmarks. Times depend on the machine, so no test asserts any: `bench-check` compares ratios within one run.

.PHONY: bench bench-hooks bench-load bench-check bench-baseline coexistence
bench: .venv-bench/.ready ## what it costs, side by side: docs/performance.md (ONLY=word: some rows; valgrind: instructions)
	.venv-bench/bin/python -m tests.benchmarks.bench $(if $(ONLY),--only '$(ONLY)')

bench-hooks: $(READY) ## git commit with our hook and with an empty one, at 50, 500 and 5,000 migrations
	$(BIN)/python -m tests.benchmarks.git_hooks

bench-load: .venv-bench/.ready ## requests a second of a FastAPI app, plain and ours in turn (needs wrk)
	.venv-bench/bin/python -m tests.benchmarks.load

bench-check: $(READY) ## what a validation adds, in SDK records, against the committed baseline
	$(BIN)/python -m tests.benchmarks.check

bench-baseline: $(READY) ## measure that baseline anew
	$(BIN)/python -m tests.benchmarks.check --update

coexistence: .venv-bench/.ready ## beside logfire, whose plug-in would be in every test of the other environment
	.venv-bench/bin/python -m pip install -q -c constraints.txt -e '.[cli,quickstart]' --group test
	.venv-bench/bin/python -m pytest -q tests/integration/test_coexistence.py -k Logfire

.venv-bench/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q --upgrade 'pip >= 25.1'
	.venv-bench/bin/python -m pip install -q -c constraints.txt -e . --group bench
	@touch $@
