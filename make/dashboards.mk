# Dashboards, rules and Alertmanager's config: all of them are written by `make dashboards` and checked by `make dashboards-check`.
DASHBOARDS_READY := $(VENV)/.ready-dashboards

.PHONY: dashboards dashboards-check dashboards-pictures
dashboards: $(DASHBOARDS_READY) ## write dashboards and rules from their sources
	$(BIN)/python dashboards/build.py

dashboards-check: $(DASHBOARDS_READY) ## dashboards, alerts, routes and runbooks, with real Prometheus tools
	$(BIN)/python dashboards/build.py --check
	$(BIN)/python dashboards/pictures/draw.py --check
	$(BIN)/python -m pytest -q -m "not nightly" tests/dashboards
	$(BIN)/python tests/dashboards/mutations.py

dashboards-pictures: $(DASHBOARDS_READY) ## draw the dashboards with live data (node, Chromium, Prometheus, Alertmanager)
	cd dashboards/pictures && npm ci --silent --no-audit --no-fund --ignore-scripts
	$(BIN)/python dashboards/pictures/draw.py

$(DASHBOARDS_READY): $(READY) pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt --group dashboards
	@touch $@
