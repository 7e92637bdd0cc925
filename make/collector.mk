# The pipeline's binaries, built once from Go modules and kept under ~/.cache/otelcol-schema. Each target prints the path.
VENV ?= .venv
BUILD := $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,python3) collector-config/distribution/build.py

.PHONY: collector jaeger prometheus3
collector: ## build the collector (DISTRIBUTION=full for what an operator may want beside)
	@$(BUILD) $(or $(DISTRIBUTION),small)
jaeger: ## build Jaeger v2
	@$(BUILD) jaeger
prometheus3: ## build Prometheus 3
	@$(BUILD) prometheus3
