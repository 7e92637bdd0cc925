"""Tables of distributions that do not make the application themselves."""

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
"""Distributions, packages and commands, normalised, that run applications which others make."""

COMMANDS = LAUNCHERS | {"bentoml", "fastmcp", "faststream", "mcp"}
"""Commands that run applications which others make. Used as libraries, the four added here make applications too."""

_TOOLS = """
    alembic anthropic apispec boto3 botocore celery connexion django django-ninja djangorestframework docker dramatiq
    fastapi fastapi-cli fastmcp faststream flask flask-marshmallow flask-smorest google-genai httpx huggingface-hub
    hypothesis jsonschema kubernetes langchain langchain-core langsmith litellm litestar logfire marshmallow
    marshmallow-sqlalchemy mcp mistralai openai openapi-core openapi-pydantic opentelemetry-sdk pydantic pydantic-ai
    pydantic-ai-slim pydantic-core pydantic-extra-types pydantic-settings pytest python referencing schemathesis
    sentry-sdk spectree sqladmin sqlmodel starlette strawberry-graphql stripe uvicorn webargs
"""
TOOLS = frozenset(_TOOLS.split())
"""Frameworks and tools, normalised, whose schemas are certainly not the application's."""
