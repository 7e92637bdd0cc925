# Dashboards, rules and Alertmanager's config: all of them are written by `make dashboards` and checked by `make dashboards-check`.

.PHONY: dashboards dashboards-check dashboards-pictures
dashboards: $(READY) ## write dashboards and rules from their sources
	$(BIN)/python -m dashboards.generate

dashboards-check: $(READY) ## dashboards, alerts, routes and runbooks, with real Prometheus tools
	$(BIN)/python -m dashboards.generate --check
	PYTHONPATH=examples/leads_api $(BIN)/python -m dashboards.pictures.draw --check
	$(BIN)/python -m pytest -q -m "not nightly" tests/dashboards
	$(BIN)/python -m tests.dashboards.mutations

dashboards-pictures: $(READY) ## draw the dashboards with live data (node, Chromium, Prometheus, Alertmanager)
	cd dashboards/pictures && npm ci --silent --no-audit --no-fund --ignore-scripts
	PYTHONPATH=examples/leads_api $(BIN)/python -m dashboards.pictures.draw
