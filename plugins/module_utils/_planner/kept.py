# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Files that are taken back to the byte: what to write, restore, remove, and leave alone.

This module util is **PRIVATE** to the collection: it may change without notice.
Texts are bytes decoded as UTF-8 with ``surrogateescape``, so that any file comes back as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

BEGIN, END = "# BEGIN {}\n", "# END {}\n"
DEFAULT_MODE = 0o644
#: Of what was written to a path, so many are known again: the last, and the one before it, which
#: is still there when a run was killed between its note and its deed.
REMEMBERED = 2


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is; with ``link`` a symbolic link to there, which has no text of its own."""

    text: str
    mode: int = DEFAULT_MODE
    uid: int = 0
    gid: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a path shall hold: the whole text, or a ``block`` of it. None: as it is, else root's."""

    path: str
    text: str
    block: bool = False
    secret: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a path: what was ``before``, and the digests of what was ``wrote``."""

    before: File | None
    wrote: tuple[str, ...] = ()
    block: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One path: ``here`` becomes ``after`` (None: no file). ``left``: it is no longer ours."""

    path: str
    here: File | None
    after: File | None
    known: Known
    left: bool = False

    @property
    def changed(self) -> bool:
        return self.here != self.after

    @property
    def action(self) -> str:
        """One word for what is done: none, left, create, replace or remove."""
        if self.left:
            return "left"
        if not self.changed:
            return "none"
        if self.here is None:
            return "create"
        return "remove" if self.after is None else "replace"


def digest(text: str) -> str:
    """What a text is recognised by; of a secret nothing else may be noted down."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def with_block(text: str, block: str, marker: str) -> str:
    """``text`` that begins with the block between its marks, whatever block it had.

    It begins with it because libvirt takes the first of several values (util/virconf.c).
    """
    ended = block if block.endswith("\n") else f"{block}\n"
    return BEGIN.format(marker) + ended + END.format(marker) + without_block(text, marker)


def without_block(text: str, marker: str) -> str:
    """``text`` without the block and its marks; as it is when one of them is missing."""
    head, begun, rest = text.partition(BEGIN.format(marker))
    _block, ended, tail = rest.partition(END.format(marker))
    return head + tail if begun and ended else text


def present(
    wanted: Iterable[Wanted],
    here: Mapping[str, File | None],
    known: Mapping[str, Known],
    marker: str,
) -> list[Step]:
    """Steps that make the files so; what was written earlier and is no longer wanted goes back."""
    wishes = list(wanted)
    asked = {wish.path for wish in wishes}
    forward = [_forward(wish, here[wish.path], known.get(wish.path), marker) for wish in wishes]
    return forward + absent(here, {p: k for p, k in known.items() if p not in asked}, marker)


def absent(here: Mapping[str, File | None], known: Mapping[str, Known], marker: str) -> list[Step]:
    """Steps that take everything back, the last first: configuration before what it names."""
    return [_back(path, here[path], known[path], marker) for path in reversed(list(known))]


def _forward(wish: Wanted, here: File | None, known: Known | None, marker: str) -> Step:
    old = here or File("")
    text = with_block(old.text, wish.text, marker) if wish.block else wish.text
    after = File(
        text,
        old.mode if wish.mode is None else wish.mode,
        old.uid if wish.uid is None else wish.uid,
        old.gid if wish.gid is None else wish.gid,
    )
    first = known or Known(here, block=wish.block, secret=wish.secret)
    wrote = (*(each for each in first.wrote if each != digest(text)), digest(text))
    return Step(wish.path, here, after, replace(first, wrote=wrote[-REMEMBERED:]))


def _back(path: str, here: File | None, known: Known, marker: str) -> Step:
    if known.block:
        return Step(path, here, _unmarked(here, known, marker), known)
    foreign = here is not None and digest(here.text) not in known.wrote
    if here == known.before or (foreign and not _same(here, known.before)):
        return Step(path, here, here, known, left=here != known.before)
    return Step(path, here, known.before, known)


def _same(here: File | None, before: File | None) -> bool:
    """Whether only mode or owner differ from what was before."""
    return here is not None and before is not None and here.text == before.text


def _unmarked(here: File | None, known: Known, marker: str) -> File | None:
    """The file without our block; none when nothing is left and there was none before."""
    if here is None:
        return None
    text = without_block(here.text, marker)
    return None if known.before is None and not text else replace(here, text=text)
