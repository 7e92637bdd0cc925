# The site of the documentation, and its pages that are written from the code.

.PHONY: docs docs-pages
docs: .venv-docs/.ready ## build the documentation's site, strictly: build/site (SERVE=1: serve it on loopback)
	.venv-docs/bin/python -m mkdocs $(if $(SERVE),serve --dev-addr 127.0.0.1:8765,build --quiet)

docs-pages: $(READY) ## write docs/reference from the commands' help and the rules
	$(BIN)/python -m tests.docs.reference

.venv-docs/.ready: pyproject.toml constraints-docs.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --upgrade 'pip >= 25.1'
	$(@D)/bin/python -m pip install -q -c constraints-docs.txt --group docs
	@touch $@
