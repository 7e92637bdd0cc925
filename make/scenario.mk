# The whole story, replayed with the real programs: docs/scenario.md.

.PHONY: scenario
scenario: $(READY) ## an update, its incident, the alerts, the rollback (FAST=1: ten times faster; ACTS=1,1b,2,3; LIMIT=seconds)
	@PYTHONPATH=examples/leads_api:examples $(BIN)/python -m scenario \
		$(if $(FAST),--fast) $(if $(ACTS),--acts=$(ACTS)) $(if $(LIMIT),--limit $(LIMIT)) $(if $(BREAK),--break $(BREAK)) --out build/scenario
