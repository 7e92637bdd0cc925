"""Values for objects that cannot hold them as attributes."""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

_V = TypeVar("_V")


class WeakIdMap(Generic[_V]):
    """Values by the identity of objects, which need not be hashable. A value is dropped with its object.

    Attributes:
        values: `id(object)` → value, for the hot path. An entry is gone before its `id` can be another object's.
    """

    __slots__ = ("_refs", "values")

    def __init__(self) -> None:
        self.values: dict[int, _V] = {}
        self._refs: dict[int, _Ref] = {}

    def setdefault(self, key: Any, value: _V) -> _V:
        """Return the value of `key`, which is `value` unless another thread was faster.

        Raises:
            TypeError: If `key` cannot be weakly referenced.
        """
        ref = _Ref(key, self._forget)
        ref.key = id(key)
        self._refs[ref.key] = ref
        return self.values.setdefault(ref.key, value)

    def _forget(self, ref: _Ref) -> None:
        self._refs.pop(ref.key, None)
        self.values.pop(ref.key, None)


class _Ref(weakref.ref[Any]):
    __slots__ = ("key",)
    key: int
