"""Tables of distributions that say nothing of whose the application is."""

from __future__ import annotations

_LAUNCHERS = """
    arq asgiref awslambdaric azure-functions billiard celery circus circusd coverage daphne ddtrace debugpy django
    django-admin dotenv dramatiq fastapi fastapi-cli flask functions-framework granian gunicorn hatch honcho huey hupper
    hypercorn ipykernel ipython jupyter kombu mangum manage newrelic newrelic-admin nox opentelemetry-bootstrap
    opentelemetry-distro opentelemetry-instrument opentelemetry-instrumentation otel-schema pdm pip pipenv pipx poetry
    pytest python python-dotenv rq rqworker serverless-wsgi supervisor supervisord taskiq tox uv uvicorn uwsgi waitress
    waitress-serve watchdog watchfiles watchmedo zappa
"""
LAUNCHERS = frozenset(_LAUNCHERS.split())
"""Distributions, packages and commands, normalised, that run what others made."""

COMMANDS = LAUNCHERS | {"bentoml", "fastmcp", "faststream", "mcp"}
"""Commands that run what others made; as libraries, these make applications on others' behalf."""

_TOOLS = """
    alembic anthropic apispec boto3 botocore celery connexion django django-ninja djangorestframework docker dramatiq
    fastapi fastapi-cli fastmcp faststream flask flask-marshmallow flask-smorest google-genai httpx huggingface-hub
    hypothesis jsonschema kubernetes langchain langchain-core langsmith litellm litestar logfire marshmallow
    marshmallow-sqlalchemy mcp mistralai openai openapi-core openapi-pydantic opentelemetry-sdk pydantic pydantic-ai
    pydantic-ai-slim pydantic-core pydantic-extra-types pydantic-settings pytest python referencing schemathesis
    sentry-sdk spectree sqladmin sqlmodel starlette strawberry-graphql stripe uvicorn webargs
"""
TOOLS = frozenset(_TOOLS.split())
"""Frameworks and tools, normalised: nobody takes their schemas for the application's."""
