"""marshmallow 3.13 and later, and 4: every load and validation of a Schema, at the one method that all pass through.

`load`, `loads` (after the JSON was parsed), `validate` and Nested fields end in `Schema._do_load`. A Schema instance is
one built validator: its first load is the cache miss that built it, so a Schema per request is a miss per request.

A `handle_error` that raises an exception of its own makes the outcome `error`, with that exception's class.
"""

from __future__ import annotations

import functools
import re
import string
import sys
import weakref
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

import marshmallow.fields
from marshmallow import Schema, ValidationError, class_registry, validate
from marshmallow.exceptions import SCHEMA

from ... import faults
from ..._recording import problems, stack
from ..._recording.factories import base_modules, customer
from ..._recording.identity import WeakIdMap
from ..._recording.probe import Probe
from ..._recording.problems import Problem
from ..._recording.recorder import Recorder
from ...patching import Patches
from ...semconv import CUSTOM_RULE, VALIDATION_ERROR
from . import _overrides
from ._overrides import overriding

REQUIRES = "marshmallow >= 3.13, < 5"
_COMPONENT = "marshmallow"
fields: Any = marshmallow.fields
_base: Any = Schema
_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]


def install(recorder: Recorder, patches: Patches) -> None:
    """Observe every Schema there is or will be."""
    probes: WeakIdMap[Probe | None] = WeakIdMap()
    made_for: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
    register: Any = vars(class_registry)["register"]

    @functools.wraps(register)
    def register_class(classname: Any, cls: Any) -> Any:
        register(classname, cls)
        try:
            module = customer(_frame(1))
            if module is not None:
                made_for[cls] = module
        except Exception as error:
            faults.swallow(_COMPONENT, error)

    asked: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()  # once per class, however many instances

    def owned(cls: Any) -> bool:
        observed = asked.get(cls)
        if observed is None:
            name, module = _name(cls)
            observed = asked[cls] = recorder.owned(module, name, behalf=(made_for.get(cls), *base_modules(cls)))
        return observed

    def forget_left_out() -> None:
        asked.clear()
        for key, probe in list(known.items()):
            if probe is None:
                known.pop(key, None)

    original: Any = vars(Schema)["_do_load"]
    known, running, stacks = probes.values, stack.running, stack

    def bind(schema: Any) -> Probe | None:
        try:
            name, module = _name(schema.__class__)
            observed = not recorder.closed and owned(schema.__class__)
            probe = recorder.bind("marshmallow", name, module) if observed else None
            if probe is not None and module is not None:
                probe.version = _version(schema.__class__)
                recorder.sources.add(probe.schema_cells, schema.__class__, _read)
            return probes.setdefault(schema, probe)
        except Exception as error:
            faults.swallow(_COMPONENT, error)
            return None

    @functools.wraps(original)
    def _do_load(  # spelled out: of a list of nested Schemas each item passes here, and `**kwargs` would cost most
        self: Any, data: Any, *, many: Any = None, partial: Any = None, unknown: Any = None, postprocess: Any = True
    ) -> Any:
        me, opened = stacks.current_stack(), None
        if me in running:
            if not overriding or overriding.get(me) is not self:
                return original(self, data, many=many, partial=partial, unknown=unknown, postprocess=postprocess)
            del overriding[me]  # the Schema's own `load` called this: here is the validation
            opened = running.pop(me)
        try:
            probe = known[id(self)]
        except KeyError:
            probe = bind(self)
        if probe is None:
            return original(self, data, many=many, partial=partial, unknown=unknown, postprocess=postprocess)
        began = perf_counter()
        running[me] = opened if type(opened) is stack.OpenValidation else (probe.schema_cells, began)
        try:
            result = original(self, data, many=many, partial=partial, unknown=unknown, postprocess=postprocess)
            took = perf_counter() - began
        except BaseException as error:
            took, entry = perf_counter() - began, running.pop(me, None)
            if isinstance(error, ValidationError):
                failure: Any = error
                probe.failed(took, "invalid", VALIDATION_ERROR, lambda: _problems(failure.messages, self), entry)
            else:
                probe.failed(took, "error", type(error).__qualname__, None, entry)
            raise
        probe.succeeded(took, running.pop(me, None))
        return result

    def probe_of(schema: Any) -> Probe | None:
        return known[id(schema)] if id(schema) in known else bind(schema)

    recorder.owned.when_more_is_known(forget_left_out)
    patches.replace(class_registry, "register", register_class)
    patches.replace(Schema, "_do_load", _do_load)
    patches.replace(Schema, "_otel_bound", probe_of)  # for frameworks: see `framework_names`
    _overrides.install(patches, probe_of, _problems)


def _read(cls: Any) -> Any:
    from .fields import fields as read  # at the first collection

    return read(cls)


def _version(cls: type) -> str | None:
    if "__schema_version__" not in vars(cls):
        return None
    from ..._schemas.fields import declared_in  # where there is one to read

    return declared_in(cls)


def _name(cls: type) -> tuple[str, str | None]:
    """`schema.name` and `schema.module`; a class made by a call (`Schema.from_dict`) has no module of its own."""
    module = cls.__module__
    made = module == "abc" or module.partition(".")[0] == "marshmallow"  # in which frame depends on the Python
    return cls.__qualname__, None if made else module


# -- problems
# A message does not say which rule it is of, so it is compared with the texts of all that apply where it stands. It is
# only read: what goes out is the rule's name.

_Path = tuple["str | None", ...]
"""Names of fields; None for an index, and for a key that the schema does not declare."""


def _problems(messages: Any, schema: Any) -> list[Problem]:
    """What failed, from an error's messages."""
    found: list[Problem] = []
    for path, rule in _failed(messages, (), schema, ()):
        if len(found) == problems.MAX_PROBLEMS:
            return [(problems.ANY, CUSTOM_RULE)]
        found.append((problems.path(path, frozenset(filter(None, path))), rule))
    return found


def _failed(found: Any, path: _Path, place: Any, owners: tuple[Any, ...]) -> Iterator[tuple[_Path, str]]:
    """Every message in a tree of messages, as a path and a rule.

    Args:
        found: Messages of one place, or of what is in it by name or index.
        path: Of the place.
        place: A Schema or field; None where the messages' author chose the key.
        owners: The Schema that the field is one of.
    """
    if isinstance(place, fields.Nested):
        owners, schema = (place.schema, *owners), place.schema
    else:
        schema = place
    messages: Any = found  # narrowing would lose that it may hold anything
    if isinstance(found, Mapping):
        for key, below in messages.items():
            if key == SCHEMA:
                yield from _failed(below, path, place, owners)
            elif isinstance(schema, Schema):
                field = _field(schema, key)
                if field is not None:
                    yield from _failed(below, (*path, key), field, (schema,))
                elif isinstance(key, int):  # one of many
                    yield from _failed(below, (*path, None), place, owners)
                else:
                    yield from _failed(below, (*path, None), None, (schema,))
            elif isinstance(place, fields.Mapping) and isinstance(below, Mapping):
                for part, inner in (("key", place.key_field), ("value", place.value_field)):
                    if part in below:
                        yield from _failed(below[part], (*path, None), inner, owners)
            else:
                yield from _failed(below, (*path, None), _item(place, key), owners)
    elif isinstance(found, (list, tuple)):
        for message in messages:
            yield from _failed(message, path, place, owners)
    else:
        yield path, _rule(messages, (place, *owners) if place is not None else owners)


def _field(schema: Any, key: Any) -> Any:
    """A Schema's field by the name that its messages have, which is its `data_key` where it has one."""
    for name, field in schema.fields.items():
        if key == (name if field.data_key is None else field.data_key):
            return field
    return schema.fields.get(key)


def _item(place: Any, index: Any) -> Any:
    """The field of a list's or tuple's item."""
    if isinstance(place, fields.List):
        return place.inner
    if isinstance(place, fields.Tuple) and isinstance(index, int):
        return place.tuple_fields[index]
    return None


_classes: list[Any] = [
    cls for cls in fields.__dict__.values() if isinstance(cls, type) and issubclass(cls, fields.Field)
]
_RULES = {
    *_base._default_error_messages,
    *(rule for cls in _classes for rule in getattr(cls, "default_error_messages", ())),
}


def _rule(message: Any, sources: tuple[Any, ...]) -> str:
    """A key of `error_messages`, or the class of a validator of marshmallow's own; else `custom`."""
    texts = [each for source in sources for each in _texts(source)]
    for rule, text in texts:
        if text == message:
            return rule
    if isinstance(message, str):
        for rule, text in texts:
            pattern = _pattern(text) if isinstance(text, str) else None
            if pattern is not None and pattern.fullmatch(message):
                return rule
    return CUSTOM_RULE


def _texts(source: Any) -> Iterator[tuple[str, Any]]:
    """The rules of a Schema or field, with their messages before anything was put into them."""
    for rule, text in source.error_messages.items():
        yield rule if rule in _RULES else CUSTOM_RULE, text
    for validator in getattr(source, "validators", ()):
        yield from _validator_texts(validator)


def _validator_texts(validator: Any) -> Iterator[tuple[str, Any]]:
    cls: Any = validator.__class__
    if cls.__module__ != validate.__name__:
        return
    for inner in validator.validators if cls is validate.And else ():
        yield from _validator_texts(inner)
    for attribute in ("error", *_message_attributes(cls)):
        text = getattr(validator, attribute, None)
        if text is not None:
            yield cls.__name__, text


@functools.lru_cache(64)
def _message_attributes(cls: type) -> list[str]:
    return [name for name in dir(cls) if name == "default_message" or name.startswith("message_")]


@functools.lru_cache(1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    """What a message looks like once it was formatted; None where that could be anything."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return None
    if not any(literal for literal, *_ in parts):
        return None
    looks = "".join(re.escape(literal) + ("" if name is None else ".*") for literal, name, *_ in parts)
    return re.compile(looks, re.DOTALL)
