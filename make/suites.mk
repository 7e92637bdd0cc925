# The libraries' own test suites, plain and with us on. Source distributions and environments are kept outside of the repository.

.PHONY: suites
suites: $(READY) ## the libraries' own test suites, plain and with us on: no test may newly fail (SUITES="flask alembic", SUBSET=1)
	$(BIN)/python tests/suites/run.py $(if $(SUBSET),--subset) $(SUITES)
