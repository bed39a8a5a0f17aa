# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types, releases and files of nova.conf; tests/definitions compares them with Nova's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import nova_conf as n
from ansible_collections.lowtide.compute.plugins.module_utils._planner import nova_conf_file as f
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    BY_ALIAS,
    BY_KEY,
    TABLE,
    find,
)

PATH = "/etc/nova/nova.conf"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2026.1", 33),
        ("Gazpacho", 33),
        (" 33 ", 33),
        ("33.0.2", 33),
        ("30.1.0.dev12", 30),
        ("3:31.0.0-6~deb13u1", None),
        ("35.0.0", 35),
        ("2026.3", None),
        ("latest", None),
        ("", None),
    ],
)
def test_a_release_has_many_names(text, number):
    assert n.release_number(text) == number


def test_a_release_is_named():
    assert n.release_name(33) == "2026.1 (33)"
    assert n.release_name(40) == "40"


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (n.Kind("Boolean"), "Yes", True),
        (n.Kind("Boolean"), False, False),
        (n.Kind("Integer", 3), " 7 ", 7),
        (n.Kind("Integer"), -4, -4),
        (n.Kind("Float"), 1, 1.0),
        (n.Kind("Float"), "0.5", 0.5),
        (n.Kind("String"), 5, "5"),
        (n.Kind("String", choices=("a", "b")), "b", "b"),
        (n.Kind("List"), "a, b,", ["a", "b"]),
        (n.Kind("List"), ["a", 1], ["a", "1"]),
        (n.Kind("List"), "", []),
        (n.Kind("MultiString"), ("a", "b"), ["a", "b"]),
        (n.Kind("MultiString"), "a", ["a"]),
        (n.Kind("HostAddress"), "2001:db8::1", "2001:db8::1"),
        (n.Kind("HostAddress"), "node-1.example.", "node-1.example"),
        (n.Kind("HostDomain"), "node_1", "node_1"),
    ],
)
def test_a_value_is_read(kind, given, value):
    found = kind.read(given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given", "why"),
    [
        (n.Kind("Boolean"), "perhaps", "true or false"),
        (n.Kind("Integer"), "1.5", "whole number"),
        (n.Kind("Integer"), True, "whole number"),
        (n.Kind("Integer", 3), 2, "3 or more"),
        (n.Kind("Integer", 3, 5), 6, "from 3 to 5"),
        (n.Kind("Float"), "much", "number"),
        (n.Kind("Float"), True, "number"),
        (n.Kind("String"), None, "text"),
        (n.Kind("String"), ["a"], "text"),
        (n.Kind("String", choices=("a", "b")), "c", "one of a, b"),
        (n.Kind("HostAddress"), "192.0.2.300", "IP address"),
        (n.Kind("HostAddress"), "node_1", "IP address"),
        (n.Kind("HostDomain"), "-x", "IP address"),
        (n.Kind("HostDomain"), "", "IP address"),
        (n.Kind("MultiString"), [["a"]], "text"),
    ],
)
def test_a_wrong_value_is_not(kind, given, why):
    with pytest.raises(ValueError, match=why):
        kind.read(given)


def test_our_range_is_within_nova_s():
    for option in TABLE:
        low, high = option.kind.low, option.kind.high
        assert option.least is None or low is None or option.least > low, option.key
        assert option.most is None or high is None, option.key
        if option.least is not None:
            with pytest.raises(ValueError, match=r"or more|from"):
                option.read(option.least - 1)
        if option.most is not None:
            with pytest.raises(ValueError, match="from"):
                option.read(option.most + 1)
            assert option.read(option.most) == option.most


def test_every_row_says_why_and_where():
    assert len(TABLE) == len(BY_KEY)
    for option in TABLE:
        assert option.why.endswith("."), option.key
        assert option.source, option.key
        assert not option.replaced_by or option.replaced_by in BY_KEY
        assert option.service in (n.COMPUTE, n.CONDUCTOR, n.SCHEDULER, n.API, n.ALL)


def test_an_option_is_found_under_each_of_its_names():
    assert find("libvirt", "cpu_model") is BY_KEY["libvirt.cpu_models"]
    assert find("DEFAULT", "vnc_enabled") is BY_KEY["vnc.enabled"]
    assert find("libvirt", "cpu_models") is BY_KEY["libvirt.cpu_models"]
    assert find("libvirt", "nonsense") is None
    assert not set(BY_ALIAS) & set(BY_KEY)


def test_an_option_belongs_to_some_releases():
    parallel = BY_KEY["libvirt.live_migration_parallel_connections"]
    assert [parallel.exists(release) for release in (32, 33, 34)] == [False, True, True]
    gone = BY_KEY["libvirt.live_migration_progress_timeout"]
    assert [gone.exists(release) for release in (18, 19, 27)] == [True, False, False]
    heal = BY_KEY["DEFAULT.heal_instance_info_cache_interval"]
    assert [heal.default_in(release) for release in (30, 31, 34)] == [60, -1, -1]


# --- files -----------------------------------------------------------------------------------


def conf(*texts, release=33):
    names = [f"/etc/nova/{at}.conf" for at in range(len(texts))]
    files = tuple(f.parse(name, text) for name, text in zip(names, texts, strict=True))
    return f.Configuration(files, release)


def value(configuration, key):
    return configuration.value(BY_KEY[key])


def test_the_last_file_wins_and_is_named():
    found = conf(
        "[libvirt]\nlive_migration_downtime = 700\n",
        "[LIBVIRT]\nlive_migration_downtime: 800\nlive_migration_downtime: 900",
    )
    assert value(found, "libvirt.live_migration_downtime") == f.Setting(900, "/etc/nova/1.conf")
    assert value(found, "libvirt.live_migration_bandwidth") == f.Setting(0, "default")


def test_an_old_name_counts_in_a_later_file():
    found = conf("[vnc]\nenabled = true", "[DEFAULT]\nvnc_enabled = false")
    assert value(found, "vnc.enabled") == f.Setting(False, "/etc/nova/1.conf")


def test_lines_of_a_list_of_texts_are_gathered():
    found = conf("[pci]\ndevice_spec = a\ndevice_spec = b", "[pci]\npassthrough_whitelist = c")
    assert value(found, "pci.device_spec") == f.Setting(["a", "b", "c"], "/etc/nova/1.conf")


def test_a_value_that_nova_does_not_take_is_told():
    found = value(conf("[libvirt]\nlive_migration_downtime = 5"), "libvirt.live_migration_downtime")
    assert found.value == "5"
    assert "100 or more" in found.problem


def test_references_are_followed():
    text = "[DEFAULT]\nmy_ip = 192.0.2.7\n[libvirt]\nmigration_inbound_addr = $my_ip\n"
    assert value(conf(text), "libvirt.migration_inbound_addr").value == "192.0.2.7"
    assert value(conf(""), "libvirt.migration_inbound_addr").value == "$my_ip"
    text = "[libvirt]\nlive_migration_uri = $$x-\\$y-${vnc.server_listen}-$other.thing\n"
    assert value(conf(text), "libvirt.live_migration_uri").value == "$x-$y-127.0.0.1-$other.thing"
    text = "[DEFAULT]\nsite = a\n[libvirt]\nlive_migration_scheme = $site\n"
    assert value(conf(text), "libvirt.live_migration_scheme").value == "a"


def test_a_reference_may_be_wrong():
    text = "[DEFAULT]\nmy_ip = $my_ip\n[libvirt]\nmigration_inbound_addr = $my_ip\n"
    found = value(conf(text), "libvirt.migration_inbound_addr")
    assert found.problem == "refers to DEFAULT.my_ip, which refers to itself"
    text = "[libvirt]\nlive_migration_downtime =\nlive_migration_scheme = x$live_migration_downtime"
    assert value(conf(text), "libvirt.live_migration_downtime") == f.Setting(
        None, "/etc/nova/0.conf"
    )
    assert value(conf(text), "libvirt.live_migration_scheme").value == "x"


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        ("[a", 1, "end with"),
        ("\n[]", 2, "without a name"),
        ("[a]\nb", 2, "neither"),
        ("[a]\n= b", 2, "no name"),
        ("  b", 1, "continues nothing"),
        ("[a]\nb = c\n\n  d", 4, "continues nothing"),
        ("a = b", 1, "before the first group"),
    ],
)
def test_a_bad_line_is_named(text, number, why):
    with pytest.raises(f.BadLine, match=why) as raised:
        f.parse(PATH, text)
    assert (raised.value.path, raised.value.number) == (PATH, number)


def test_lines_quotes_and_comments():
    found = f.parse(PATH, "# x\n[a]\r\nb = 'c d'\n; y\ne: f\n  g\n\nh = \"\nb = i=j:k\n")
    assert found.sections == {"a": {"b": ["c d", "i=j:k"], "e": ["f\ng"], "h": [""]}}


def test_a_file_takes_its_place_among_the_others():
    files = tuple(f.File(name, {}) for name in "abc")
    found = f.Configuration(files, 33)
    assert [file.path for file in found.with_file("b", {"x": {}}).files] == ["a", "b", "c"]
    assert [file.path for file in found.with_file("d", {}).files] == ["a", "b", "c", "d"]
    assert [file.path for file in found.with_file("b", None).files] == ["a", "c"]
    assert found.file("b") == files[1]
    assert found.file("d") is None


def test_in_force_are_the_release_s_options_and_more():
    found = f.in_force(conf("[odd]\nx = 1", release=27), [("odd", "x"), ("libvirt", "cpu_model")])
    assert found["odd.x"] == f.Setting("1", "/etc/nova/0.conf")
    assert "libvirt.live_migration_parallel_connections" not in found
    assert "libvirt.cpu_models" in found


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "))


@given(TEXTS.filter(lambda text: "$" not in text and "\\" not in text))
def test_what_is_written_is_read_again(text):
    line = f.Line("libvirt", "live_migration_uri", text)
    found = f.parse(PATH, f.render([line], directory_made=False))
    assert found.sections["libvirt"]["live_migration_uri"] == [text]


def test_a_drop_in_is_written_in_order():
    lines = [
        f.Line("vnc", "server_listen", "192.0.2.7"),
        f.Line("libvirt", "hw_machine_type", ["x86_64=q35", "b"]),
        f.Line("libvirt", "cpu_mode", "custom", "so that"),
        f.Line("DEFAULT", "resume_guests_state_on_host_boot", True),
        f.Line("filter_scheduler", "hypervisor_version_weight_multiplier", 2.0),
        f.Line("pci", "device_spec", ["a", "b"]),
        f.Line("libvirt", "live_migration_uri", None),
    ]
    text = f.render(lines, directory_made=True)
    assert text.splitlines() == [
        f.MARK,
        f.MADE,
        "",
        "[DEFAULT]",
        "resume_guests_state_on_host_boot = true",
        "",
        "[filter_scheduler]",
        "hypervisor_version_weight_multiplier = 2.0",
        "",
        "[libvirt]",
        "# so that",
        "cpu_mode = custom",
        "hw_machine_type = x86_64=q35,b",
        "live_migration_uri =",
        "",
        "[pci]",
        "device_spec = a",
        "device_spec = b",
        "",
        "[vnc]",
        "server_listen = 192.0.2.7",
    ]
    assert f.is_ours(text)
    assert f.directory_was_made(text)
    assert not f.directory_was_made(f.render(lines, directory_made=False))
    assert not f.is_ours("[libvirt]\n")
    assert not f.directory_was_made("[libvirt]\n" + f.MADE)
