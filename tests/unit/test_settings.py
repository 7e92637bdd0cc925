"""Settings: arguments over environment over defaults, and a bad value never stops the application."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import settings
from opentelemetry.instrumentation.schema.settings import PREFIX, Settings, load

# setting: a good text, what it means, a bad text
CASES: dict[str, tuple[str, Any, str]] = {
    "spans": ("All", "all", "some"),
    "slow_ms": ("2.5", 2.5, "fast"),
    "include": (" shop:* ,, lib.*:Lead", ("shop:*", "lib.*:Lead"), ""),
    "exclude": ("shop:Secret", ("shop:Secret",), ""),
    "disabled": ("marshmallow,flask", ("marshmallow", "flask"), ""),
    "cardinality_limit": ("7", 7, "0"),
    "aggregation": ("SDK", "sdk", "plain"),
    "revision_interval": ("1.5", 1.5, "-1"),
    "migrations": ("db/migrations, more", ("db/migrations", "more"), ""),
}
BAD = [name for name, (_, _, bad) in CASES.items() if bad]


def test_every_setting_is_tried_here() -> None:
    """The cases of this file are all settings that there are."""
    assert [*CASES, "excluded_urls"] == list(Settings.__dataclass_fields__)


@pytest.mark.parametrize("name", CASES)
def test_arguments_over_environment_over_defaults(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A variable replaces the default, an argument the variable; an empty variable and a None argument are not set."""
    text, value, _ = CASES[name]
    default = getattr(Settings(), name)
    variable = PREFIX + name.upper()
    assert value != default
    assert getattr(load({}, {}), name) == default
    assert getattr(load({name: None}, {variable: ""}), name) == default
    assert getattr(load({}, {variable: text}), name) == value
    assert getattr(load({name: value}, {}), name) == value
    assert getattr(load({name: default}, {variable: text}), name) == default
    assert not caplog.records


def test_a_list_may_be_a_list() -> None:
    """An argument of several names is a list, a tuple, a set, or their text."""
    for given_as in (["a:*", "b:*"], ("a:*", "b:*"), "a:*,b:*"):
        assert load({"include": given_as}, {}).include == ("a:*", "b:*")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_warns_and_falls_back(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One warning names the variable, its value and what is used instead."""
    bad = CASES[name][2]
    default = getattr(Settings(), name)
    variable = PREFIX + name.upper()
    with caplog.at_level(logging.WARNING):
        assert load({}, {variable: bad}) == Settings()
    (record,) = caplog.records
    assert f"{variable}={bad!r} is not valid" in record.getMessage()
    assert record.getMessage().endswith(f"using {default!r}")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_falls_back_to_the_variable(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A bad argument warns by its own name, says what is used, and leaves the word to the environment."""
    text, value, bad = CASES[name]
    assert getattr(load({name: bad}, {PREFIX + name.upper(): text}), name) == value
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{name}={bad!r} is not valid")
    assert record.getMessage().endswith(f"using {value!r}")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "-inf", "1e999", "1,5", "10ms"])
def test_milliseconds_that_no_clock_shows(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """A number below 0 or without end is as bad as a word."""
    assert load({}, {PREFIX + "SLOW_MS": text}) == Settings()
    assert len(caplog.records) == 1


@given(st.dictionaries(st.sampled_from([PREFIX + name.upper() for name in CASES]), st.text()))
def test_no_environment_raises(environment: dict[str, str]) -> None:
    """Whatever the variables hold, there are settings, and they are in range."""
    chosen = load({}, environment)
    assert chosen.spans in ("notable", "all", "off")
    assert chosen.aggregation in ("fold", "sdk")
    assert 0 <= chosen.slow_ms < math.inf
    assert chosen.cardinality_limit >= 1
    assert all(pattern.strip() for pattern in chosen.include)


@given(st.sampled_from(list(CASES)), st.none() | st.integers() | st.floats() | st.binary() | st.lists(st.integers()))
def test_no_argument_raises(name: str, value: object) -> None:
    """An argument of any type is a setting or a warning."""
    assert isinstance(load({name: value}, {}), Settings)


def test_what_is_no_setting_is_ignored() -> None:
    """Other arguments of `instrument()` are not looked at."""
    assert load({"meter_provider": object(), "slow": 1}, {"OTEL_PYTHON_SCHEMA_SLOW": "1"}) == Settings()


@pytest.mark.parametrize(("spans", "slow"), [("notable", 0.01), ("off", math.inf), ("all", -1.0)])
def test_slow_is_in_seconds(spans: Any, slow: float) -> None:
    """With spans off nothing is slow, with all of them everything is."""
    assert settings.Settings(spans=spans).slow == slow


def test_patterns_are_over_module_and_name() -> None:
    """`*` matches within `module:QualName`, and case counts."""
    chosen = Settings(include=("shop.*:*In",), exclude=("*:Secret",))
    assert [chosen.included(name) for name in ("shop.api:LeadIn", "shop:LeadIn", "shop.api:leadin")] == [
        True,
        False,
        False,
    ]
    assert [chosen.excluded(name) for name in ("shop:Secret", "shop:Secret.Inner", "Secret")] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("spamns", "did you mean spans?"),
        ("exclud", "did you mean exclude?"),
        ("slow", "did you mean slow_ms?"),
        ("exclude_urls", "did you mean excluded_urls?"),
        ("zzz", "choose from meter_provider, tracer_provider, spans"),
    ],
)
def test_an_unknown_argument_is_named_with_the_right_one(
    name: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt argument of `instrument()` says so once, and what may be meant."""
    load({name: "all"}, {})
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"{name} is not a setting of the schema instrumentation and is ignored: {hint}"
    )


def test_an_unknown_variable_is_named_with_the_right_one(caplog: pytest.LogCaptureFixture) -> None:
    """So does a misspelt environment variable; those of others are none of ours."""
    load({}, {f"{PREFIX}SPAMNS": "all", "OTEL_PYTHON_LOG_LEVEL": "x"})
    (record,) = caplog.records
    assert f"{PREFIX}SPAMNS is not a setting" in record.getMessage()
    assert f"did you mean {PREFIX}SPANS?" in record.getMessage()


def test_what_instrumentors_are_called_with_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """What `opentelemetry-instrument` and other set-ups pass to every instrumentor is not warned of."""
    for name in ("meter_provider", "tracer_provider", "logger_provider", "skip_dep_check"):
        load({name: object()}, {})
    assert not caplog.records


@pytest.mark.parametrize(
    ("argument", "environment", "flask", "fastapi"),
    [
        (None, {}, "", ""),
        (None, {"OTEL_PYTHON_EXCLUDED_URLS": "a"}, "a", "a"),
        (None, {"OTEL_PYTHON_EXCLUDED_URLS": "a", "OTEL_PYTHON_FLASK_EXCLUDED_URLS": "b"}, "b", "a"),
        (None, {"OTEL_PYTHON_EXCLUDED_URLS": "a", "OTEL_PYTHON_FLASK_EXCLUDED_URLS": ""}, "", "a"),
        ("c,d", {"OTEL_PYTHON_EXCLUDED_URLS": "a", "OTEL_PYTHON_FLASK_EXCLUDED_URLS": "b"}, "c,d", "c,d"),
        (["c", "d"], {}, "c,d", "c,d"),
        ("", {"OTEL_PYTHON_EXCLUDED_URLS": "a"}, "", ""),
    ],
)
def test_excluded_urls_have_the_precedence_of_contribs(
    argument: Any, environment: dict[str, str], flask: str, fastapi: str
) -> None:
    """A framework's variable replaces the general one, also by nothing; the argument replaces both."""
    urls = load({"excluded_urls": argument}, environment).excluded_urls
    assert (urls["flask"], urls["fastapi"]) == (flask, fastapi)
