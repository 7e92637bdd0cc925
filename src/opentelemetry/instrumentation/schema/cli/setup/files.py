"""What is written for a project: variables, where it runs, collector, rules and dashboards, a CI step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..._monitoring.rendering import configs
from ..._monitoring.rendering import files as monitoring
from ..._monitoring.values import check_values
from .found import FoundProject

FOLDER: Final = "otel"
"""Everything is written below it, but for the CI step."""

_PACKAGES: Final = "opentelemetry-instrumentation-schema[quickstart]"
_COLLECTOR: Final = "otel/opentelemetry-collector-contrib:0.159.0"
_PROMETHEUS: Final = "prom/prometheus:v3.14.0"
_GRAFANA: Final = "grafana/grafana:13.1.3"
ONE_PROCESS: Final = {
    "OTEL_METRICS_EXPORTER": "prometheus",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
"""What shows the numbers of one process at its own `/metrics`, without a collector."""

_TARGETS: Final = re.compile(r'^( +static_configs: \[\{targets: \["[\d.:]+"\])(?=\}\])', re.MULTILINE)
_DASHBOARDS: Final = """\
apiVersion: 1
providers:
  - {name: schema, folder: Schema, type: file, options: {path: /etc/grafana/schema}}
"""
_SOURCES: Final = """\
apiVersion: 1
datasources:
  - {name: Prometheus, uid: prometheus, type: prometheus, url: "http://127.0.0.1:9090", isDefault: true}
"""


@dataclass(frozen=True)
class Answers:
    """What was asked.

    Attributes:
        service: `service.name`.
        where: `bare`, `compose` or `kubernetes`.
        several: Whether the server starts several processes.
        environment: Goes into `deployment.environment.name` and into the queries of rules and dashboards; may be "".
        hooks: Whether Git is to check migrations before each commit.
    """

    service: str
    where: str
    several: bool
    environment: str
    hooks: bool

    @property
    def collected(self) -> bool:
        """Whether a collector is between the app and Prometheus."""
        return self.several or self.where != "bare"


def render_files(project: FoundProject, answers: Answers) -> dict[str, str]:
    """Path and content of each file.

    Raises:
        ParameterError: if the environment is no value of a label.
    """
    return dict(_files(project, answers))


def variables(project: FoundProject, answers: Answers) -> dict[str, str]:
    """The app's environment variables."""
    found = {"OTEL_SERVICE_NAME": answers.service}
    if answers.environment:
        found["OTEL_RESOURCE_ATTRIBUTES"] = f"deployment.environment.name={answers.environment}"
    if project.settings:
        found["DJANGO_SETTINGS_MODULE"] = project.settings
    if not answers.collected:
        return found | ONE_PROCESS
    host = {"bare": "localhost", "compose": "collector", "kubernetes": "otel-collector"}[answers.where]
    return found | {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:4318",
    }


def _files(project: FoundProject, answers: Answers) -> Iterator[tuple[str, str]]:
    lines = "".join(f"{name}={value}\n" for name, value in variables(project, answers).items())
    yield f"{FOLDER}/schema.env", lines
    if answers.where == "compose":
        yield f"{FOLDER}/compose.yaml", _compose(project)
        yield f"{FOLDER}/grafana/provisioning/dashboards/schema.yaml", _DASHBOARDS
        yield f"{FOLDER}/grafana/provisioning/datasources/schema.yaml", _SOURCES
    if answers.where == "kubernetes":
        yield f"{FOLDER}/kubernetes/instrumentation.yaml", _kubernetes(project, answers)
    if project.github and project.migrations:
        yield ".github/workflows/schema.yml", _workflow()
    values = {"own_labels": "environment"} if answers.environment else {}
    for name, text in monitoring(check_values(values)):
        if answers.where == "kubernetes" or not name.startswith("kubernetes/"):
            yield f"{FOLDER}/{name}", text
    for name, text in configs():
        collectors = name.startswith(("collector/", "prometheus/collector.yml"))
        if answers.collected if collectors else not answers.collected and name == "prometheus/app.yml":
            yield f"{FOLDER}/{name}", _scraped(text, answers) if name.startswith("prometheus/") else text


def _scraped(config: str, answers: Answers) -> str:
    """Prometheus' config with the service's name, and the environment as a label of all that it scrapes."""
    config = config.replace("job_name: leads", f"job_name: {answers.service}")
    if not answers.environment:
        return config
    label = f"labels: {{environment: {json.dumps(answers.environment)}}}"
    return _TARGETS.sub(lambda found: f"{found[1]}, {label}", config)


def compose_command(project: FoundProject) -> str:
    """How the app is started with what is added to it. Naming files, Compose reads no other, so all are named."""
    files = (*project.compose, f"{FOLDER}/compose.yaml")
    return f"docker compose {' '.join(f'-f {name}' for name in files)} up"


def _compose(project: FoundProject) -> str:
    path = ":".join(
        filter(None, ("/schema/opentelemetry/instrumentation/auto_instrumentation:/schema", project.pythonpath))
    )
    return f"""\
# {compose_command(project)}
# Grafana: http://localhost:3000, Prometheus: http://localhost:9090. The app's image and command stay as they are: its
# own Python installs the packages into a volume, and finds them there. (uv's environments have no pip of their own.)
services:
  {project.service}:
    env_file: [{FOLDER}/schema.env]
    environment:
      PYTHONPATH: {path}
    volumes: ["schema-packages:/schema:ro"]
    networks: {{default: {{}}}}
    depends_on:
      schema-packages: {{condition: service_completed_successfully}}
      collector: {{condition: service_started}}

  schema-packages:
    extends: {{file: {project.compose[0]}, service: {project.service}}}
    user: "0"
    container_name: !reset null
    ports: !reset []
    depends_on: !reset []
    healthcheck: {{disable: true}}
    restart: "no"
    entrypoint:
      - sh
      - -c
      - >-
        python -m pip --version || python -m ensurepip;
        exec python -m pip install --quiet --upgrade --target /schema '{_PACKAGES}'
    command: !reset []
    volumes: ["schema-packages:/schema"]
    networks: {{default: {{}}}}

  collector: # the next two share its network, so that 127.0.0.1 in their configs is right
    image: {_COLLECTOR}
    command:
      - --config=/etc/otelcol/base.yaml
      - --config=/etc/otelcol/gateway.yaml
      - --config=/etc/otelcol/standalone.yaml
    environment: {{OTELCOL_OTLP_HTTP: "0.0.0.0:4318", OTELCOL_QUEUE_DIR: /tmp/queue}}
    volumes: ["./{FOLDER}/collector:/etc/otelcol:ro"]
    ports: ["127.0.0.1:9090:9090", "127.0.0.1:3000:3000"]
    restart: unless-stopped

  prometheus:
    image: {_PROMETHEUS}
    network_mode: service:collector
    command: [--config.file=/etc/prometheus/collector.yml, --enable-feature=exemplar-storage]
    volumes: ["./{FOLDER}/prometheus:/etc/prometheus:ro"]
    restart: unless-stopped

  grafana:
    image: {_GRAFANA}
    network_mode: service:collector
    environment: {{GF_AUTH_ANONYMOUS_ENABLED: "true", GF_AUTH_ANONYMOUS_ORG_ROLE: Editor}}
    volumes:
      - ./{FOLDER}/grafana/provisioning:/etc/grafana/provisioning:ro
      - ./{FOLDER}/grafana:/etc/grafana/schema:ro
    restart: unless-stopped

volumes: {{schema-packages: {{}}}}
"""


def _kubernetes(project: FoundProject, answers: Answers) -> str:
    env = "".join(
        f"      - {{name: {name}, value: {json.dumps(value)}}}\n" for name, value in variables(project, answers).items()
    )
    return f"""\
# For the OpenTelemetry Operator. Name your image (docs/how-to/kubernetes.md), and add to the pod's template:
#   annotations: {{instrumentation.opentelemetry.io/inject-python: {json.dumps(answers.service)}}}
apiVersion: opentelemetry.io/v1alpha1
kind: Instrumentation
metadata:
  name: {answers.service}
spec:
  python:
    image: registry.example.com/autoinstrumentation-python-schema:1
    env:
{env}"""


def _workflow() -> str:
    return """\
name: schema
on: pull_request
permissions: {contents: read}
jobs:
  migrations:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0, persist-credentials: false}
      - uses: actions/setup-python@v5
        with: {python-version: "3.x"}
      - run: pip install "opentelemetry-instrumentation-schema[cli]"
      - run: otel-schema hooks check --base "origin/$GITHUB_BASE_REF" --format github
"""
