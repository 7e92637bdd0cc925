"""Whose schemas are observed, where only a module's place and the patterns decide; and what is said of the rest."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis  # noqa: F401  # a library that is loaded
import pytest
from opentelemetry.instrumentation.schema._recording import left_out
from opentelemetry.instrumentation.schema._recording.distributions import Distributions
from opentelemetry.instrumentation.schema._recording.endpoints import web_endpoint
from opentelemetry.instrumentation.schema._recording.ownership import Ownership
from opentelemetry.instrumentation.schema._recording.request import Request, current_request
from opentelemetry.instrumentation.schema.settings import Settings


def test_by_where_the_file_is() -> None:
    """A module of one's own is, one that was typed in is, one of Python or of site-packages is not."""
    owned = Ownership(Settings())
    assert [owned.is_own(module) for module in (__name__, "typed_in")] == [True, True]
    assert [owned.is_own(m) for m in ("json", "json.decoder", "builtins", "pytest", "hypothesis.errors")] == [False] * 5


def test_patterns_and_frameworks() -> None:
    """Excluded beats all; a framework's schema and an included one are observed wherever they come from."""
    owned = Ownership(Settings(include=("pytest:Lead*",), exclude=("*:*Secret",)))
    assert owned("pytest", "LeadIn")
    assert not owned("pytest", "Item")
    assert owned("pytest", "Item", framework=True)
    assert owned(None, "list[int]")
    assert not owned("pytest", "LeadSecret")
    assert not owned("pytest", "Secret", framework=True)
    assert not owned(None, "Secret")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock to this many seconds after now."""
    now = left_out.monotonic()
    return lambda seconds: monkeypatch.setattr(left_out, "monotonic", lambda: now + seconds)


def test_what_is_left_out_is_counted_by_distribution() -> None:
    """A schema is one however often it is asked for; what is no longer left out is 0; Python's own are `python`."""
    owned = Ownership(Settings())
    for module, name in (("pytest", "A"), ("pytest", "A"), ("_pytest.config", "B"), ("hypothesis", "C"), ("json", "D")):
        assert not owned(module, name)
    assert owned.left_out.count() == {"pytest": 2, "hypothesis": 1, "python": 1}
    owned.left_out.clear()
    owned("pytest", "A")
    assert owned.left_out.count() == {"pytest": 1, "hypothesis": 0, "python": 0}


@pytest.mark.parametrize("seconds", [59, 61])
def test_the_warning_comes_once_after_a_minute(
    later: Callable[[float], None], caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    """It names what a request used; not tools such as hypothesis, nor what only other code used."""
    owned = Ownership(Settings())
    owned("click", "Background")
    token = current_request.set(Request(web_endpoint("GET", "/")))
    owned("hypothesis", "Lead")
    for name in ("Lead", "Item"):
        owned("packaging.version", name)
    current_request.reset(token)
    owned(None, "list[int]")
    owned("fastapi.openapi", "Framework", framework=True)
    later(seconds)
    for _ in range(2):
        owned.left_out.report()
    said = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert said == (
        [
            (
                logging.WARNING,
                "requests use schemas of installed distributions, which count as third-party and are not observed: "
                "packaging (2 schemas). If they belong to the application, set "
                "OTEL_PYTHON_SCHEMA_INCLUDE=packaging:*,packaging.*",
            )
        ]
        if seconds > 60
        else []
    )


def test_400_distributions_delay_the_start_by_at_most_20_ms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In site-packages nothing but what PEP 610 says is read at the start."""
    for number in range(400):
        info = tmp_path / "site-packages" / f"lib{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "RECORD").write_text("".join(f"lib{number}/module{n}.py,sha256=x,1\n" for n in range(100)))
        (info / "METADATA").write_text(f"Name: lib{number}\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site-packages")])

    def start() -> float:
        began = time.process_time()
        Distributions()
        return time.process_time() - began

    assert min(start() for _ in range(5)) < 0.02


def test_a_distributions_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its outermost packages and modules, compiled or not; of a namespace only its part."""
    info = tmp_path / "lib-1.0.dist-info"
    info.mkdir()
    listed = [
        "company/lib/__init__.py", "company/lib/deep/__init__.py", "company/lib/deep/x.py", "company/single.py",
        "one.py", "two.cpython-311-x86_64-linux-gnu.so", "three/__init__.cpython-311-x86_64-linux-gnu.so",
        "__pycache__/one.cpython-311.pyc", "lib.data/x.json", "../../bin/lib", "lib-1.0.dist-info/RECORD",
    ]  # fmt: skip
    (info / "RECORD").write_text("".join(f"{each},,\n" for each in listed))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = Distributions().of(str(tmp_path / "one.py"))
    assert found is not None
    assert found.packages == ["company.lib", "company.single", "one", "three", "two"]
