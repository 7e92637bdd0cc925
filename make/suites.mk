# The source distributions, and what their tests need, are kept outside of the repository.

.PHONY: suites
suites: $(READY) ## the libraries' own tests, plain and with us on: none may newly fail (SUBSET=1, SUITES="flask alembic")
	$(BIN)/python tests/suites/run.py $(if $(SUBSET),--subset) $(SUITES)
