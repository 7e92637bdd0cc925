# The whole story, replayed with the real programs: docs/scenario.md.

.PHONY: scenario
scenario: $(READY) ## an update, its incident, the alerts, the rollback (FAST=1: ten times faster; options: docs/scenario.md)
	@PYTHONPATH=examples/leads_api:examples $(BIN)/python -m scenario \
		$(if $(FAST),--fast) $(if $(ACTS),--acts=$(ACTS)) $(if $(LIMIT),--limit $(LIMIT)) $(if $(BREAK),--break $(BREAK)) \
		$(if $(STORE),--store $(STORE)) --out build/scenario
