"""The functions that an app calls itself, for what no integration sees. Without `instrument()` they do nothing."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Token
from time import perf_counter
from typing import Any, TypeVar

from . import faults, semconv
from ._recording import recorder, stack
from ._recording.app_names import check_name
from ._recording.endpoints import Endpoint, block_endpoint
from ._recording.probe import Probe
from ._recording.problems import MAX_PROBLEMS, TOO_MANY, Problem
from ._recording.request import Request, current_request, enter, leave
from .text import class_name

_F = TypeVar("_F", bound=Callable[..., Any])


class endpoint:  # reads as the function it is used as
    """One job of a worker: counts in `api.requests`, and its failed validations in `validation.errors`.

        with endpoint("import-leads"):  # `async with` does the same
            ...

        @endpoint("import-leads")
        async def import_leads() -> None: ...

    A job ends with its block, or with the body of its function, which may be a coroutine, a generator or both. The
    body of a generator runs in the job, its caller does not. A task that the job starts and that outlives the job is
    outside from then on.

    Args:
        name: The job's name, 1 to 100 characters that hold no data, such as `import-leads`: `schema.endpoint`.

    Raises:
        TypeError: If the name is no str.
        ValueError: If the name is empty or longer than 100 characters.
    """

    def __init__(self, name: str) -> None:
        self._endpoint = block_endpoint(name)
        self._jobs: list[_Job] = []  # whose block is open, in any thread or task

    def __enter__(self) -> None:
        job = _Job(self._endpoint)
        self._jobs.append(job)
        job.__enter__()

    def __exit__(self, *_: object) -> None:
        # Where the block is left in another context than it was entered in, the current job is none of these.
        mine = [job for job in self._jobs if job.request is current_request.get()] or self._jobs[-1:]
        for job in mine:
            with contextlib.suppress(ValueError):  # another thread has removed it already
                self._jobs.remove(job)
            job.end()
            job.__exit__()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def __call__(self, function: _F) -> _F:
        """Make each run of a function's body a job."""
        if _is(inspect.iscoroutinefunction, function):
            call = _coroutine(self._endpoint, function)
        elif _is(inspect.isasyncgenfunction, function):
            call = _async_generator(self._endpoint, function)
        elif _is(inspect.isgeneratorfunction, function):
            call = _generator(self._endpoint, function)
        else:
            call = _function(self._endpoint, function)
        wrapped: Any = functools.wraps(function)(call)
        return wrapped

    def __reduce__(self) -> Any:
        return endpoint, (self._endpoint.attributes[semconv.SCHEMA_ENDPOINT],)


class _Job:
    """One run of a job. Each `with` block runs a part of it: a generator's job has one for each step.

    Attributes:
        request: Its holder.
    """

    __slots__ = ("_recorder", "_token", "request")

    def __init__(self, endpoint: Endpoint) -> None:
        self.request, self._recorder = Request(endpoint), recorder.active
        self._token: Token[Request] | None = None

    def __enter__(self) -> None:
        self._token = enter(self.request)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            leave(self._token)

    @faults.guarded("api", None)
    def end(self) -> None:
        """Count the job, once."""
        ended = self.request.end()
        if self._recorder is not None and ended.key:
            self._recorder.count_request(ended)


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    return kind(function) or kind(getattr(function, "__call__", None))  # noqa: B004  # an object's, where it is one


def _function(endpoint: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with (job := _Job(endpoint)):
            try:
                return function(*args, **kwargs)
            finally:
                job.end()

    return call


def _coroutine(endpoint: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with (job := _Job(endpoint)):
            try:
                return await function(*args, **kwargs)
            finally:
                job.end()

    return call


def _generator(endpoint: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        job, steps = _Job(endpoint), function(*args, **kwargs)
        step: Any = steps.send
        sent: Any = None
        try:
            while True:
                try:
                    with job:
                        made = step(sent)
                except StopIteration as stop:
                    return stop.value
                try:
                    step, sent = steps.send, (yield made)
                except GeneratorExit:
                    with job:
                        steps.close()
                    raise
                except BaseException as error:  # `throw()`: the function's to handle
                    step, sent = steps.throw, error
        finally:
            job.end()

    return call


def _async_generator(endpoint: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        job, steps = _Job(endpoint), function(*args, **kwargs)
        step: Any = steps.asend
        sent: Any = None
        try:
            while True:
                try:
                    with job:
                        made = await step(sent)
                except StopAsyncIteration:
                    return
                try:
                    step, sent = steps.asend, (yield made)
                except GeneratorExit:
                    with job:
                        await steps.aclose()
                    raise
                except BaseException as error:
                    step, sent = steps.athrow, error
        finally:
            job.end()

    return call


class validation:  # reads as the function it is used as
    """A validator of your own. Make it once, and enter a block for each validation.

        lead_row = validation("LeadRow", module=__name__, library="csv", invalid=RowError)

        with lead_row() as row:  # or `async with`
            if not cells[2]:
                row.problem("email", "required")

    A block that names a problem or raises one of `invalid` counts as invalid. A block that raises anything else counts
    as an error. Exceptions pass through. A block inside another validation is part of that validation.

    A block may await. Validations that its own task runs meanwhile are part of it, those of other tasks and threads
    are not.

    Args:
        name: `schema.name`, 1 to 100 characters.
        module: `schema.module`, likewise; left out where None.
        library: `schema.library`, likewise.
        invalid: Exception classes that mean that the data broke the schema.

    Raises:
        TypeError: If a name is no str.
        ValueError: If a name is empty or longer than 100 characters.
    """

    def __init__(
        self,
        name: str,
        *,
        module: str | None = None,
        library: str = "custom",
        invalid: type[BaseException] | tuple[type[BaseException], ...] = ValueError,
    ) -> None:
        self._key = (
            check_name("a schema's library", library),
            check_name("a schema's name", name),
            None if module is None else check_name("a schema's module", module),
        )
        self.invalid = invalid
        self._bound: tuple[recorder.Recorder | None, Probe | None] = None, None

    def __call__(self) -> ValidationBlock:
        """One validation, to be entered with `with`."""
        active = recorder.active
        if self._bound[0] is not active:
            self._bound = active, active.bind(*self._key, cached=False) if active is not None else None
        return ValidationBlock(self._bound[1], self.invalid)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the probe: in another process another recorder is active."""
        return {**vars(self), "_bound": (None, None)}


class ValidationBlock:
    """One validation by a validator of your own: the block that a `validation` returns when it is called."""

    __slots__ = ("_began", "_invalid", "_me", "_opened", "_probe", "_problems")

    def __init__(self, probe: Probe | None, invalid: Any) -> None:
        self._probe, self._invalid = probe, invalid
        self._problems: list[Problem] = []
        self._opened: Any = None

    def problem(self, path: str, rule: str) -> None:
        """Name a field that broke a rule, in the schema's words, such as `items.*.price` and `required`. Never a value.

        Args:
            path: The field, 1 to 100 characters; the whole value is `$`.
            rule: The rule, likewise.

        Raises:
            TypeError: If one is no str.
            ValueError: If one is empty or longer than 100 characters.
        """
        problem = check_name("a problem's path", path), check_name("a problem's rule", rule)
        if len(self._problems) <= MAX_PROBLEMS:
            self._problems.append(problem)

    def _found(self) -> list[Problem]:
        return [TOO_MANY] if len(self._problems) > MAX_PROBLEMS else self._problems

    def __enter__(self) -> ValidationBlock:
        if self._probe is not None and stack.current_stack() not in stack.running:
            stack.follow_tasks()
            self._me = stack.current_stack()
            self._began = perf_counter()
            stack.running[self._me] = self._opened = self._probe.schema_cells, self._began
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        probe = self._probe
        if self._opened is None or probe is None:
            return
        running = stack.running.pop(self._me, None)  # first: a signal handler may raise out of any call
        self._opened = None
        took = perf_counter() - self._began
        if kind is not None and not _is_one_of(kind, self._invalid):
            probe.failed(took, "error", class_name(error), self._found, running)
        elif kind is not None or self._problems:
            probe.failed(took, "invalid", semconv.VALIDATION_ERROR, self._found, running)
        else:
            probe.succeeded(took, running)

    async def __aenter__(self) -> ValidationBlock:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        self.__exit__(kind, error, where)


@faults.guarded("api", False)
def _is_one_of(kind: type[BaseException], classes: Any) -> bool:
    return issubclass(kind, classes)
