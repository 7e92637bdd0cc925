"""marshmallow 3.13 and later, and 4: every load and validation of a Schema, at the one method that all of them call.

`load`, `loads` (after the JSON was parsed), `validate` and Nested fields end in `Schema._do_load`. A Schema instance is
one built validator: its first load is the cache miss that built it, so a Schema per request is a miss per request.

A `handle_error` that raises an exception of its own makes the outcome `error`, with that exception's class.
"""

from __future__ import annotations

import functools
import string
import sys
import weakref
from collections.abc import Iterator
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
from ...text import class_name, clean, exact
from . import _overrides
from ._overrides import messages, overriding

REQUIRES = "marshmallow >= 3.13, < 5"
_COMPONENT = "marshmallow"
_MAX_MESSAGE = 1000
"""Characters of a text in `error_messages` that has room for values; what a longer one became is `custom`."""
fields: Any = marshmallow.fields
_base: Any = Schema
_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]
_type: Any = type


def install(recorder: Recorder, patches: Patches) -> None:
    """Observe every Schema, existing or later."""
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
            cls = _type(schema)
            name, module = _name(cls)
            observed = not recorder.closed and owned(cls)
            probe = recorder.bind("marshmallow", name, module) if observed else None
            if probe is not None and module is not None:
                probe.version = _version(cls)
                recorder.unread_schemas.add(probe.schema_cells, cls, _read)
            return probes.setdefault(schema, probe)
        except Exception as error:
            faults.swallow(_COMPONENT, error)
            return None

    @functools.wraps(original)
    def _do_load(  # spelled out: each item of a nested list passes here, and `**kwargs` would cost most
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
            entry = running.pop(me, None)  # first: an exception of a signal handler may come out of any call
            took, failure = perf_counter() - began, error
            if issubclass(type(error), ValidationError):  # `isinstance` would ask the error's own `__class__`
                probe.failed(took, "invalid", VALIDATION_ERROR, lambda: _problems(messages(failure), self), entry)
            else:
                probe.failed(took, "error", class_name(error), None, entry)
            raise
        probe.succeeded(took, running.pop(me, None))
        return result

    def probe_of(schema: Any) -> Probe | None:
        return known[id(schema)] if id(schema) in known else bind(schema)

    recorder.owned.on_change(forget_left_out)
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
    from ..._schemas.fields import declared_version  # where there is one to read

    return declared_version(cls)


def _name(cls: type) -> tuple[str, str | None]:
    """`schema.name` and `schema.module`; a class made by a call (`Schema.from_dict`) has no module of its own."""
    module = clean(cls.__module__)
    made = module == "abc" or module.partition(".")[0] == "marshmallow"  # in which frame depends on the Python
    return clean(cls.__qualname__), None if made else module


# -- problems
# A message does not name its rule, so we compare it with the texts of all rules that apply at its place. We export the
# name of the rule, never the message.

_Path = tuple["str | None", ...]
"""Names of fields; None for an index, and for a key that the schema does not declare."""


# called in place of the objects in a tree of messages, which may be of any subclass
_dict: Any = dict
_list: Any = list
_tuple: Any = tuple


def _problems(messages: Any, schema: Any) -> list[Problem]:
    """The problems in an error's messages."""
    found: list[Problem] = []
    for path, rule in _failed(messages, (), schema, ()):
        if len(found) == problems.MAX_PROBLEMS:
            return [problems.TOO_MANY]
        found.append((problems.path([problems.ANY if name is None else name for name in path]), rule))
    return found


def _failed(found: Any, path: _Path, place: Any, owners: tuple[Any, ...]) -> Iterator[tuple[_Path, str]]:
    """Every message in a tree of messages, as a path and a rule. Runs no code of the objects in the tree.

    Args:
        found: The messages of one place, or of the places in it by name or index.
        path: The place's path.
        place: Its Schema or field; None if the key is the author's own.
        owners: The Schema that has the field.
    """
    if isinstance(place, fields.Nested):
        owners, schema = (place.schema, *owners), place.schema
    else:
        schema = place
    kind = _type(found)
    if issubclass(kind, dict):
        for raw, below in list(_dict.items(found)):
            key = raw if type(raw) is str else exact(raw)
            if key == SCHEMA:
                yield from _failed(below, path, place, owners)
            elif isinstance(schema, Schema):
                field = _field(schema, key)
                if field is not None:
                    yield from _failed(below, (*path, key), field, (schema,))
                elif type(raw) is int:  # one of many
                    yield from _failed(below, (*path, None), place, owners)
                else:
                    yield from _failed(below, (*path, None), None, (schema,))
            elif isinstance(place, fields.Mapping) and issubclass(type(below), dict):
                for part, inner in (("key", place.key_field), ("value", place.value_field)):
                    if part in _dict.keys(below):
                        yield from _failed(_dict.get(below, part), (*path, None), inner, owners)
            else:
                yield from _failed(below, (*path, None), _item(place, raw), owners)
    elif issubclass(kind, (list, tuple)):
        for message in _list.__iter__(found) if issubclass(kind, list) else _tuple.__iter__(found):
            yield from _failed(message, path, place, owners)
    else:
        yield path, _rule(found, (place, *owners) if place is not None else owners)


def _field(schema: Any, key: str | None) -> Any:
    """A Schema's field by the name in its messages: its `data_key` if it has one."""
    if key is None:
        return None
    for name, field in schema.fields.items():
        if key == (name if field.data_key is None else field.data_key):
            return field
    return schema.fields.get(key)


def _item(place: Any, index: Any) -> Any:
    """The field of a list's or tuple's item."""
    if isinstance(place, fields.List):
        return place.inner
    if isinstance(place, fields.Tuple) and type(index) is int:
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
    said = message if type(message) is str else exact(message)
    texts = [each for source in sources for each in _texts(source)]
    for rule, text in texts:
        if text is message or (type(text) is str and text == said):
            return rule
    if said is None:
        return CUSTOM_RULE
    for rule, text in texts:
        pattern = exact(text)
        literals = _literals(pattern) if pattern is not None and len(pattern) <= _MAX_MESSAGE else ()
        if pattern == said or (literals and _fits(said, literals)):
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


@functools.lru_cache(256)
def _literals(text: str) -> tuple[str, ...]:
    """The literal parts of a message's format; none if the message could be any text."""
    found = [""]
    try:
        for literal, name, *_ in string.Formatter().parse(text):
            found[-1] += literal
            if name is not None:
                found.append("")
    except ValueError:
        return ()
    return tuple(found) if any(found) else ()


def _fits(message: str, literals: tuple[str, ...]) -> bool:
    """Whether a message holds the literals in their order, from its first character to its last: one pass over it."""
    first, *between = literals
    if not between:
        return message == first
    last = between.pop()
    end = len(message) - len(last)
    at = len(first)
    if end < at or not message.startswith(first) or not message.endswith(last):
        return False
    for literal in between:
        found = message.find(literal, at, end)
        if found < 0:
            return False
        at = found + len(literal)
    return True
