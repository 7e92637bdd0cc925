"""What the groups of rules cost in Prometheus: 300 attribute sets of an app, scraped every second for two minutes.

    python -m tests.dashboards.cost

Prints the median of the last minute's evaluations. The windows of five and ten minutes then hold two to four times the
samples that they hold at a scrape every 10 s; those of hours and days hold two minutes' worth only.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

from tests.pipeline.programs import Prometheus, free_port

HERE = Path(__file__).parent


SETS, SECONDS = 300, 120


def exposition(grown: int) -> str:
    """An app's /metrics with so many attribute sets of each family."""
    lines: list[str] = []
    for number in range(SETS):
        schema = f'schema_name="S{number}",schema_module="m",schema_library="pydantic"'
        endpoint = f'http_request_method="POST",http_route="/r{number}"'
        for family, bounds, labels in (
            (
                "schema_validation_duration_seconds",
                semconv.VALIDATION_BUCKETS,
                f'schema_validation_outcome="valid",{endpoint}',
            ),
            (
                "schema_query_duration_seconds",
                semconv.QUERY_BUCKETS,
                'schema_query_relation="after",db_operation_name="SELECT"',
            ),
        ):
            for bound in [*bounds, "+Inf"]:
                lines.append(f'{family}_bucket{{{schema},{labels},le="{bound}"}} {grown}')
            lines.append(f"{family}_count{{{schema},{labels}}} {grown}")
        lines.append(f'validation_errors_total{{{schema},{endpoint},error_type="ValidationError"}} {grown}')
        lines.append(f"api_requests_total{{{endpoint}}} {grown}")
        lines += [
            f'cache_{what}_total{{{schema},schema_cache_name="validator"}} {grown}' for what in ("hits", "misses")
        ]
        lines.append(f'schema_info{{{schema},schema_version="1",schema_fingerprint="1"}} 1')
    return "\n".join([*lines, ""])


def main() -> int:
    binary = shutil.which("prometheus")
    if binary is None:
        print("no Prometheus on PATH (Debian: apt-get install prometheus)", file=sys.stderr)
        return 2
    began = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(exposition(int(time.time() - began)).encode())

        def log_message(self, *_: object) -> None:
            pass

    app = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        rules = Path(home) / "rules"
        rules.mkdir()
        for name, text in rendering.rules(thresholds.DEFAULTS):
            (rules / name).write_text(text.replace("interval: 2m", "interval: 10s"))
        ports = {9464: app.server_port, 9093: free_port()}
        edit = lambda text: text.replace("evaluation_interval: 1s", "evaluation_interval: 10s")  # noqa: E731
        with Prometheus(binary, "app.yml", Path(home), ports, edit=edit) as server:
            print(f"{SECONDS} s of scrapes", file=sys.stderr, flush=True)
            time.sleep(SECONDS - 60)
            taken: dict[str, list[float]] = {}
            for _ in range(12):
                time.sleep(5)
                for group in server.api("rules")["groups"]:
                    taken.setdefault(group["name"], []).append(group["evaluationTime"] * 1000)
            for name, times in taken.items():
                print(f"{name:24} {statistics.median(times):8.1f} ms")
    app.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
