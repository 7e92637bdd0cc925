"""Tasks: Django Ninja, in one file.

    pip install "opentelemetry-instrumentation-schema[quickstart]" django-ninja uvicorn
    export DJANGO_SETTINGS_MODULE=app OTEL_METRICS_EXPORTER=prometheus OTEL_TRACES_EXPORTER=none
    opentelemetry-instrument uvicorn app:application
    curl -X POST localhost:8000/api/tasks -d '{"title": ""}'
    curl -s localhost:9464/metrics | grep body.task

This module is also Django's settings module. Set `DJANGO_SETTINGS_MODULE` in the environment: opentelemetry-instrument
looks for it before this file runs.
"""

from __future__ import annotations

import os

# -- settings
SECRET_KEY = "of an example, signs nothing"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
ROOT_URLCONF = "urls"
USE_TZ = True

if os.environ.get("DJANGO_SETTINGS_MODULE") == __name__:
    from django.core.asgi import get_asgi_application

    application = get_asgi_application()
