# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What decides a host's cells beside its hardware: nova.conf, and options in its stead.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadConfiguration,
    BadOption,
)
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import config
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import (
    NEWEST,
    Kind,
    Option,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_file import (
    BadLine,
    Configuration,
    parse,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_host import (
    TUNNEL,
    Rules,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_offers import (
    ALIAS,
    DEVICE_SPEC,
    aliases,
    offers,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.numa_sets import (
    DEDICATED,
    LEGACY,
    RESERVED,
    SHARED,
    BadSetting,
    Cpus,
    cpu_sets,
    reserved_pages,
)

#: Module option -> the option of nova.conf for which it stands.
INSTEAD_OF = {
    "cpu_shared_set": SHARED,
    "cpu_dedicated_set": DEDICATED,
    "reserved_huge_pages": RESERVED,
    "device_spec": DEVICE_SPEC,
    "pci_alias": ALIAS,
    "cpu_allocation_ratio": "cpu_allocation_ratio",
    "ram_allocation_ratio": "ram_allocation_ratio",
}
PACK = "compute.packing_host_numa_cells_allocation_strategy"
POWER, PHYSNETS = "libvirt.cpu_power_management", "neutron.physnets"

#: Options that are no texts, with the other names under which Nova reads them.
KINDS = {
    RESERVED: ("MultiString", ()),
    DEVICE_SPEC: (
        "MultiString",
        (("pci", "passthrough_whitelist"), ("DEFAULT", "pci_passthrough_whitelist")),
    ),
    ALIAS: ("MultiString", (("DEFAULT", "pci_alias"),)),
    PACK: ("Boolean", ()),
    POWER: ("Boolean", ()),
    PHYSNETS: ("List", ()),
    "cpu_allocation_ratio": ("Float", ()),
    "ram_allocation_ratio": ("Float", ()),
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value in force. ``source``: the module's option, the file, or default."""

    value: Any
    source: str


class Wishes:
    """What holds on this host, option by option (``group.name``, of DEFAULT only the name)."""

    def __init__(self, params: Mapping[str, Any], conf: Configuration) -> None:
        self.files = tuple(file.path for file in conf.files)
        self._conf = conf
        self._options = {
            key: name for name, key in INSTEAD_OF.items() if params.get(name) is not None
        }
        self._params = params

    def get(self, key: str) -> Value:
        """The value in force; None, or an empty one, when nobody says anything."""
        if key in self._options:
            return Value(self._params[self._options[key]], self._options[key])
        option = _option(key)
        found = self._conf.value(option)
        if found.problem:
            raise self._error(key, found.value, found.problem, "Correct it: Nova reads it, too")
        return Value(found.value, found.source)

    def known(self, *names: str) -> bool:
        """Whether there is a nova.conf, or else one of these options of the module is given."""
        return bool(self.files) or any(self._params[name] is not None for name in names)

    def sets_given(self) -> bool:
        """Whether the module's options say which CPUs are whose."""
        return bool({SHARED, DEDICATED} & set(self._options))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn a BadSetting into the error that names the option or the file."""
        try:
            yield
        except BadSetting as bad:
            raise self._error(bad.name, bad.value, bad.why, bad.remedy) from None

    def _error(self, key: str, value: Any, why: str, remedy: str) -> BadOption | BadConfiguration:
        if key in self._options:
            return BadOption(self._options[key], value, why, remedy)
        source = self._conf.value(_option(key)).source
        return BadConfiguration(f"{source}: {key}: {value!r} {why}", remedy)


def _option(key: str) -> Option:
    group, dot, name = key.rpartition(".")
    kind, others = KINDS.get(key, ("List" if name == "numa_nodes" else "String", ()))
    empty = {"MultiString": (), "List": (), "Boolean": False}.get(kind)
    # A group's name is read in lower case.
    return Option(
        group.lower() if dot else "DEFAULT", name, Kind(kind), empty, "", "", aliases=others
    )


def look(params: Mapping[str, Any]) -> Wishes:
    """Read nova.conf as nova-compute does. Raises BadOption and BadConfiguration."""
    order = config.reading_order(params["config_files"], params["config_dirs"], "")
    files = []
    for path in order.paths:
        try:
            files.append(parse(path, config.read(path) or ""))
        except BadLine as error:
            remedy = "Correct it: nova-compute cannot read it either"
            raise BadConfiguration(str(error), remedy) from error
    return Wishes(params, Configuration(tuple(files), NEWEST))


def rules(wishes: Wishes, online: Cpus, present: Cpus) -> Rules:
    """What these values make of a host with these CPUs. Raises BadOption, BadConfiguration."""
    names = (SHARED, DEDICATED) if wishes.sets_given() else (SHARED, DEDICATED, LEGACY)
    texts = {name: wishes.get(name).value or "" for name in names}
    with wishes.told():
        return Rules(
            sets=cpu_sets(texts, online, present, wishes.get(POWER).value),
            reserved=reserved_pages(wishes.get(RESERVED).value),
            networks={
                name: _cells(wishes, f"neutron_physnet_{name}.numa_nodes")
                for name in wishes.get(PHYSNETS).value
            },
            tunnel=_cells(wishes, TUNNEL),
            offers=offers(wishes.get(DEVICE_SPEC).value),
            aliases=aliases(wishes.get(ALIAS).value),
            pack_cells=wishes.get(PACK).value,
            cpu_allocation_ratio=_ratio(wishes, "cpu_allocation_ratio"),
            ram_allocation_ratio=_ratio(wishes, "ram_allocation_ratio"),
        )


def _cells(wishes: Wishes, key: str) -> tuple[int, ...]:
    texts = wishes.get(key).value
    if not all(text.isdecimal() for text in texts):
        why = "is no list of cells"
        raise BadSetting(key, ",".join(texts), why, "Give their numbers, with commas")
    return tuple(sorted({int(text) for text in texts}))


def _ratio(wishes: Wishes, key: str) -> float | None:
    value = wishes.get(key).value
    if value is not None and value < 0:
        raise BadSetting(key, value, "is below 0", "Give a ratio such as 1.0, or 0 for unset")
    # Nova takes 0 for unset, and leaves the ratio to Placement.
    return value or None
