"""Patches that leave no trace: each registers its own undo, and undoing restores the very object that stood there."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import wrapt

from . import faults

_log = logging.getLogger(__name__)
_MISSING: Any = object()

if TYPE_CHECKING:
    _classmethod = classmethod[Any, ..., Any]
else:
    _classmethod = classmethod  # takes no parameters at run time


class Method:
    """A patched method on a class that cloudpickle may send to another process by value.

    It is pickled as the method that it replaced. Ours holds objects that cannot be pickled, and this package may not
    be installed in the other process.
    """

    __slots__ = ("_original", "_ours")

    def __init__(self, ours: Any, original: Any) -> None:
        self._ours, self._original = ours, original

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self._ours.__get__(instance, owner)

    def __reduce__(self) -> Any:
        return cast, (None, self._original)  # `cast` is in the standard library, and returns its second argument


class ClassMethod(_classmethod):
    """The same for a class method."""

    def __init__(self, ours: Callable[..., Any], original: Any) -> None:
        super().__init__(ours)
        self._original = original

    def __reduce__(self) -> Any:
        return cast, (None, self._original)


class Patches:
    """Everything one `instrument()` changed, undone together and in reverse order."""

    open: bool

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.open = True

    def undo(self, function: Callable[..., object], *args: object) -> None:
        """Call `function(*args)` when these patches are closed."""
        self._stack.callback(function, *args)

    def replace(self, parent: Any, name: str, value: object) -> None:
        """Set `parent.name`; closing restores what `vars(parent)` held, or deletes the name where it held nothing.

        It restores only while `value` is still in place: a patch that somebody put over it is theirs to remove.
        """
        held = cast("dict[str, Any]", vars(parent))
        original = held.get(name, _MISSING)
        setattr(parent, name, value)

        def restore() -> None:
            if held.get(name) is not value:
                _log.debug("another library patched %r.%s after this one, so its patch stays", parent, name)
            elif original is _MISSING:
                delattr(parent, name)
            else:
                setattr(parent, name, original)

        self._stack.callback(restore)

    def wrap(self, parent: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Put a wrapt wrapper `(wrapped, instance, args, kwargs)` around a method or function off the hot path.

        If closing leaves the wrapper under somebody else's patch, it only passes calls through.
        """
        held = cast("dict[str, Any]", vars(parent))
        original = held[name] if name in held else getattr(parent, name)
        self.replace(parent, name, wrapt.FunctionWrapper(original, wrapper, enabled=lambda: self.open))

    def on_import(self, module: str, integration: str, install: Callable[[Any], object]) -> None:
        """Import `integration` and hand it to `install` once `module` is imported, at once where it already is.

        wrapt cannot take a hook back, so the hook of a closed `Patches` does nothing.
        """

        def hook(_module: object) -> None:
            if not self.open:
                return
            try:
                install(importlib.import_module(integration))
            except Exception as error:
                faults.swallow(integration.removesuffix(".install").rpartition(".")[2], error)

        wrapt.register_post_import_hook(hook, module)

    def close(self) -> None:
        """Undo everything, last first. An undo that fails does not keep the others from running."""
        self.open = False
        self._stack.close()
