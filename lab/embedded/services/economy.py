# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spares a small machine what Nova asks for and then does not use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any


class Deferred(MutableMapping):
    """A dictionary that is fetched when it is first looked into."""

    def __init__(self, fetch: Callable[[], dict[str, Any]]) -> None:
        self._fetch = fetch

    @functools.cached_property
    def _data(self) -> dict[str, Any]:
        return self._fetch()

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


def install() -> None:
    """Defer the list of a host's allocations, which costs a request for every guest on it.

    The resource tracker makes that list at every claim, and uses it only to move allocations
    between resource providers, which happens at most when a service starts. With a hundred
    guests on a host it was more than half of the lab's work.
    """
    from nova.scheduler.client.report import SchedulerReportClient

    original = SchedulerReportClient.get_allocations_for_provider_tree

    @functools.wraps(original)
    def deferred(self: Any, context: Any, nodename: str) -> Deferred:
        return Deferred(lambda: original(self, context, nodename))

    SchedulerReportClient.get_allocations_for_provider_tree = deferred
