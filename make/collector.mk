# The pipeline's binaries, built once from Go modules and kept under ~/.cache/otelcol-schema: each target prints the path.
VENV ?= .venv
BUILD = $(VENV)/bin/python collector-config/distribution/build.py

CHAOS = chaos start gateways remote_write jaeger

.PHONY: pipeline collector jaeger prometheus3 chaos
collector: $(READY) ## the collector (DISTRIBUTION=full: with what else an operator may want)
	@$(BUILD) $(or $(DISTRIBUTION),small)

jaeger: $(READY) ## Jaeger v2
	@$(BUILD) jaeger

prometheus3: $(READY) ## Prometheus 3, which takes OTLP
	@$(BUILD) prometheus3

pipeline: $(READY) ## the example through the real collector, Prometheus, Alertmanager and Jaeger (STORE=sink, KEEP=0)
	@PYTHONPATH=examples/leads_api $(VENV)/bin/python examples/leads_api/pipeline.py \
		--store $(or $(STORE),jaeger) $(if $(filter 0,$(KEEP)),--end)

chaos: $(READY) ## kill, fill and cut off every part of the pipeline, and count what is lost
	$(VENV)/bin/python -m pytest -q $(PARALLEL) $(CHAOS:%=tests/pipeline/test_%.py)
