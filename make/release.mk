# Supply chain and releases: CONTRIBUTING.md has the checklist.

.PHONY: audit workflows lock dist release-check
audit: .venv-audit/.ready ## known vulnerabilities of what is installed and built (ANSWERS=required: fail where nobody answers)
	.venv-audit/bin/python .ci/audit.py --answers $(or $(ANSWERS),welcome)

workflows: ## the GitHub workflows, by actionlint (needs go)
	go -C .ci/tools tool actionlint $(abspath $(wildcard .github/workflows/*.yml))

lock: .venv-lock/.ready ## write constraints-hashes.txt from constraints.txt
	.venv-lock/bin/uv pip compile constraints.txt -q --universal --python-version 3.10 --no-deps --generate-hashes \
		--no-annotate --no-header --no-emit-index-url -o constraints-hashes.txt

dist: $(READY) ## build sdist and wheel, from the environment's own build tools
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m pytest -q tests/integration/test_wheel.py

release-check: $(READY) ## whether TAG may be released: version, changelog, addresses
	$(BIN)/python .ci/release_check.py $(TAG)

.venv-audit/.ready .venv-lock/.ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --upgrade 'pip >= 25.1'
	$(@D)/bin/python -m pip install -q $(if $(findstring audit,$@),'pip-audit >= 2.9','uv == 0.13.*')
	@touch $@
