# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What setting or removing policies does to each image, flavor and instance, and what forbids it.

This module util is **PRIVATE** to the collection: it may change without notice.
All is decided from one look, before the first write. Keys and ranges are those of policy_keys,
by which the drain reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.model import Carrier, Guest
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    IMAGE,
    INSTANCE,
    KEYS,
    Key,
    is_policy,
    spelled,
)

NEUTRAL, STARLINGX = DIALECTS = ("neutral", "starlingx")
PRESENT, EXACT, ABSENT = STATES = ("present", "exact", "absent")
#: Nova changes the metadata of instances in these states only, and of none that it works on
#: (nova/compute/api.py, update_instance_metadata).
CHANGEABLE = frozenset({"active", "paused", "suspended", "stopped"})
OS_TYPE, WINDOWS = "os_type", "windows"


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that cannot be used: the option, why, and what to do."""

    option: str
    value: Any
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One wish: what to write, and how. ``option``: how the operator finds it again.

    ``policy``: field -> value. ``windows``: whether images are to say that Windows is in them.
    """

    option: str
    policy: Mapping[str, Any] = field(default_factory=dict)
    dialect: str = NEUTRAL
    windows: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What one carrier gets and loses; nothing of both where it is as it should be."""

    carrier: Carrier
    put: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(self.put or self.removed)

    def before(self) -> dict[str, str]:
        """The keys that are a policy's, or that change, as they are."""
        texts, place = self.carrier.texts, self.carrier.place
        shown = (name for name in texts if is_policy(name, place) or name in self._touched())
        return {name: texts[name] for name in sorted(shown)}

    def after(self) -> dict[str, str]:
        """The same as they will be."""
        found = {**self.before(), **self.put}
        return {name: found[name] for name in sorted(found) if name not in self.removed}

    def _touched(self) -> frozenset[str]:
        return frozenset((*self.put, *self.removed))


def key_of(field_name: str, dialect: str, place: str) -> Key | None:
    """The key by which this place asks for a field; ``None`` where the dialect has none."""
    neutral = dialect == NEUTRAL
    fits = (
        key
        for key in KEYS
        if key.field == field_name
        and place in key.places
        and key.name.startswith("lowtide:") is neutral
    )
    return next(fits, None)


def text_of(value: Any) -> str:
    """A value as it is written on a carrier."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def texts_of(entry: Entry, place: str) -> tuple[dict[str, str], list[Fault]]:
    """Key as that place spells it -> text, and what of the wish cannot be written there."""
    texts: dict[str, str] = {}
    faults = []
    for name, value in entry.policy.items():
        key = key_of(name, entry.dialect, place)
        option = f"{entry.option}.policy.{name}"
        if key is None:
            why = f"has no key of StarlingX's on an {place}".replace("an flavor", "a flavor")
            faults.append(Fault(option, value, why, "Set dialect: neutral, or leave it out"))
        elif key.kind.read(text_of(value)) is None:
            why = f"is not allowed as {spelled(key.name, place)}"
            faults.append(Fault(option, value, why, f"Give {key.kind.allowed}"))
        else:
            texts[spelled(key.name, place)] = text_of(value)
    if entry.windows and place == IMAGE:
        texts[OS_TYPE] = WINDOWS
    return texts, faults


def names_of(entry: Entry, carrier: Carrier) -> set[str]:
    """The names that a wish is about: what it sets, or every policy where it sets nothing."""
    place = carrier.place
    keys = (key_of(name, entry.dialect, place) for name in entry.policy)
    names = {spelled(key.name, place) for key in keys if key is not None}
    if not entry.policy and not entry.windows:
        names = {name for name in carrier.texts if is_policy(name, place)}
    if entry.windows and place == IMAGE and carrier.texts.get(OS_TYPE) == WINDOWS:
        names.add(OS_TYPE)
    return names


def change_of(carrier: Carrier, entries: Iterable[Entry], state: str) -> tuple[Change, list[Fault]]:
    """What the wishes that chose a carrier do to it, and where they contradict each other."""
    if state == ABSENT:
        gone = {name for entry in entries for name in names_of(entry, carrier)}
        return Change(carrier, removed=tuple(sorted(gone & carrier.texts.keys()))), []
    wanted: dict[str, str] = {}
    said: dict[str, str] = {}
    faults = []
    for entry in entries:
        texts, _told = texts_of(entry, carrier.place)
        for name, text in texts.items():
            if wanted.setdefault(name, text) != text:
                why = f"contradicts {said[name]}, which sets {wanted[name]!r} on {shown(carrier)}"
                option = f"{entry.option}.policy ({name})"
                faults.append(Fault(option, text, why, "Let one of the two choose it"))
            said.setdefault(name, entry.option)
    put = {name: text for name, text in wanted.items() if carrier.texts.get(name) != text}
    ours = {name for name in carrier.texts if is_policy(name, carrier.place)}
    extra = ours - wanted.keys() if state == EXACT else set()
    return Change(carrier, put, tuple(sorted(extra))), faults


def forbidden(change: Change, option: str, *, project: str, others: bool) -> list[Fault]:
    """Why an image that would change must not: another project's, protected, of another system.

    ``project``: ID of the caller's. ``others``: whether he said that he means it.
    """
    carrier = change.carrier
    if carrier.place != IMAGE or not change.changes:
        return []
    faults = []
    if not others and carrier.owner != project:
        why = f"is an image of another project ({carrier.owner or 'none'})"
        remedy = "Leave it out, or set others: true to change it all the same"
        faults.append(Fault(option, shown(carrier), why, remedy))
    elif not others and carrier.protected:
        remedy = "Leave it out, or set others: true to change it all the same"
        faults.append(Fault(option, shown(carrier), "is a protected image", remedy))
    system = carrier.texts.get(OS_TYPE)
    if OS_TYPE in change.put and system:
        why = f"is said to hold another system (os_type={system})"
        remedy = "Choose images of Windows, or take os_type off this one first"
        faults.append(Fault(option, shown(carrier), why, remedy))
    return faults


def unchangeable(guest: Guest, option: str) -> list[Fault]:
    """Why Nova would refuse to change a guest's metadata now."""
    if guest.task_state:
        why = f"is busy ({guest.task_state}), and Nova changes no metadata meanwhile"
        return [Fault(option, guest.name, why, "Try again when it is done")]
    if guest.vm_state not in CHANGEABLE:
        why = f"is {guest.vm_state}, and Nova changes no metadata of such an instance"
        remedy = f"Bring it to one of {', '.join(sorted(CHANGEABLE))}, or leave it out"
        return [Fault(option, guest.name, why, remedy)]
    return []


def carrier_of(guest: Guest) -> Carrier:
    """A guest as what carries a policy in its metadata."""
    return Carrier(INSTANCE, guest.id, guest.name, guest.metadata, guest.project_id)


def shown(carrier: Carrier) -> str:
    """A carrier for people: its name, and its ID where the name does not say it."""
    same = carrier.name in ("", carrier.id)
    return carrier.id if same else f"{carrier.name} ({carrier.id})"


def shadowed(change: Change) -> list[str]:
    """Keys of StarlingX's that will say one thing where a neutral key says another and counts."""
    place, texts = change.carrier.place, change.after()
    notes = []
    for key in KEYS:
        name = spelled(key.name, place)
        first = key_of(key.field, NEUTRAL, place)
        if first is None or first == key or name not in texts or place not in key.places:
            continue
        before = spelled(first.name, place)
        if before in texts and key.kind.read(texts[name]) != first.kind.read(texts[before]):
            notes.append(
                f"{place} {shown(change.carrier)}: {before}={texts[before]} counts before"
                f" {name}={texts[name]}"
            )
    return notes


#: What os_type=windows does not do. Clock: _set_clock in nova/virt/libvirt/driver.py. Serial and
#: CPU: Nova's help texts of these options.
WINDOWS_NOTES = (
    "os_type=windows holds for guests that are built from the image from now on: Nova writes it"
    " into a guest's record when it builds it",
    "Nova gives Windows a clock in the host's local time: set the same time zone on all hosts, or"
    " a guest's clock is off when it is started after a move",
    "leave [libvirt] sysinfo_serial at unique on all hosts: with any other value a guest's serial"
    " number changes with a move, and software that is bound to it notices",
    "give guests a CPU model that all hosts have ([libvirt] cpu_mode): with host-passthrough they"
    " move between identical hosts only",
)
#: QEMU's names for the newest machine of a kind, and none at all.
MACHINE_ALIASES = frozenset({"", "pc", "q35", "virt", "pseries", "s390-ccw-virtio"})
MACHINE_NOTE = (
    "has no versioned hw_machine_type: a guest's hardware depends on the QEMU that starts it, and"
    " one that a newer QEMU started cannot move to an older one"
)


def windows_notes(changes: Sequence[Change]) -> list[str]:
    """What else Windows guests need; nothing where no image is newly said to hold Windows."""
    images = [change.carrier for change in changes if OS_TYPE in change.put]
    if not images:
        return []
    notes = list(WINDOWS_NOTES)
    loose = [each for each in images if each.texts.get("hw_machine_type", "") in MACHINE_ALIASES]
    if loose:
        notes.append(f"image {', '.join(map(shown, loose))} {MACHINE_NOTE}")
    return notes
