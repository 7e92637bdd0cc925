"""Whose schemas are observed: decided by where a module's file is, by PEP 610, and by the patterns."""

from __future__ import annotations

import importlib
import json
import logging
import site
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis  # noqa: F401  # a library that is loaded
import pytest
from opentelemetry.instrumentation.schema._recording import ownership
from opentelemetry.instrumentation.schema._recording.ownership import Ownership
from opentelemetry.instrumentation.schema.settings import Settings

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one module into a site-packages of its own, and imports the module."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(folder)])
    monkeypatch.syspath_prepend(folder)
    made: list[str] = []

    def install(file: str, direct_url: dict[str, object] | None = None, into: Path = folder) -> str:
        """`file` is the module's, such as `shop/models.py`; returns the module's name."""
        parts = Path(file).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        (into / file).write_text("")
        info = into / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "RECORD").write_text(f"{file},,\n")
        if direct_url is not None:
            (info / "direct_url.json").write_text(json.dumps(direct_url))
        importlib.invalidate_caches()
        importlib.import_module(name)
        made.append(name)
        return name

    yield install
    for name in list(sys.modules):
        if any(name == one or one.startswith(f"{name}.") for one in made):
            del sys.modules[name]


def test_by_where_the_file_is() -> None:
    """A module of one's own is, one that was typed in is, one of Python or of site-packages is not."""
    owned = Ownership(Settings())
    assert [owned.own(module) for module in (__name__, "typed_in")] == [True, True]
    assert [owned.own(m) for m in ("json", "json.decoder", "builtins", "pytest", "hypothesis.errors")] == [False] * 5


def test_site_packages_are_third_party(install: Install) -> None:
    """A distribution from an index is third-party."""
    installed = install("own_thirdparty/__init__.py")
    assert not Ownership(Settings()).own(installed)


@pytest.mark.parametrize(
    "direct_url",
    [
        {"url": "file:///src/shop", "dir_info": {}},
        {"url": "https://example.com/shop.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
    ],
    ids=["path", "repository"],
)
def test_what_was_installed_from_a_path_or_a_repository_is_the_applications(
    install: Install, direct_url: dict[str, object]
) -> None:
    """PEP 610: an application that is itself installed has a `direct_url.json`."""
    installed = install("own_direct/__init__.py", direct_url)
    assert Ownership(Settings()).own(installed)


def test_the_distributions_of_a_namespace_are_told_apart(install: Install, tmp_path: Path) -> None:
    """Of one namespace package, what is the application's own and what is installed differ."""
    theirs = install("own_space/lib/__init__.py")
    direct = install("own_space/shop/__init__.py", {"url": "file:///src/shop", "dir_info": {}})
    here = tmp_path / "app"
    sys.path.insert(0, str(here))
    try:
        ours = install("own_space/api.py", into=here)
    finally:
        sys.path.remove(str(here))
    owned = Ownership(Settings())
    assert [owned.own(module) for module in (theirs, f"{theirs}.models", direct, ours)] == [False, False, True, True]


def test_a_virtual_environment_inside_the_application(install: Install, tmp_path: Path) -> None:
    """What lies below site-packages is third-party also where that lies below the application's folder."""
    theirs = install("own_inside/__init__.py")
    assert Path(str(sys.modules[theirs].__file__)).is_relative_to(tmp_path)
    assert not Ownership(Settings()).own(theirs)


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
    now = ownership.monotonic()
    return lambda seconds: monkeypatch.setattr(ownership, "monotonic", lambda: now + seconds)


def test_what_is_left_out_is_logged_once_after_a_minute(
    later: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Each distribution is named once, with its number of schemas and the value that lets it in."""
    caplog.set_level(logging.INFO)
    owned = Ownership(Settings())
    owned(__name__, "Lead")
    owned("pytest", "Lead")
    owned("pytest.inner", "Item")
    later(59)
    owned.report()
    assert not caplog.records
    later(61)
    for _ in range(2):
        owned.report()
    owned("hypothesis", "Lead")
    for _ in range(2):
        owned.report()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.INFO,
            f"{number} schemas of {top} are left out as third-party; "
            f"OTEL_PYTHON_SCHEMA_INCLUDE={top}:*,{top}.* lets them in",
        )
        for number, top in ((2, "pytest"), (1, "hypothesis"))
    ]


def test_the_logged_value_lets_it_in(later: Callable[[float], None], caplog: pytest.LogCaptureFixture) -> None:
    """With the value that the log names, every schema of that distribution is observed, and no other's."""
    caplog.set_level(logging.INFO)
    owned = Ownership(Settings())
    owned("pytest", "Lead")
    later(61)
    owned.report()
    value = caplog.records[0].getMessage().partition("OTEL_PYTHON_SCHEMA_INCLUDE=")[2].split()[0]
    owned = Ownership(Settings(include=tuple(value.split(","))))
    assert owned("pytest", "Lead")
    assert owned("pytest.inner.most", "Lead.Inner")
    assert not owned("pytest_timeout", "Lead")


def test_an_application_that_looks_third_party_is_warned(
    later: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Where all that was seen was left out there is one warning, which names the likeliest value."""
    owned = Ownership(Settings())
    for name in ("Lead", "Item"):
        owned("pytest", name)
    owned("hypothesis", "Lead")
    later(61)
    for _ in range(2):
        owned.report()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "hypothesis (1), pytest (2)" in record.getMessage()
    assert "OTEL_PYTHON_SCHEMA_INCLUDE=pytest:*,pytest.*" in record.getMessage()
