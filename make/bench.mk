# Benchmarks. Times depend on the machine, so no test asserts any: `bench-check` compares ratios within one run.

.PHONY: bench bench-check bench-baseline
bench: $(VENV)/.bench ## what it costs, side by side: docs/performance.md (valgrind: instructions too)
	$(BIN)/python tests/benchmarks/bench.py $(if $(ONLY),--only '$(ONLY)')

bench-check: $(READY) ## what a validation adds, in SDK records, against the committed baseline
	$(BIN)/python tests/benchmarks/check.py

bench-baseline: $(READY) ## measure that baseline anew
	$(BIN)/python tests/benchmarks/check.py --update

$(VENV)/.bench: $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt --group bench
	@touch $@
