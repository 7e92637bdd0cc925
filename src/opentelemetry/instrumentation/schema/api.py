"""What an app calls itself, for what no integration can see. Without `instrument()` all of it does nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from . import semconv
from ._recording import recorder, request, stack
from ._recording.probe import Probe
from ._recording.problems import Problem


@contextmanager
def endpoint(name: str) -> Generator[None, None, None]:
    """One job of a worker: counts in `api.requests`, and its failed validations in `validation.errors`.

    Args:
        name: The job's name, 1 to 100 characters that hold no data, such as `import-leads`: `schema.endpoint`.

    Raises:
        ValueError: If the name is empty or longer than 100 characters.
    """
    block = request.block_endpoint(name)
    token = request.current_request.set(request.Request(block))
    active = recorder.active
    try:
        yield
    finally:
        request.current_request.reset(token)
        if active is not None:
            active.count_request(block)


class validation:  # reads as the function it is used as
    """A validator of one's own: made once, entered for each validation.

        lead_row = validation("LeadRow", module=__name__, library="csv", invalid=RowError)

        with lead_row() as row:
            if not cells[2]:
                row.problem("email", "required")

    A block that names a problem or raises one of `invalid` is an invalid validation, one that raises anything else
    failed with an error. Exceptions pass through. A block inside another validation is part of that one.

    Args:
        name: `schema.name`.
        module: `schema.module`; left out where None.
        library: `schema.library`.
        invalid: Exception classes that say that the data broke the schema.
    """

    def __init__(
        self,
        name: str,
        *,
        module: str | None = None,
        library: str = "custom",
        invalid: type[BaseException] | tuple[type[BaseException], ...] = ValueError,
    ) -> None:
        self._key = library, name, module
        self.invalid = invalid
        self._bound: tuple[recorder.Recorder | None, Probe | None] = None, None

    def __call__(self) -> Validating:
        """One validation, to be entered with `with`."""
        active = recorder.active
        if self._bound[0] is not active:
            self._bound = active, active.bind(*self._key, cached=False) if active is not None else None
        return Validating(self._bound[1], self.invalid)


class Validating:
    """One validation by a validator of one's own."""

    __slots__ = ("_began", "_invalid", "_me", "_opened", "_probe", "_problems")

    def __init__(self, probe: Probe | None, invalid: Any) -> None:
        self._probe, self._invalid = probe, invalid
        self._problems: list[Problem] = []
        self._opened: Any = None

    def problem(self, path: str, rule: str) -> None:
        """Name a field that broke a rule: the schema's words, such as `items.*.price` and `required`. Never a value."""
        self._problems.append((path, rule))

    def __enter__(self) -> Validating:
        self._me = stack.current_stack()
        if self._probe is not None and self._me not in stack.running:
            self._began = perf_counter()
            stack.running[self._me] = self._opened = self._probe, self._began
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        probe = self._probe
        if self._opened is None or probe is None:
            return
        took, running = perf_counter() - self._began, stack.running.pop(self._me, None)
        if kind is not None and not issubclass(kind, self._invalid):
            probe.failed(took, "error", kind.__qualname__, lambda: self._problems, running)
        elif kind is not None or self._problems:
            probe.failed(took, "invalid", semconv.VALIDATION_ERROR, lambda: self._problems, running)
        else:
            probe.succeeded(took, running)
