# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a nova-compute reads, in which order; what it does not know; what it survives."""

from __future__ import annotations

import pytest

from ansible_collections.lowtide.compute.plugins.module_utils._planner.compute_process import (
    DEFAULT_DIRS,
    DEFAULT_FILES,
    DropIn,
    Pending,
    Process,
    Told,
    complaints,
    noted,
    pending,
    script_of,
    sources,
    start,
    takes_sighup,
    with_directory,
)

CONF, COMPUTE_CONF = DEFAULT_FILES
DIR = DEFAULT_DIRS[0]
PROGRAM = "/usr/bin/nova-compute"
BANDWIDTH, TIMEOUT = "libvirt.live_migration_bandwidth", "libvirt.live_migration_completion_timeout"
PROCESS = Process(pid=91, identity="boot:91:700", started=1000.0)


@pytest.mark.parametrize(
    ("arguments", "files", "dirs", "order"),
    [
        ([], None, None, "last"),
        (["--config-file", CONF, "--config-dir", DIR], (CONF,), (DIR,), "last"),
        ([f"--config-file={CONF}", f"--config-dir={DIR}/"], (CONF,), (DIR,), "last"),
        # As Debian starts it: the directory is read, but before what is named.
        (
            [f"--config-file={CONF}", f"--config-file={COMPUTE_CONF}"],
            (CONF, COMPUTE_CONF),
            None,
            "overruled",
        ),
        (["--config-dir", DIR, "--config-file", CONF], (CONF,), (DIR,), "overruled"),
        (["--config-dir", "/etc/other"], None, ("/etc/other",), "unread"),
        (
            ["--config-dir", DIR, "--config-dir", "/etc/other"],
            None,
            (DIR, "/etc/other"),
            "last",
        ),
        (["--log-file", "/x", "--config-file"], ("",), None, "overruled"),
    ],
)
def test_what_is_read_in_which_order(arguments, files, dirs, order):
    found = sources([PROGRAM, *arguments])
    assert (found.files, found.dirs, found.order(DIR)) == (files, dirs, order)


@pytest.mark.parametrize(
    ("patching", "polls", "release", "backend", "survives"),
    [
        ("", True, 31, None, True),
        ("", True, 33, None, True),
        ("", True, 33, "threading", False),
        # Threads are the default since 34, and SIGHUP ends that nova-compute.
        ("", True, 34, None, False),
        ("", True, 34, "auto", False),
        ("", True, 34, "eventlet", True),
        ("no", True, 34, None, True),
        ("1", True, 31, None, False),
        ("True", True, 31, "eventlet", False),
        ("yes", True, 31, None, False),
        # Whoever does not wait as eventlet does is not eventlet.
        ("", False, 31, None, False),
        ("no", False, 34, "eventlet", False),
        ("", True, None, None, False),
    ],
)
def test_who_survives_sighup(patching, polls, release, backend, survives):
    process = Process(1, "i", 0.0, no_patching=patching, polls=polls)
    assert takes_sighup(process, release, backend) is survives


OLD = DropIn("old", 900.0, (BANDWIDTH, TIMEOUT))
NEW = DropIn("new", 1100.0, (BANDWIDTH, TIMEOUT))


@pytest.mark.parametrize(
    ("process", "drop_in", "told", "restart", "reload"),
    [
        (None, NEW, None, (), ()),
        (PROCESS, None, None, (), ()),
        (PROCESS, OLD, None, (), ()),
        # Written after it was started, and nobody noted by whom.
        (PROCESS, NEW, None, NEW.options, ()),
        (PROCESS, NEW, Told("boot:90:3", "new", (BANDWIDTH,)), NEW.options, ()),
        (PROCESS, OLD, Told("boot:90:3", "old", (BANDWIDTH,)), (), ()),
        # We wrote it, and know what it took.
        (PROCESS, NEW, Told(PROCESS.identity, "new"), (), ()),
        (PROCESS, NEW, Told(PROCESS.identity, "new", (BANDWIDTH,)), (BANDWIDTH,), ()),
        (PROCESS, NEW, Told(PROCESS.identity, "new", (), (TIMEOUT,)), (), (TIMEOUT,)),
        # Somebody else wrote it after us.
        (PROCESS, NEW, Told(PROCESS.identity, "old", (), (TIMEOUT,)), NEW.options, (TIMEOUT,)),
        (PROCESS, None, Told(PROCESS.identity, "", (BANDWIDTH,)), (BANDWIDTH,), ()),
    ],
)
def test_what_the_process_does_not_know(process, drop_in, told, restart, reload):
    assert pending(process, drop_in, told) == Pending(tuple(sorted(restart)), reload)


def test_a_note_keeps_what_was_unknown_before():
    before = Pending((BANDWIDTH,), ())
    told = noted(PROCESS, OLD, before, restart=("libvirt.x", BANDWIDTH), reload=(TIMEOUT,))
    assert told == Told(PROCESS.identity, "old", (BANDWIDTH, "libvirt.x"), (TIMEOUT,))
    assert noted(PROCESS, None, Pending()) == Told(PROCESS.identity, "")


def test_an_interruption_between_note_and_write_forgets_nothing():
    told = noted(PROCESS, OLD, Pending(), restart=(BANDWIDTH,))
    assert pending(PROCESS, OLD, told).restart == (BANDWIDTH,)
    assert set(pending(PROCESS, NEW, told).restart) == set(NEW.options)


DEPRECATED = (
    '2026-11-20 20:02:50.024 91 WARNING oslo_config.cfg [-] Deprecated: Option "{}" from group'
    ' "libvirt" is deprecated for removal (x).'
)
REFUSED = (
    "2026-11-20 20:02:50.024 {} CRITICAL nova [-] Unhandled error: oslo_config.cfg."
    "ConfigFileValueError: Value for option live_migration_downtime is not valid: 5"
)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        (DEPRECATED.format("live_migration_bandwidth"), True),
        (DEPRECATED.format("live_migration_uri"), False),
        (DEPRECATED.format("live_migration_bandwidth_x"), False),
        (DEPRECATED.replace(" 91 ", " 92 ").format("live_migration_bandwidth"), False),
        (REFUSED.format(91), True),
        (REFUSED.format(9), False),
        ("2026-11-20 20:02:50.024 91 INFO nova [-] live_migration_bandwidth = 5", False),
        ("Traceback (most recent call last):", False),
        ("", False),
    ],
)
def test_what_it_logged_against_our_options(line, counts):
    assert complaints([line], 91, [BANDWIDTH]) == ([line] if counts else [])


DEBIAN = "#!/bin/sh\ncase $1 in\nshow-args)\n\techo $DAEMON $DAEMON_ARGS\n;;\nesac\n"


@pytest.mark.parametrize(
    ("command", "script", "ours"),
    [
        ("/usr/bin/nova-compute", None, f"/usr/bin/nova-compute --config-dir {DIR}"),
        (
            f"-{PROGRAM} --config-file {CONF}",
            None,
            f"-{PROGRAM} --config-file {CONF} --config-dir {DIR}",
        ),
        (f"/opt/bin/python {PROGRAM} -v", None, f"/opt/bin/python {PROGRAM} -v --config-dir {DIR}"),
        (
            "/etc/init.d/nova-compute systemd-start",
            DEBIAN,
            f"/bin/sh -c 'exec $$(/etc/init.d/nova-compute show-args) --config-dir {DIR}'",
        ),
        ("/etc/init.d/nova-compute systemd-start", "#!/bin/sh\nexec it\n", None),
        ("/usr/local/bin/start-it", None, None),
        ("/usr/bin/python3 /usr/bin/other", None, None),
        (PROGRAM, "#!/bin/sh\nexec real-one\n", None),
        ("", None, None),
    ],
)
def test_a_command_that_reads_the_directory_last(command, script, ours):
    assert with_directory(command, DIR, script) == ours


@pytest.mark.parametrize(
    ("argv", "command", "order", "mended"),
    [
        ((PROGRAM,), PROGRAM, "last", ""),
        ((PROGRAM, "--config-file", CONF), f"{PROGRAM} --config-file {CONF}", "overruled", None),
        # It runs already as we had it started; the unit's own command still needs us.
        (
            (PROGRAM, "--config-file", CONF, "--config-dir", DIR),
            f"{PROGRAM} --config-file {CONF}",
            "overruled",
            None,
        ),
        # The unit itself names the directory.
        (
            (PROGRAM, "--config-file", CONF, "--config-dir", DIR),
            f"{PROGRAM} --config-file {CONF} --config-dir {DIR}",
            "last",
            "",
        ),
        # Nothing runs: the unit's command tells.
        ((), f"{PROGRAM} --config-file {CONF}", "overruled", None),
    ],
)
def test_how_it_is_started(argv, command, order, mended):
    found = start(argv, command, DIR, None)
    assert found.order == order
    assert found.command == (f"{command} --config-dir {DIR}" if mended is None else mended)
    assert found.reads.order(DIR) == "last"
    assert (CONF, True) in found.reads.steps


def test_nobody_can_tell_how_to_start_a_wrapper():
    found = start(("/opt/x", "--config-file", CONF), "/opt/wrapper", DIR, "#!/bin/sh\n")
    assert (found.order, found.command) == ("overruled", None)


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        ((PROGRAM, "-v"), PROGRAM),
        (("/opt/bin/python", "/opt/bin/nova-compute", "-v"), "/opt/bin/nova-compute"),
        ((), "nova-compute"),
        (("/bin/sh", "-c", PROGRAM), "nova-compute"),
    ],
)
def test_where_it_is(argv, path):
    assert script_of(argv) == path
