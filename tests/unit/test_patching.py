"""Patches: each leaves the very object that stood there, whatever happened in between."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults, instrumentor
from opentelemetry.instrumentation.schema.patching import Patches
from opentelemetry.instrumentation.schema.requires import supports


class Base:
    def inherited(self) -> str:
        return "base"


class Target(Base):
    value = "value"

    def method(self, n: int = 0) -> int:
        """Documented."""
        return n

    @classmethod
    def of_class(cls) -> type:
        return cls

    @staticmethod
    def static() -> str:
        return "static"

    @property
    def prop(self) -> str:
        return "prop"


NAMES = ["method", "of_class", "static", "prop", "value", "inherited", "missing"]


@pytest.fixture
def target() -> type[Target]:
    """A class of one's own, with the attributes of `Target`."""
    return type("Target", (Base,), {name: vars(Target)[name] for name in NAMES if name in vars(Target)})


def through(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_what_stood_there_stands_there_again(target: Any, name: str) -> None:
    """A function, class method, static method, property, value, inherited or missing attribute is as it was before."""
    before = dict(vars(target))
    patches = Patches()
    patches.replace(target, name, object())
    assert vars(target)[name] is not before.get(name)
    patches.close()
    assert {key: id(value) for key, value in vars(target).items()} == {key: id(v) for key, v in before.items()}


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12))
def test_any_order_of_patches_is_undone(steps: list[tuple[str, bool]]) -> None:
    """However often attributes are patched, two sets of patches over each other come off whole."""
    target = type("Target", (Base,), {name: vars(Target)[name] for name in NAMES if name in vars(Target)})
    before = {key: id(value) for key, value in vars(target).items()}
    inner, outer = Patches(), Patches()
    for which in (False, True):
        for name, is_outer in steps:
            if is_outer is which:
                (outer if is_outer else inner).replace(target, name, object())
    outer.close()
    inner.close()
    assert {key: id(value) for key, value in vars(target).items()} == before


def test_a_patch_of_somebody_else_on_top_stays(target: Any) -> None:
    """What somebody put over ours is not taken away, and ours below it passes calls through."""
    calls: list[str] = []

    def ours(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append("ours")
        return wrapped(*args, **kwargs)

    patches = Patches()
    patches.wrap(target, "method", ours)
    below = target.method

    def theirs(self: Any, n: int = 0) -> int:
        return below(self, n) + 100

    target.method = theirs
    assert (target().method(1), calls) == (101, ["ours"])
    patches.close()
    assert vars(target)["method"] is theirs
    assert (target().method(1), calls) == (101, ["ours"])


@pytest.mark.parametrize("name", ["method", "of_class", "static", "inherited"])
def test_a_wrapper_passes_for_what_it_wraps(target: Any, name: str) -> None:
    """A wrapped method binds as before and keeps its signature, name and documentation."""
    plain = getattr(target, name)
    result = getattr(target(), name)()
    patches = Patches()
    patches.wrap(target, name, through)
    assert getattr(target(), name)() == result
    wrapped = getattr(target, name)
    assert (inspect.signature(wrapped), wrapped.__doc__, wrapped.__name__) == (
        inspect.signature(plain),
        plain.__doc__,
        plain.__name__,
    )
    patches.close()


def test_a_missing_method_is_not_wrapped(target: Any) -> None:
    """Wrapping what is not there raises, and changes nothing."""
    before = dict(vars(target))
    with pytest.raises(AttributeError):
        Patches().wrap(target, "missing", through)
    assert dict(vars(target)) == before


def test_an_undo_that_fails_keeps_none_from_running(target: Any) -> None:
    """Undos run last first, and one that raises does not stop the others."""
    ran: list[int] = []
    patches = Patches()
    patches.replace(target, "value", "ours")
    patches.undo(ran.append, 1)
    patches.undo(lambda: 1 / 0)
    patches.undo(ran.append, 2)
    with pytest.raises(ZeroDivisionError):
        patches.close()
    assert ran == [2, 1]
    assert target.value == "value"


@pytest.fixture
def late_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> str:
    """The name of a library that nobody has imported yet."""
    name = f"late_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_library_is_patched_when_it_is_imported(late_library: str) -> None:
    """An integration is installed after the import of its library, and not before; at once if that is over."""
    installed: list[Any] = []
    patches = Patches()
    patches.on_import(late_library, "json", installed.append)
    assert installed == []
    __import__(late_library)
    assert [module.__name__ for module in installed] == ["json"]
    patches.on_import(late_library, "json", installed.append)
    assert len(installed) == 2


def test_the_hook_of_closed_patches_does_nothing(late_library: str) -> None:
    """A library that is imported after `uninstrument()` is left alone."""
    installed: list[Any] = []
    patches = Patches()
    patches.on_import(late_library, "json", installed.append)
    patches.close()
    __import__(late_library)
    assert installed == []


def test_an_integration_that_fails_does_not_fail_the_import(late_library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's import goes on, and the fault is counted under the integration's name."""
    monkeypatch.setattr(faults, "reraise", False)
    patches = Patches()
    patches.on_import(late_library, "nowhere.at.all", lambda module: None)
    assert isinstance(__import__(late_library), types.ModuleType)
    assert faults.take() == {("all", "ModuleNotFoundError"): 1}


def test_an_integration_that_fails_half_way_leaves_nothing(
    target: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """What an `install` had patched before it raised is undone at once, and the other integrations work."""
    before = dict(vars(target))
    half = types.ModuleType("opentelemetry.instrumentation.schema.integrations.half.install")
    half.REQUIRES = "pytest >= 1"  # type: ignore[attr-defined]

    def install(_recorder: object, patches: Patches) -> None:
        patches.replace(target, "value", "ours")
        raise ZeroDivisionError

    half.install = install  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, half.__name__, half)
    monkeypatch.setitem(instrumentor.INTEGRATIONS, "pytest", "half")
    monkeypatch.setattr(faults, "reraise", False)
    SchemaInstrumentor().instrument()
    try:
        assert dict(vars(target)) == before
        assert faults.take()["half", "ZeroDivisionError"] == 1
    finally:
        SchemaInstrumentor().uninstrument()


@pytest.mark.parametrize(("requires", "installed"), [("pytest >= 1", 1), ("pytest >= 999", 0), ("not-there >= 1", 1)])
def test_a_library_outside_its_range_is_left_alone(
    requires: str,
    installed: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One log line names library, version and range; a library without metadata is taken as in range."""
    calls: list[int] = []
    other = types.ModuleType("opentelemetry.instrumentation.schema.integrations.other.install")
    other.REQUIRES = requires  # type: ignore[attr-defined]
    other.install = lambda recorder, patches: calls.append(1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, other.__name__, other)
    monkeypatch.setattr(instrumentor, "INTEGRATIONS", {"pytest": "other"})
    SchemaInstrumentor().instrument()
    SchemaInstrumentor().uninstrument()
    assert len(calls) == installed
    messages = [record.getMessage() for record in caplog.records]
    assert [m for m in messages if "not instrumented" in m] == (
        []
        if installed
        else [f"pytest {pytest.__version__} is outside of the supported range pytest >= 999: it is not instrumented"]
    )


def test_an_unknown_name_in_disabled_warns(caplog: pytest.LogCaptureFixture) -> None:
    """A name that is no integration is named in a warning, with those that there are."""
    SchemaInstrumentor().instrument(disabled="marshmalow,flask")
    SchemaInstrumentor().uninstrument()
    (message,) = [r.getMessage() for r in caplog.records if "DISABLED" in r.getMessage()]
    assert "marshmalow" in message
    assert "marshmallow" in message


def test_a_disabled_library_is_left_alone() -> None:
    """What `disabled` names is not patched."""
    before = vars(marshmallow.Schema)["_do_load"]
    SchemaInstrumentor().instrument(disabled=["marshmallow"])
    try:
        assert vars(marshmallow.Schema)["_do_load"] is before
    finally:
        SchemaInstrumentor().uninstrument()


@pytest.mark.parametrize(
    ("requires", "inside", "outside"),
    [
        ("pydantic >= 2.5, < 3", ["2.5", "2.5.0", "2.13.0a3", "2.99"], ["2.4.9", "3", "3.0.0b1", "unknown"]),
        ("sqlalchemy >= 1.4, < 2.2", ["1.4.54", "2.1.0rc2", "2.1.0.post1"], ["1.3.24", "2.2.0", "2.2.0b1"]),
        ("h5py>=3", ["3.0", "10.1"], ["2.9"]),
    ],
)
def test_versions_in_a_range(requires: str, inside: list[str], outside: list[str]) -> None:
    """A version counts by the numbers of its release, whether it is a pre-release or a later build of it."""
    assert [version for version in inside + outside if supports(requires, version)] == inside
