# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile, what forbids it, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.lowtide.compute.plugins.module_utils._planner import nova_conf_file as f
from ansible_collections.lowtide.compute.plugins.module_utils._planner import nova_conf_plan as p
from ansible_collections.lowtide.compute.plugins.module_utils._planner import nova_conf_profile as o
from ansible_collections.lowtide.compute.plugins.module_utils._planner import nova_conf_rules as r
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf import RELEASES
from ansible_collections.lowtide.compute.plugins.module_utils._planner.nova_conf_options import (
    BY_KEY,
)

MAIN, PATH = "/etc/nova/nova.conf", "/etc/nova/nova.conf.d/90.conf"
LATER = "/etc/nova/nova.conf.d/99.conf"
HERE = r.Host(frozenset({"192.0.2.7", "2001:db8::7%eth0"}), (7, 2, 0))
TIMEOUT = "libvirt.live_migration_completion_timeout"


def conf(main="", present="", later="", release=33):
    texts = {MAIN: main, PATH: present, LATER: later}
    return f.Configuration(tuple(f.parse(path, text) for path, text in texts.items()), release)


def made(settings=None, options=None, *, host=HERE, reads=True, names=None, **texts):
    wish = p.Wish(PATH, settings, options or {}, names or r.Names(), reads)
    return p.plan(wish, conf(**texts), host)


def said(plan):
    return {line.key: line.value for line in plan.lines}


def faults(plan):
    return [finding.name for finding in plan.faults]


def warned(plan):
    return [finding.name for finding in plan.warnings]


# --- the profile ---------------------------------------------------------------------------------


def test_the_profile_for_ten_gigabit():
    found = {line.key: line for line in o.lines(o.Settings())}
    # 10^10 bits are 1192 MiB; 70 % of that, halved.
    assert found["libvirt.live_migration_bandwidth"].value == 417
    assert found["libvirt.live_migration_bandwidth"].because == (
        "MiB/s: 70 % of 10 Gbit/s, for 2 at a time"
    )
    assert found["libvirt.live_migration_downtime_delay"].value == 3
    assert found[TIMEOUT].value == 45
    assert found["DEFAULT.max_concurrent_live_migrations"].value == 2
    assert found["DEFAULT.rpc_response_timeout"].value == 120
    assert found["libvirt.live_migration_permit_auto_converge"].value is True
    assert "libvirt.live_migration_inbound_addr" not in found
    assert "vnc.server_listen" not in found


def test_a_slow_link_takes_its_time():
    found = {line.key: line.value for line in o.lines(o.Settings(link_gbit_s=1, concurrent=1))}
    assert found["libvirt.live_migration_bandwidth"] == 83
    # 1024 MiB in 12.3 s.
    assert found["libvirt.live_migration_downtime_delay"] == 13
    assert found[TIMEOUT] == 3 * 13 * 5


def test_what_is_given_is_not_computed():
    settings = o.Settings(
        bandwidth_mib_s=0, downtime_delay_s=7, completion_timeout_s_per_gib=90, concurrent=1
    )
    found = {line.key: line for line in o.lines(settings)}
    assert found["libvirt.live_migration_bandwidth"].value == 0
    assert found["libvirt.live_migration_downtime_delay"].value == 7
    assert found[TIMEOUT] == f.Line("libvirt", "live_migration_completion_timeout", 90)
    assert settings.pass_s_per_gib() == pytest.approx(1024 / settings.link_mib_s())


def test_every_setting_that_is_written_has_an_option():
    assert set(o.NAMES) - set(o.OPTIONS) == {"link_gbit_s", "link_share"}
    assert set(o.OPTIONS.values()) <= set(BY_KEY)


#: One in ten is what should be refused.
RARELY = st.integers(0, 9).map(lambda number: number == 0)
SETTINGS = st.builds(
    o.Settings,
    link_gbit_s=st.floats(0.5, 400),
    link_share=st.floats(0.05, 1),
    concurrent=st.integers(0, 20),
    bandwidth_mib_s=st.none() | st.integers(0, 300),
    downtime_ms=st.integers(90, 2_000_000),
    downtime_steps=st.integers(2, 30),
    downtime_delay_s=st.none() | st.integers(2, 100),
    completion_timeout_s_per_gib=st.none() | st.integers(0, 5000),
    timeout_action=st.sampled_from(["abort", "force_complete"]),
    permit_post_copy=st.booleans(),
    permit_auto_converge=st.booleans(),
    parallel_connections=st.just(1) | st.integers(0, 256),
    native_tls=st.booleans(),
    tunnelled=RARELY,
    monitor_interval_s=st.none() | st.integers(0, 60),
    rpc_response_timeout_s=st.integers(0, 600),
)
RELEASE = st.sampled_from(sorted(RELEASES))
QEMU = st.sampled_from([(), (7, 2, 0), (10, 0, 9), (10, 1, 0), (11, 0, 0)])


@given(SETTINGS, RELEASE, QEMU)
def test_what_is_accepted_nova_starts_with(settings, release, qemu):
    """Nova's own checks, at its start and of each value, on what would be in force."""
    plan = made(settings, host=r.Host(qemu=qemu), release=release)
    assume(not plan.faults)
    now = {key: setting.value for key, setting in plan.effective.items()}
    libvirt = {key.removeprefix("libvirt."): value for key, value in now.items()}
    if libvirt.get("live_migration_parallel_connections", 1) > 1:
        assert not libvirt["live_migration_permit_post_copy"] or qemu >= (10, 1, 0)
    assert not libvirt["live_migration_tunnelled"]
    assert libvirt.get("live_migration_monitor_interval", 5) > 0
    for line in plan.lines:
        option = BY_KEY[line.key]
        assert option.exists(release)
        assert option.kind.read(line.texts()[0]) == line.value
    timeout = now[TIMEOUT]
    growth = libvirt["live_migration_downtime_delay"] * libvirt["live_migration_downtime_steps"]
    assert timeout == 0 or timeout > growth
    at_once = now["DEFAULT.max_concurrent_live_migrations"]
    assert libvirt["live_migration_bandwidth"] * at_once <= settings.link_mib_s()


@given(SETTINGS, RELEASE)
def test_what_is_written_comes_true(settings, release):
    plan = made(settings, main="[libvirt]\nlive_migration_tunnelled = true\n", release=release)
    assume(not plan.faults)
    for line in plan.lines:
        assert plan.effective[line.key] == f.Setting(line.value, PATH)


# --- one bad setting -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bad", "why"),
    [
        ("link_gbit_s", 0, "not the speed"),
        ("link_gbit_s", 10000, "not the speed"),
        ("link_gbit_s", 0.01, "less than 1 MiB/s"),
        ("link_share", 70, "not a part"),
        ("link_share", 0, "not a part"),
        ("concurrent", 0, "1 or more"),
        ("bandwidth_mib_s", -1, "from 0"),
        ("bandwidth_mib_s", 1000, "more than the 1192 MiB/s"),
        ("inbound_addr", "not a host", "host name"),
        ("inbound_addr", "127.0.0.1", "no address at which"),
        ("inbound_addr", "0.0.0.0", "no address at which"),
        ("inbound_addr", "192.0.2.8", "not an address of this host"),
        ("cold_inbound_addr", "192.0.2.8", "not an address of this host"),
        ("downtime_ms", 99, "from 100"),
        ("downtime_ms", 2_000_001, "to 2e"),
        ("downtime_steps", 2, "3 or more"),
        ("downtime_delay_s", 2, "3 or more"),
        ("completion_timeout_s_per_gib", -1, "0 or more"),
        ("completion_timeout_s_per_gib", 15, "3 s x 5 steps"),
        ("timeout_action", "pause", "one of abort, force_complete"),
        ("parallel_connections", 0, "from 1 to 255"),
        ("parallel_connections", 256, "from 1 to 255"),
        ("tunnelled", True, "through libvirt"),
        ("monitor_interval_s", 0, "1 or more"),
        ("rpc_response_timeout_s", 0, "1 or more"),
        ("vif_plugging_timeout_s", -1, "0 or more"),
        ("shutdown_timeout_s", -1, "0 or more"),
        ("vnc_server_listen", "192.0.2.8", "not an address of this host"),
        ("vnc_server_listen", "here & there", "host name"),
    ],
)
def test_a_bad_setting_is_refused_by_name(name, bad, why):
    plan = made(replace(o.Settings(), **{name: bad}), names=r.Names("nova_migration_"))
    (fault,) = plan.faults
    assert fault.name == f"nova_migration_{name}"
    assert fault.value == bad
    assert why in fault.why
    assert fault.remedy


def test_all_faults_come_at_once():
    settings = o.Settings(
        concurrent=0, downtime_ms=5, inbound_addr="192.0.2.9", tunnelled=True, native_tls=True
    )
    plan = made(settings, {"libvirt": {"cpu_mode": "best"}, "vnc": {"server_listen": "192.0.2.9"}})
    assert sorted(faults(plan)) == [
        "options.libvirt.cpu_mode",
        "options.vnc.server_listen",
        "settings.concurrent",
        "settings.downtime_ms",
        "settings.inbound_addr",
        "settings.tunnelled",
    ]
    assert "nova-compute does not start" in next(
        fault.why for fault in plan.faults if fault.name == "settings.tunnelled"
    )


def test_a_sentence_has_name_value_reason_source_and_remedy():
    finding = r.Finding("a", 5, "is wrong", "Do b", "nova/x.py")
    assert finding.sentence() == "a: 5 is wrong (nova/x.py). Do b"
    assert r.Finding("a", "b", "c", "d").sentence() == "a: 'b' c. d"


# --- several connections and post-copy ------------------------------------------------------------

BOTH = o.Settings(parallel_connections=4, permit_post_copy=True, permit_auto_converge=False)


@pytest.mark.parametrize(
    ("qemu", "release", "refused"),
    [
        ((7, 2, 0), 33, True),
        ((10, 0, 9), 33, True),
        ((), 33, True),
        ((10, 1, 0), 33, False),
        # It is not written there, so that Nova does not mind.
        ((7, 2, 0), 32, False),
    ],
)
def test_parallel_connections_with_post_copy_want_qemu_10_1(qemu, release, refused):
    plan = made(BOTH, host=r.Host(qemu=qemu), release=release)
    assert faults(plan) == (["settings.parallel_connections"] if refused else [])


def test_what_another_file_says_counts():
    main = "[libvirt]\nlive_migration_permit_post_copy = true"
    option = {"libvirt": {"live_migration_parallel_connections": 2}}
    assert faults(made(None, option, main=main)) == [
        "options.libvirt.live_migration_parallel_connections"
    ]
    main = "[libvirt]\nlive_migration_parallel_connections = 2"
    option = {"libvirt": {"live_migration_permit_post_copy": True}}
    assert faults(made(None, option, main=main)) == [
        f"libvirt.live_migration_parallel_connections in {MAIN}"
    ]
    main = "[libvirt]\nlive_migration_parallel_connections ="
    assert made(None, option, main=main).faults == []
    # A value that Nova does not take is told, and does not confuse the rules.
    main = "[libvirt]\nlive_migration_parallel_connections = many"
    plan = made(None, option, main=main)
    assert plan.faults == []
    assert f"libvirt.live_migration_parallel_connections in {MAIN}" in warned(plan)


def test_post_copy_and_devices():
    settings = o.Settings(permit_post_copy=True, permit_auto_converge=False)
    vgpu = made(settings, main="[devices]\nenabled_mdev_types = nvidia-35")
    assert faults(vgpu) == ["settings.permit_post_copy"]
    assert "nvidia-35" in vgpu.faults[0].why
    device = made(settings, main='[pci]\ndevice_spec = {"address": "0000:01:00.0"}')
    assert (faults(device), warned(device)) == ([], ["settings.permit_post_copy"])


@pytest.mark.parametrize(
    ("settings", "options", "told"),
    [
        (o.Settings(permit_post_copy=True), {}, "settings.permit_auto_converge"),
        (o.Settings(native_tls=True), {}, "libvirt.live_migration_scheme in default"),
        (o.Settings(native_tls=True, scheme="tcp"), {}, "settings.scheme"),
        (
            o.Settings(completion_timeout_s_per_gib=0),
            {},
            "settings.completion_timeout_s_per_gib",
        ),
        (o.Settings(bandwidth_mib_s=0), {}, "settings.bandwidth_mib_s"),
        (o.Settings(vif_plugging_timeout_s=0), {}, "settings.vif_plugging_timeout_s"),
        (o.Settings(concurrent=10), {}, "DEFAULT.default_thread_pool_size in default"),
        (
            None,
            {"compute": {"live_migration_wait_for_vif_plug": False}},
            "options.compute.live_migration_wait_for_vif_plug",
        ),
        (None, {"odd": {"option": "x"}}, "options.odd.option"),
        (None, {"scheduler": {"max_placement_results": 5}}, "options.scheduler.max_placement"),
        (None, {"DEFAULT": {"config_drive_format": "vfat"}}, "options.DEFAULT.config_drive_format"),
    ],
)
def test_what_hurts_less_is_warned_of(settings, options, told):
    plan = made(settings, options)
    assert plan.faults == []
    (name,) = warned(plan)
    assert name.startswith(told)


@pytest.mark.parametrize(
    "settings",
    [
        o.Settings(),
        o.Settings(native_tls=True, scheme="tls"),
        o.Settings(inbound_addr="192.0.2.7", vnc_server_listen="0.0.0.0"),
        o.Settings(inbound_addr="2001:db8::7", vnc_server_listen="::1"),
        o.Settings(inbound_addr="migration-1.example", cold_inbound_addr="%s.example"),
    ],
)
def test_what_is_good_is_not(settings):
    plan = made(settings)
    assert (plan.faults, plan.warnings) == ([], [])


def test_an_address_is_not_checked_when_the_host_s_are_unknown():
    settings = o.Settings(inbound_addr="192.0.2.8", vnc_server_listen="192.0.2.8")
    assert made(settings, host=r.Host()).faults == []


def test_a_console_that_is_off_listens_nowhere():
    main = "[vnc]\nenabled = false\nserver_listen = 192.0.2.8\n[spice]\nenabled = true\n"
    assert made(o.Settings(), main=main).faults == []
    main += "server_listen = 192.0.2.8\n"
    assert faults(made(o.Settings(), main=main)) == [f"spice.server_listen in {MAIN}"]


# --- releases ------------------------------------------------------------------------------------


def test_what_a_release_has_not_is_told():
    settings = o.Settings(monitor_interval_s=9, parallel_connections=2, cold_inbound_addr="$my_ip")
    plan = made(settings, release=27)
    skipped = {row["option"]: row["why"] for row in plan.unsupported}
    assert skipped == {
        "libvirt.live_migration_monitor_interval": "new in nova 2026.2 (34); this is 2023.1 (27)",
        "libvirt.live_migration_parallel_connections": "new in nova 2026.1 (33);"
        " this is 2023.1 (27)",
    }
    assert not set(skipped) & set(said(plan))
    assert made(o.Settings(), release=27).unsupported == []


def test_what_is_gone_is_skipped_and_told():
    options = {
        "libvirt": {"live_migration_progress_timeout": 150, "live_migration_flag": "x"},
        "workarounds": {"enable_numa_live_migration": True},
    }
    plan = made(None, options)
    whys = {row["option"]: row["why"] for row in plan.unsupported}
    assert (
        "see libvirt.live_migration_completion_timeout"
        in whys["libvirt.live_migration_progress_timeout"]
    )
    assert whys["libvirt.live_migration_flag"] == "gone since nova 16.0.0"
    assert "by itself" in whys["workarounds.enable_numa_live_migration"]
    assert plan.lines == []


def test_an_old_name_is_written_as_the_new_one():
    plan = made(None, {"libvirt": {"cpu_model": "EPYC"}})
    assert said(plan) == {"libvirt.cpu_models": ["EPYC"]}
    assert [(row["option"], row["by"]) for row in plan.replaced] == [
        ("libvirt.cpu_model", "libvirt.cpu_models")
    ]


def test_a_given_uri_becomes_a_scheme():
    plan = made(None, {"libvirt": {"live_migration_uri": "qemu+ssh://%s/system"}})
    assert said(plan) == {"libvirt.live_migration_scheme": "ssh"}
    plan = made(None, {"libvirt": {"live_migration_uri": "qemu+ssh://nova@%s/system?no_tty=1"}})
    assert faults(plan) == ["options.libvirt.live_migration_uri"]


@pytest.mark.parametrize(
    ("uri", "scheme", "written"),
    [
        ("qemu+ssh://%s/system", None, {"scheme": "ssh", "uri": ""}),
        ("qemu+ssh://%s/system", "tls", {"scheme": "tls", "uri": ""}),
        ("qemu+ssh://nova@%s/system", "tls", {"scheme": "tls", "uri": ""}),
        ("qemu+ssh://nova@%s/system", None, {}),
    ],
)
def test_a_uri_in_another_file_is_replaced_where_nothing_is_lost(uri, scheme, written):
    main = f"[libvirt]\nlive_migration_uri = {uri}"
    plan = made(o.Settings(scheme=scheme), main=main)
    found = {
        name: value
        for key, value in said(plan).items()
        for name in ("scheme", "uri")
        if key == f"libvirt.live_migration_{name}"
    }
    assert found == written
    assert plan.faults == []
    assert bool(plan.replaced) == bool(written)
    assert (f"libvirt.live_migration_uri in {MAIN}" in warned(plan)) == (not written)
    # Whoever only wants an option leaves it alone.
    assert said(made(None, {}, main=main)) == {}


def test_tunnelling_in_another_file_is_taken_back():
    main = "[libvirt]\nlive_migration_tunnelled = yes"
    assert said(made(o.Settings(), main=main))["libvirt.live_migration_tunnelled"] is False
    assert "libvirt.live_migration_tunnelled" not in said(made(o.Settings()))
    assert warned(made(None, {}, main=main)) == [f"libvirt.live_migration_tunnelled in {MAIN}"]


def test_a_release_out_of_the_table():
    assert warned(made(o.Settings(), release=35)) == ["release"]
    assert faults(made(o.Settings(), release=26)) == ["release"]


# --- options, and other files ---------------------------------------------------------------------


def test_an_option_may_not_contradict_a_setting():
    option = {"libvirt": {"live_migration_downtime": 600}}
    assert faults(made(o.Settings(), option)) == ["options.libvirt.live_migration_downtime"]
    assert made(o.Settings(downtime_ms=600), option).faults == []


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("libvirt", "cpu_model_extra_flags", "a\n[DEFAULT]\ndebug = true"),
        ("odd", "option", "a\r[x]"),
        ("odd]\n[x", "option", "a"),
        ("odd", "a = b\nc", "a"),
        ("libvirt", "cpu_models", None),
    ],
)
def test_an_option_is_one_line(group, name, value):
    plan = made(None, {group: {name: value}})
    assert f"options.{group}.{name}" in faults(plan)
    assert plan.lines == []


@pytest.mark.parametrize("name", ["transport_url", "metadata_proxy_shared_secret", "password"])
def test_secrets_are_refused_and_not_shown(name):
    (fault,) = made(None, {"DEFAULT": {name: "hunter2"}}).faults
    assert "hunter2" not in fault.sentence()


def test_a_later_file_that_says_otherwise_is_a_fault():
    later = "[libvirt]\nlive_migration_downtime = 900"
    plan = made(o.Settings(), later=later)
    (fault,) = plan.faults
    assert (fault.name, fault.value) == ("settings.downtime_ms", 500)
    assert LATER in fault.why
    assert made(o.Settings(downtime_ms=900), later=later).faults == []
    assert faults(made(None, {"odd": {"x": "1"}}, later="[odd]\nx = 2")) == ["options.odd.x"]


def test_a_path_that_is_not_read_is_a_fault():
    assert faults(made(o.Settings(), reads=False)) == ["path"]
    assert faults(made(o.Settings(), reads=None)) == []


def test_a_timeout_in_other_files_is_their_matter():
    main = "[libvirt]\nlive_migration_completion_timeout = 20"
    plan = made(None, {}, main=main)
    assert (faults(plan), warned(plan)) == ([], [f"{TIMEOUT} in {MAIN}"])


# --- what changes ---------------------------------------------------------------------------------


def test_what_changes_is_told_by_what_it_needs():
    options = {
        "libvirt": {
            "live_migration_completion_timeout": 900,
            "live_migration_downtime": 500,
            "cpu_mode": "custom",
        },
        "scheduler": {"max_placement_results": 5},
        "odd": {"x": "1"},
    }
    plan = made(None, options)
    assert plan.restart == ["libvirt.cpu_mode", "odd.x"]
    assert plan.reload == [TIMEOUT]
    again = made(None, options, present=f.render(plan.lines, directory_made=False))
    assert (again.restart, again.reload) == ([], [])
    assert plan.sections()["libvirt"] == {
        "cpu_mode": "custom",
        "live_migration_completion_timeout": "900",
        "live_migration_downtime": "500",
    }


def test_several_lines_are_a_list():
    plan = made(None, {"pci": {"device_spec": ["a", "b"]}})
    assert plan.sections() == {"pci": {"device_spec": ["a", "b"]}}


def test_taking_it_away_changes_back():
    present = "[libvirt]\nlive_migration_downtime = 900\ncpu_mode = custom\n"
    plan = p.removal(PATH, conf(present=present), None)
    assert plan.restart == ["libvirt.cpu_mode", "libvirt.live_migration_downtime"]
    before = f.parse(PATH, "[libvirt]\ncpu_mode = custom\n")
    plan = p.removal(PATH, conf(present=present), before)
    assert plan.restart == ["libvirt.live_migration_downtime"]
    assert plan.effective["libvirt.cpu_mode"] == f.Setting("custom", PATH)


def test_the_directory_s_maker_is_remembered():
    lines = [f.Line("libvirt", "cpu_mode", "custom")]
    first = p.text(lines, None, directory_missing=True)
    assert p.text(lines, first, directory_missing=False) == first
    assert p.text(lines, None, directory_missing=False) != first


def test_a_diff_hides_the_secrets_of_a_file_that_is_not_ours():
    text = "[DEFAULT]\ntransport_url = rabbit://u:p@h\ndebug = true\n[x]\npassword=a"
    assert p.shown(text) == (
        "[DEFAULT]\ntransport_url = (hidden)\ndebug = true\n[x]\npassword= (hidden)\n"
    )
    ours = f.render([f.Line("x", "y", "z")], directory_made=False)
    assert p.shown(ours) == ours
    assert p.shown(None) == ""
