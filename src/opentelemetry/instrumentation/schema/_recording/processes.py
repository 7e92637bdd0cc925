"""Tells the processes of one service apart, where the SDK gives them one identity.

Prometheus names a series by `job` and `instance`, and `instance` is the resource's `service.instance.id`. SDKs before
1.44 set none, and every worker inherits the one in OTEL_RESOURCE_ATTRIBUTES. The counters of such processes overwrite
each other, and each scrape looks like a restart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from .. import faults

_ID: Final = "service.instance.id"


class Instance:
    """Sets the `service.instance.id` of this process, and of each that is forked from it.

    Writes it into the providers' resources. All signals share one resource object, so spans and logs have the same id.

    Args:
        providers: Of the SDK. A provider without the SDK's resource is left as it is.
    """

    def __init__(self, *providers: Any) -> None:
        self._providers = providers
        self._active = True
        self._shared: dict[Any, Any] = {None: None}  # id of this process → what it is made from, None for nothing
        self._rename(spawned=_spawned())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_after_fork)

    def close(self) -> None:
        """Leave the ids of later processes to the SDK. This process keeps its id: its series go on."""
        self._active = False

    def _renew_after_fork(self) -> None:
        if self._active:
            self._rename()

    @faults.guarded("processes", None)
    def _rename(self, spawned: bool = False) -> None:
        """Give a new id to each resource that has none, or its parent's; an SDK since 1.44 has changed that itself."""
        renamed: dict[Any, str] = {}
        for resource in self._resources():
            told = resource.attributes.get(_ID)
            if spawned:
                self._shared[told] = told
            if told in self._shared:
                shared = self._shared[told]
                own = renamed.setdefault(told, _random() if shared is None else f"{shared}.{os.getpid()}")
                resource._attributes = resource.merge(type(resource)({_ID: own}))._attributes
        self._shared |= {own: self._shared[told] for told, own in renamed.items()}
        self._shared |= {told: told for told in self._ids() if told not in self._shared}

    def _ids(self) -> list[Any]:
        return [resource.attributes.get(_ID) for resource in self._resources()]

    def _resources(self) -> Iterator[Any]:
        """The distinct resources that the providers have now: an SDK since 1.44 changes them after a fork."""
        seen = set[int]()
        for provider in self._providers:
            config = getattr(provider, "_sdk_config", provider)
            resource = getattr(config, "resource", None)
            if resource is not None and id(resource) not in seen and hasattr(resource, "_attributes"):
                seen.add(id(resource))
                yield resource


def _spawned() -> bool:
    """Whether this process is a worker that `multiprocessing` started, as Uvicorn and Hypercorn start theirs."""
    return "--multiprocessing-fork" in sys.orig_argv


def _random() -> str:
    from uuid import uuid4  # not before it is needed

    return str(uuid4())
