# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's policy: every key's range, every field's precedence, and nothing that ever raises."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import model as m
from ansible_collections.lowtide.compute.plugins.module_utils._planner.codec import decode, encode
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy import (
    FIELDS,
    OPERATORS,
    PRECEDENCE,
    PROFILES,
    policy_notes,
    refused_default,
    resolve,
    wish_of,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner.policy_keys import (
    KEYS,
    KINDS,
    PLACES,
    spelled,
)
from tests.unit.support import guest

TEXTS = {"flavor": "extra_specs", "image": "image_properties", "instance": "metadata"}
STX = "hw:wrs:live_migration_"


def asking(**places):
    """A guest whose flavor, image and instance have these texts, by key as flavors spell it."""
    return guest(
        **{
            TEXTS[place]: {spelled(key, place): text for key, text in texts.items()}
            for place, texts in places.items()
        }
    )


def resolved(options=None, **places):
    return resolve(asking(**places), options or m.Options())


def operator(**policy):
    return m.Options(policy={name: str(value) for name, value in policy.items()})


# --- ranges --------------------------------------------------------------------------------

#: Key -> texts that are taken (with their value), and texts that are not.
RANGES = {
    f"{STX}timeout": (
        {"0": 0, "120": 120, "800": 800, " 180 ": 180, "0180": 180},
        (
            "119",
            "801",
            "1",
            "-1",
            "+180",
            "180.0",
            "1e3",
            "",
            "abc",
            "\uff11\uff18\uff10",
            "9" * 5000,
        ),
    ),
    f"{STX}max_downtime": (
        {"100": 100, "500": 500, "2000000": 2_000_000},
        ("0", "99", "2000001", "-100", "0.5", "1_000", "none"),
    ),
    f"{STX}auto_converge": (
        {"true": True, "False": False, "1": True, "off": False, " Y ": True},
        ("", "maybe", "2", "truee", "None"),
    ),
    "sw:wrs:recovery_priority": ({"1": 1, "10": 10}, ("0", "11", "high", "-1")),
    "lowtide:completion_timeout": ({"0": 0, "10": 10, "7200": 7200}, ("9", "7201", "x")),
    "lowtide:max_downtime_ms": ({"10": 10, "2000000": 2_000_000}, ("9", "0", "2000001")),
    "lowtide:bandwidth_mib_s": ({"10": 10, "100000": 100_000}, ("9", "100001", "1.5")),
    "lowtide:auto_converge": ({"yes": True, "no": False}, ("often",)),
    "lowtide:post_copy": ({"false": False, "N": False}, ("never",)),
    "lowtide:on_timeout": ({"abort": "abort", " Abort ": "abort"}, ("kill", "")),
    "lowtide:recovery_priority": ({"1": 1, "10": 10}, ("0", "11")),
    "lowtide:wish": ({"leave": "leave", "Notify": "notify"}, ("stay", "")),
}
TAKEN = [(key, text, value) for key, (good, _bad) in RANGES.items() for text, value in good.items()]
REFUSED = [(key, text) for key, (_good, bad) in RANGES.items() for text in bad]
FIELD = {key.name: key for key in KEYS}


def test_every_key_has_its_ranges():
    assert set(RANGES) == set(FIELD)


@pytest.mark.parametrize(("key", "text", "value"), TAKEN)
def test_what_is_allowed_is_taken_wherever_the_key_may_be(key, text, value):
    for place in FIELD[key].places:
        policy = resolved(**{place: {key: text}})
        field = FIELD[key].field
        assert getattr(policy, field) == value
        assert policy.sources[field] == f"{place} {spelled(key, place)}"
        assert policy.findings == ()


@pytest.mark.parametrize(("key", "text"), REFUSED)
def test_what_is_not_allowed_is_named_and_ignored(key, text):
    for place in FIELD[key].places:
        policy = resolved(**{place: {key: text}})
        [finding] = policy.findings
        assert finding.startswith(f"{place} {spelled(key, place)}: {text[:37]!r}"[:40])
        assert FIELD[key].kind.allowed in finding
        assert (policy.sources, getattr(policy, FIELD[key].field)) == (
            resolved().sources,
            getattr(resolved(), FIELD[key].field),
        )


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("image", f"{STX}auto_converge"),
        ("flavor", f"{STX}permit_auto_converge"),
        ("flavor", "lowtide:max_downtime"),
        ("image", "lowtide:wishes"),
        ("instance", "lowtide:"),
    ],
)
def test_a_key_that_does_not_exist_there_is_a_finding(place, key):
    [finding] = resolved(**{place: {key: "1"}}).findings
    assert finding.startswith(f"{place} {spelled(key, place)}: '1' is ignored: no such key there")


def test_a_finding_is_one_line_whatever_the_key_is_called():
    [finding] = resolved(image={"lowtide:\n" + "x" * 200: "a\nb"}).findings
    assert finding.isprintable()
    assert len(finding) < 200


@pytest.mark.parametrize("place", ["flavor", "instance"])
def test_tunnelling_is_a_thing_of_the_past(place):
    [finding] = resolved(**{place: {f"{STX}tunnel": "true"}}).findings
    assert "deprecated" in finding


def test_what_others_write_is_nobody_s_business():
    others = {"hw:cpu_policy": "dedicated", "sw:wrs:auto_recovery": "x", "lowtideness": "high"}
    assert resolved(flavor=others, image=others, instance=others).findings == ()
    assert resolved(flavor={"sw:wrs:recovery_priority": "1"}) == resolved()


def test_a_bad_value_lets_the_next_voice_count():
    policy = resolved(
        flavor={f"{STX}max_downtime": "99"},
        instance={f"{STX}max_downtime": "700"},
    )
    assert (policy.max_downtime_ms, len(policy.findings)) == (700, 1)
    policy = resolved(flavor={"lowtide:max_downtime_ms": "x", f"{STX}max_downtime": "700"})
    assert (policy.max_downtime_ms, policy.sources["max_downtime_ms"]) == (
        700,
        f"flavor {STX}max_downtime",
    )


def test_long_texts_are_shortened():
    [finding] = resolved(instance={"lowtide:wish": "x" * 255}).findings
    assert len(finding) < 150


# --- precedence ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavor", "image", "instance", "expected"),
    [
        ("", "", "", 0),
        ("180", "", "", 180),
        ("0", "", "", 0),
        ("0", "0", "0", 0),
        ("0", "300", "", 300),
        ("600", "300", "120", 120),
        ("120", "300", "600", 120),
        ("0", "800", "700", 700),
    ],
)
def test_timeout_is_the_lowest_that_is_not_zero(flavor, image, instance, expected):
    values = {"flavor": flavor, "image": image, "instance": instance}
    asked = {place: {f"{STX}timeout": text} for place, text in values.items() if text}
    assert resolved(**asked).completion_timeout == expected


timeouts = st.sampled_from([0, *range(120, 801)])


@given(st.dictionaries(st.sampled_from(PLACES), timeouts, min_size=1))
def test_timeout_is_starlingx_s_whatever_is_asked(asked):
    policy = resolved(
        m.Options(profile="starlingx"),
        **{place: {f"{STX}timeout": str(value)} for place, value in asked.items()},
    )
    assert policy.completion_timeout == min([v for v in asked.values() if v], default=0)


ORDERS = {
    "max_downtime_ms": ("flavor", "instance", "image"),
    "auto_converge": ("instance", "flavor", "image"),
    "recovery_priority": ("instance", "flavor", "image"),
    "wish": ("instance", "flavor", "image"),
}
WORDS = {
    "max_downtime_ms": ("100", "200", "300"),
    "auto_converge": ("true", "false", "true"),
    "recovery_priority": ("1", "2", "3"),
    "wish": ("leave", "notify", "migrate"),
}


@pytest.mark.parametrize("field", ORDERS)
@pytest.mark.parametrize("absent", range(4))
def test_places_in_their_order(field, absent):
    asked = list(zip(ORDERS[field], WORDS[field], strict=True))[absent:]
    policy = resolved(**{place: {f"lowtide:{field}": text} for place, text in asked})
    if not asked:
        assert policy.sources[field] == "default"
        return
    place, text = asked[0]
    assert getattr(policy, field) == KINDS[field].read(text)
    assert policy.sources[field] == f"{place} {spelled(f'lowtide:{field}', place)}"


@pytest.mark.parametrize(
    ("stx", "neutral", "field", "expected"),
    [
        (f"{STX}timeout", "lowtide:completion_timeout", "completion_timeout", 300),
        (f"{STX}max_downtime", "lowtide:max_downtime_ms", "max_downtime_ms", 300),
    ],
)
def test_in_one_place_the_neutral_key_comes_first(stx, neutral, field, expected):
    policy = resolved(flavor={stx: "200", neutral: "300"})
    assert getattr(policy, field) == expected
    # Across places the place decides, whatever the key.
    policy = resolved(
        flavor={f"{STX}max_downtime": "200"}, instance={"lowtide:max_downtime_ms": "9"}
    )
    assert policy.max_downtime_ms == 200


@given(
    st.dictionaries(st.sampled_from(PLACES), st.sampled_from([0, 10, 20, 500])),
    st.sampled_from([0, 10, 50, 1000]),
)
def test_nobody_lifts_a_limit(asked, limit):
    policy = resolved(
        operator(bandwidth_mib_s=limit),
        **{place: {"lowtide:bandwidth_mib_s": str(value)} for place, value in asked.items()},
    )
    limits = [value for value in (limit, *asked.values()) if value]
    assert policy.bandwidth_mib_s == min(limits, default=0)
    assert policy.findings == ()


FORCED = "force_complete"
MILDEST = ("abort", "leave", FORCED)
words = st.sampled_from(MILDEST)
flags = st.sampled_from([None, True, False])


@given(st.dictionaries(st.sampled_from(PLACES), words), words, flags, flags)
def test_nobody_is_forced_whom_anybody_protects(asked, drain, allowed, wanted):
    places = {place: {"lowtide:on_timeout": text} for place, text in asked.items()}
    if wanted is not None:
        places.setdefault("instance", {})["lowtide:post_copy"] = str(wanted)
    policy = {} if allowed is None else {"post_copy": str(allowed)}
    found = resolved(m.Options(on_timeout=drain, policy=policy), **places)
    forbidden = allowed is False or wanted is False
    if found.on_timeout == "force_complete":
        assert not forbidden
        assert set(asked.values()) <= {"force_complete"}
        assert drain == "force_complete" or (allowed and asked)
    if "abort" in asked.values() or (drain == "abort" and not allowed):
        assert found.on_timeout == "abort"
    assert (found.post_copy is True) == (allowed is True and wanted is not False)
    assert (found.post_copy is False) == forbidden


@pytest.mark.parametrize(
    ("drain", "post_copy", "asked", "expected", "source"),
    [
        ("abort", None, {}, "abort", "option on_timeout"),
        ("force_complete", None, {}, "force_complete", "option on_timeout"),
        ("force_complete", False, {}, "abort", "option policy.post_copy"),
        ("force_complete", None, {"flavor": "leave"}, "leave", "flavor lowtide:on_timeout"),
        ("force_complete", None, {"image": "abort"}, "abort", "image lowtide_on_timeout"),
        ("abort", None, {"flavor": "leave"}, "abort", "option on_timeout"),
        ("abort", True, {"flavor": FORCED}, FORCED, "flavor lowtide:on_timeout"),
        ("leave", True, {"image": FORCED}, FORCED, "image lowtide_on_timeout"),
        ("abort", True, {"flavor": FORCED, "image": "leave"}, "leave", "image lowtide_on_timeout"),
        ("abort", False, {"instance": FORCED}, "abort", "option on_timeout"),
    ],
)
def test_on_timeout(drain, post_copy, asked, expected, source):
    policy = {} if post_copy is None else {"post_copy": str(post_copy)}
    found = resolved(
        m.Options(on_timeout=drain, policy=policy),
        **{place: {"lowtide:on_timeout": text} for place, text in asked.items()},
    )
    assert (found.on_timeout, found.sources["on_timeout"]) == (expected, source)


def test_a_guest_that_forbids_post_copy_is_never_forced():
    options = m.Options(on_timeout="force_complete")
    policy = resolved(options, image={"lowtide:post_copy": "false"})
    assert (policy.on_timeout, policy.post_copy) == ("abort", False)
    assert policy.sources["on_timeout"] == "image lowtide_post_copy"
    # It would not have been forced anyway: then its own word stands.
    own = {"lowtide:post_copy": "false", "lowtide:on_timeout": "leave"}
    assert resolved(options, instance=own).on_timeout == "leave"


@pytest.mark.parametrize("place", PLACES)
def test_only_the_operator_allows_post_copy(place):
    policy = resolved(**{place: {"lowtide:post_copy": "true"}})
    assert policy.post_copy is None
    assert "only the operator allows post-copy" in policy.findings[0]
    policy = resolved(**{place: {"lowtide:on_timeout": "force_complete"}})
    assert policy.on_timeout == "abort"
    assert "only the operator allows it" in policy.findings[0]
    refused = resolved(operator(post_copy=False), **{place: {"lowtide:post_copy": "true"}})
    assert (refused.post_copy, len(refused.findings)) == (False, 1)
    allowed = resolved(operator(post_copy=True), **{place: {"lowtide:post_copy": "true"}})
    assert (allowed.post_copy, allowed.findings) == (True, ())


# --- the operator --------------------------------------------------------------------------


def test_without_anything_it_is_the_default():
    policy = resolved()
    assert policy == m.Policy(sources=policy.sources)
    assert set(policy.sources) == set(FIELDS)
    assert set(policy.sources.values()) == {"default", "option on_timeout"}


def test_every_field_has_a_precedence():
    assert set(PRECEDENCE) | {"post_copy", "on_timeout"} == set(FIELDS) == set(KINDS)


@pytest.mark.parametrize(
    ("profile", "downtime", "timeout", "how"),
    [
        ("minimize_downtime", 200, 360, "abort"),
        ("complete_quickly", 2000, 40, "force_complete"),
        ("starlingx", 500, 180, "abort"),
    ],
)
def test_profiles(profile, downtime, timeout, how):
    policy = resolved(m.Options(profile=profile))
    assert (policy.max_downtime_ms, policy.completion_timeout) == (downtime, timeout)
    assert policy.on_timeout == how
    assert policy.sources["max_downtime_ms"] == f"profile {profile}"
    assert policy.findings == ()


def test_every_profile_is_tested_and_sets_what_exists():
    assert set(PROFILES) == {"minimize_downtime", "complete_quickly", "starlingx"}
    for profile in PROFILES.values():
        assert set(profile.values) <= set(OPERATORS)
        for name, value in profile.values.items():
            assert KINDS[name].read(str(value)) == value


def test_a_profile_s_patience_grows_with_the_guest():
    large = guest(ram_mib=64 * 1024, disk_gib=36)
    policy = resolve(large, m.Options(profile="complete_quickly"))
    assert policy.completion_timeout == 2000
    assert resolve(large, m.Options(profile="starlingx")).completion_timeout == 180


def test_option_then_profile_then_default():
    options = m.Options(profile="complete_quickly", policy={"max_downtime_ms": "700"})
    policy = resolve(guest(), options)
    assert policy.max_downtime_ms == 700
    assert policy.sources["max_downtime_ms"] == "option policy.max_downtime_ms"
    assert policy.sources["on_timeout"] == "profile complete_quickly"
    assert policy.sources["bandwidth_mib_s"] == "default"
    policy = resolve(guest(), m.Options(profile="complete_quickly", policy={"on_timeout": "leave"}))
    assert policy.on_timeout == "leave"


@pytest.mark.parametrize("field", ["completion_timeout", "max_downtime_ms", "recovery_priority"])
def test_a_guest_s_word_comes_before_the_operator_s_default(field):
    options = operator(completion_timeout=60, max_downtime_ms=100, recovery_priority=5)
    policy = resolved(options, instance={f"lowtide:{field}": "10"})
    assert getattr(policy, field) == 10
    assert policy.sources[field] == f"instance lowtide:{field}"


def test_zero_seconds_of_its_own_hand_it_back_to_its_size():
    policy = resolved(m.Options(profile="starlingx"), instance={f"{STX}timeout": "0"})
    assert policy.completion_timeout == 0


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("max_downtime_ms", "300", ""),
        ("auto_converge", "True", ""),
        ("max_downtime_ms", "9", "10 to 2000000 milliseconds"),
        ("completion_timeout", "-1", "0 (none of its own) or 10 to 7200 seconds"),
        ("on_timeout", "panic", "one of abort, leave, force_complete"),
        ("wish", "migrate", "one of completion_timeout, "),
        ("colour", "blue", "one of completion_timeout, "),
    ],
)
def test_what_an_operator_may_set(name, text, allowed):
    found = refused_default(name, text)
    assert found.startswith(allowed)
    assert bool(found) == bool(allowed)


def test_the_wish_is_the_owner_s():
    assert resolve(guest(), m.Options(policy={"wish": "leave"})).wish == "migrate"
    found = wish_of(asking(flavor={"lowtide:wish": "leave"}, instance={"lowtide:wish": "notify"}))
    assert (found.value, found.source) == ("notify", "instance lowtide:wish")
    assert wish_of(guest()).source == "default"


# --- notes ---------------------------------------------------------------------------------


def test_auto_converge_is_only_reported():
    [note] = policy_notes(resolved(instance={"lowtide:auto_converge": "off"}), m.Estimate(1.0, 1))
    assert note.startswith("wants auto-converge off")
    assert policy_notes(resolved(), m.Estimate(1.0, 1)) == ()


def test_what_will_not_converge_is_said_beforehand():
    estimate = m.Estimate(1.0, 1, downtime_ms=970.4, converges=False)
    [note] = policy_notes(resolved(), estimate)
    assert "within its 500 ms" in note
    assert "about 970 ms" in note


# --- never raises --------------------------------------------------------------------------

names = st.sampled_from(
    [spelled(key.name, place) for key, place in itertools.product(KEYS, PLACES)]
    + [f"{STX}tunnel", "lowtide:x", "lowtide_", "hw_wrs_live_migration_y"]
)
numerals = st.integers(-10, 10**12).map(str)
said = st.sampled_from(["true", "no", "leave", "abort", "force_complete", "0", "500"])
texts = st.dictionaries(names | st.text(), said | numerals | st.text(), max_size=12)


@given(texts, texts, texts, st.sampled_from(["", "nonsense", *PROFILES]), texts, words)
def test_no_text_is_a_crash(flavor, image, instance, profile, policy, on_timeout):
    options = m.Options(profile=profile, policy=policy, on_timeout=on_timeout)
    asked = guest(extra_specs=flavor, image_properties=image, metadata=instance)
    found = resolve(asked, options)
    assert found.on_timeout in MILDEST
    assert found.max_downtime_ms >= 10
    assert 0 <= found.completion_timeout <= 7200
    assert 1 <= found.recovery_priority <= 10
    assert set(found.sources) == set(FIELDS)
    assert decode(m.Policy, json.loads(json.dumps(encode(found)))) == found
