# Recording and libraries on other versions than constraints.txt names; each set in an environment of its own.
RECORDING := $(addprefix tests/integration/test_,fold.py fork.py instance.py recording.py)
PYDANTIC := $(wildcard tests/integration/test_pydantic*.py)
LIBRARIES := $(PYDANTIC) $(addprefix tests/integration/test_,alembic.py jsonschema.py marshmallow.py)
MIGRATIONS := $(addprefix tests/integration/test_,migrate_async.py migrate_dbmate.py migrate_commands.py rehearse.py revision_watch.py)

# The releases of Pydantic whose inner workings differ; from 2.11 on it reuses the validators of nested models.
PYDANTICS := 2.5 2.8 2.11 2

.PHONY: floor newest matrix
floor: .venv-floor/.ready ## recording, libraries and migrations on the oldest supported versions
	.venv-floor/bin/python -m pytest -q -m "not nightly" -W ignore::DeprecationWarning $(RECORDING) $(LIBRARIES) $(MIGRATIONS)

newest: .venv-newest/.ready ## recording on the newest OpenTelemetry SDK there is
	.venv-newest/bin/python -m pytest -q -m "not nightly" $(RECORDING)

matrix: $(PYDANTICS:%=matrix-%) ## Pydantic 2.5, 2.8, 2.11 and the newest there is

matrix-%: .venv-pydantic-%/.ready
	.venv-pydantic-$*/bin/python -m pytest -q -W ignore::DeprecationWarning $(PYDANTIC)

.venv-floor/.ready: EXTRAS = [cli,alembic,dbmate]
.venv-floor/.ready: INSTALL = -c constraints-floor.txt --group floor
.venv-newest/.ready: INSTALL = --upgrade --group recording
.venv-pydantic-%/.ready: INSTALL = 'pydantic == $(@D:.venv-pydantic-%=%).*' --group recording
.venv-floor/.ready: constraints-floor.txt
.venv-floor/.ready .venv-newest/.ready $(PYDANTICS:%=.venv-pydantic-%/.ready): pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --upgrade 'pip >= 25.1'
	$(@D)/bin/python -m pip install -q -e '.$(EXTRAS)' $(INSTALL)
	@touch $@
