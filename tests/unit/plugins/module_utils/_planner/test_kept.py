# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever was there comes back; what somebody else wrote meanwhile stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import kept
from ansible_collections.lowtide.compute.plugins.module_utils._planner.kept import (
    File,
    Known,
    Wanted,
)

PATH, MARKER = "/etc/a.conf", "lowtide.compute"
TEXTS = st.text(alphabet="ab#\n \udc80", max_size=30)


def forward(wish, here, known=None):
    (step,) = kept.present([wish], {PATH: here}, {PATH: known} if known else {}, MARKER)
    return step


def back(here, known):
    (step,) = kept.absent({PATH: here}, {PATH: known}, MARKER)
    return step


wishes = st.builds(Wanted, path=st.just(PATH), text=TEXTS, block=st.booleans())
files = st.none() | st.builds(File, text=TEXTS, mode=st.sampled_from([0o600, 0o644, 0o640]))


@given(wishes, files)
def test_what_was_written_is_taken_back_to_the_byte(wish, here):
    there = forward(wish, here)
    returned = back(there.after, there.known)
    assert returned.after == here
    assert not returned.left


@given(wishes, wishes, files)
def test_so_is_what_was_written_twice(first, second, here):
    second = kept.replace(second, block=first.block)
    one = forward(first, here)
    two = forward(second, one.after, one.known)
    assert two.known.before == here
    assert back(two.after, two.known).after == here
    # Killed between the note of the second and its deed.
    assert back(one.after, two.known).after == here


@given(wishes, files)
def test_the_second_time_there_is_nothing_to_do(wish, here):
    first = forward(wish, here)
    second = forward(wish, first.after, first.known)
    assert (second.changed, second.action) == (False, "none")


def test_lines_come_first_and_what_others_add_later_stays():
    step = forward(Wanted(PATH, "x = 1", block=True), File("x = 2\n", 0o600))
    assert step.after == File(
        "# BEGIN lowtide.compute\nx = 1\n# END lowtide.compute\nx = 2\n", 0o600
    )
    edited = kept.replace(step.after, text=step.after.text + "y = 3\n")
    assert back(edited, step.known).after == File("x = 2\ny = 3\n", 0o600)


def test_lines_whose_end_is_gone_are_not_guessed():
    torn = File("# BEGIN lowtide.compute\nx = 1\nx = 2\n")
    step = back(torn, Known(File("x = 2\n"), block=True))
    assert (step.action, step.after) == ("none", torn)


def test_a_file_that_held_only_our_lines_goes():
    step = forward(Wanted(PATH, "x = 1", block=True), None)
    assert step.action == "create"
    assert back(step.after, step.known).action == "remove"


def test_with_what_others_added_it_stays():
    step = forward(Wanted(PATH, "x = 1", block=True), None)
    edited = kept.replace(step.after, text=step.after.text + "y = 3\n")
    assert back(edited, step.known).after == File("y = 3\n")
    assert back(None, step.known).action == "none"


def test_a_file_that_somebody_replaced_is_left_alone():
    step = forward(Wanted(PATH, "ours"), File("before"))
    taken = back(File("theirs"), step.known)
    assert (taken.action, taken.after, taken.left) == ("left", File("theirs"), True)


def test_one_that_somebody_removed_comes_back_as_it_was():
    step = forward(Wanted(PATH, "ours"), File("before", 0o600, 7, 8))
    assert back(None, step.known).after == File("before", 0o600, 7, 8)


def test_a_link_comes_back_as_a_link():
    link = File("", 0o777, link="elsewhere")
    step = forward(Wanted(PATH, "ours", mode=0o640, gid=5), link)
    assert step.after == File("ours", 0o640, 0, 5)
    assert back(step.after, step.known).after == link


def test_only_the_mode_that_somebody_changed_goes_back():
    step = forward(Wanted(PATH, "same"), File("same", 0o600))
    assert back(File("same", 0o666), step.known).after == File("same", 0o600)
    untouched = Known(File("same", 0o600))
    assert back(File("same", 0o666), untouched).after == File("same", 0o600)


def test_what_is_no_longer_wanted_goes_back_last_written_first():
    here = {"/a": File("1"), "/b": File("2"), "/c": None}
    steps = {}
    for path in ("/a", "/b"):
        steps[path] = Known(None, (kept.digest(here[path].text),))
    found = kept.present([Wanted("/c", "3")], here, steps, MARKER)
    assert [(step.path, step.action) for step in found] == [
        ("/c", "create"),
        ("/b", "remove"),
        ("/a", "remove"),
    ]
