# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's refusals and the launcher's files and processes, without a cloud."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lab import cli, processes
from lab.backend import LabError
from lab.embedded import config, databases
from lab.embedded.settings import Settings
from lab.processes import Process
from lab.scenario import from_mapping
from lab.state import MARKER


def run(capsys, *arguments):
    """Run the command line and return its exit status and its one line of error."""
    status = cli.main(list(map(str, arguments)))
    return status, capsys.readouterr().err.strip()


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield Process("sleeper", child.pid, processes.start_time(child.pid))
    child.kill()
    child.wait()


# --- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["seed", "SCENARIO"], "the lab is not running; `lab up` it"),
        (["crash", "cmp-1"], "the lab is not running"),
        (["start", "cmp-1"], "the lab is not running"),
        (["fault", "clear"], "the lab is not running"),
        (["fault", "guest", "web"], "say what happens"),
        (["log", "nova"], "no log"),
        (["status"], "is not running"),
        (["topology"], "the lab is not running"),
    ],
)
def test_commands_that_need_a_lab_say_so(capsys, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "none"))
    status, error = run(capsys, *arguments)
    assert status == 1
    assert error.startswith("lab: error: ")
    assert reason in error


# --- two backends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["rate", "off"],
        ["mtu", "1500"],
        ["exec", "cmp-1", "true"],
        ["inventory"],
        ["guest", "g", "stop"],
    ],
)
def test_simulated_hosts_are_no_machines(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "none"))
    status, error = run(capsys, *arguments)
    assert status == 1
    assert f"{arguments[0]}: the hosts of the embedded lab are no machines" in error
    assert "--backend hypervisors" in error


def test_simulated_hosts_have_no_power_to_lose(capsys, tmp_path):
    status, error = run(capsys, "crash", "--state", tmp_path / "none", "cmp-1", "--what", "power")
    assert status == 1
    assert "crash --what power" in error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fault", "clear"], "only the embedded lab injects faults"),
        (["fault", "guest", "g", "--never-converges"], "only the embedded lab injects faults"),
        (["requests"], "only the embedded lab injects faults and logs requests"),
        (["rate", "off"], "no lab there"),
        (["mtu", "1500"], "no lab there"),
        (["inventory"], "no lab there"),
        (["crash", "cmp-1"], "no lab there"),
        (["exec", "ctl"], "exec: name a command"),
        (["status"], "is not running"),
    ],
)
def test_what_real_hypervisors_cannot_do_or_not_yet(
    capsys, tmp_path, monkeypatch, arguments, reason
):
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "none"))
    monkeypatch.setenv("LAB_BACKEND", "hypervisors")
    status, error = run(capsys, *arguments)
    assert status == 1
    assert reason in error


def test_a_directory_remembers_its_backend(capsys, tmp_path, monkeypatch):
    (tmp_path / MARKER).write_text('{"backend": "hypervisors"}')
    monkeypatch.setenv("LAB_BACKEND", "embedded")
    status, error = run(capsys, "requests", "--state", tmp_path)
    assert status == 1
    assert "only the embedded lab" in error
    status, error = run(capsys, "up", "--backend", "embedded", "--state", tmp_path)
    assert status == 1
    assert f"--backend embedded: the lab in {tmp_path} is of the backend hypervisors" in error


def test_an_unknown_backend_of_the_environment_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_BACKEND", "cardboard")
    status, error = run(capsys, "up", "--state", tmp_path / "none")
    assert status == 1
    assert "LAB_BACKEND 'cardboard': choose one of: embedded, hypervisors" in error


# --- the state directory -------------------------------------------------------------------


def test_down_without_a_lab_is_no_failure(capsys, tmp_path):
    assert run(capsys, "down", "--state", tmp_path / "none") == (0, "lab: nothing was running")


def test_a_directory_with_other_things_in_it_is_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    status, error = run(capsys, "up", "--state", tmp_path)
    assert status == 1
    assert f"--state {tmp_path}: not empty and not a lab's" in error
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_embedded_lab_is_a_cloud(capsys, tmp_path):
    scenario = tmp_path / "machines.yml"
    scenario.write_text("name: machines\ncloud: false\nhosts: [{name: cmp-1}]\n")
    status, error = run(capsys, "up", "--state", tmp_path / "state", "--scenario", scenario)
    assert status == 1
    assert "cloud: false: this backend is a cloud; use --backend hypervisors" in error
    assert not (tmp_path / "state").exists()


def test_a_port_in_use_is_named(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, error = run(capsys, "up", "--state", tmp_path / "state", "--port-base", port - 778)
    assert status == 1
    assert f"port {port} (placement) cannot be used" in error
    assert "choose another port base" in error


@pytest.mark.parametrize("base", ["80", "65000", "-1"])
def test_a_port_base_out_of_range(capsys, tmp_path, base):
    status, error = run(capsys, "up", "--state", tmp_path / "state", "--port-base", base)
    assert status == 1
    assert f"--port-base {base}: must be between" in error


def test_a_port_base_of_the_environment_that_is_no_number(capsys, monkeypatch):
    monkeypatch.setenv("LAB_PORT_BASE", "many")
    with pytest.raises(SystemExit):
        cli.main(["up"])
    assert "--port-base: invalid int value: 'many'" in capsys.readouterr().err


def test_a_state_path_that_the_configuration_could_not_express(capsys, tmp_path):
    status, error = run(capsys, "up", "--state", tmp_path / "10%")
    assert status == 1
    assert "'%'" in error


def test_a_scenario_that_is_missing_or_wrong(capsys, tmp_path):
    status, error = run(
        capsys, "up", "--state", tmp_path / "state", "--scenario", tmp_path / "none.yml"
    )
    assert status == 1
    assert "none.yml" in error
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("name: x\nhosts: [{name: cmp-1, cpus: -4}]\n")
    status, error = run(capsys, "up", "--state", tmp_path / "state", "--scenario", wrong)
    assert status == 1
    assert "hosts[0].cpus" in error
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fault", "api", "--service", "compute", "--path", "(", "--action", "500"],
        ["fault", "api", "--service", "storage", "--path", "/", "--action", "500"],
        ["fault", "api", "--service", "compute", "--path", "/", "--action", "500", "--nth", "0"],
        ["crash", "cmp-1", "--when", "later"],
        ["log", "nova", "--lines", "0"],
        [],
    ],
)
def test_wrong_usage_ends_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


# --- processes -----------------------------------------------------------------------------


def test_stops_just_the_recorded_process(sleeper, tmp_path):
    processes.record(tmp_path / "p.json", [sleeper])
    assert processes.recorded(tmp_path / "p.json") == [sleeper]
    assert processes.stop([sleeper]) == 1
    assert not sleeper.running
    assert processes.stop([sleeper]) == 0


def test_a_process_that_got_the_pid_later_is_not_touched(sleeper):
    predecessor = Process("glance", sleeper.pid, sleeper.started - 1)
    assert not predecessor.running
    assert processes.stop([predecessor]) == 0
    assert sleeper.running


def test_a_process_that_ignores_the_request_is_killed():
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('on', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    child.stdout.readline()
    stubborn = Process("stubborn", child.pid, processes.start_time(child.pid))
    assert processes.stop([stubborn]) == 1
    assert child.wait(5) == -9


def test_own_resources_are_measurable():
    pid = os.getpid()
    assert processes.memory_mib(pid) > 5
    assert processes.cpu_seconds(pid) > 0
    assert processes.memory_mib(2**22 + 1) is None
    assert processes.cpu_seconds(2**22 + 1) is None


# --- files ---------------------------------------------------------------------------------


def test_settings_are_read_back(tmp_path):
    settings = Settings.create(tmp_path, 23000)
    settings.save()
    assert Settings.load(tmp_path) == settings
    assert json.loads((tmp_path / MARKER).read_text())["backend"] == "embedded"
    with pytest.raises(LabError, match="no lab there"):
        Settings.load(tmp_path / "none")


def test_ports_are_those_of_the_contract():
    assert Settings.create("/x", 18000).all_ports() == {
        "identity": 18000,
        "image": 18292,
        "network": 18696,
        "compute": 18774,
        "volume": 18776,
        "placement": 18778,
        "control": 18999,
    }


def test_the_scenario_overrides_nova_conf_and_the_life_of_tokens(tmp_path):
    scenario = from_mapping(
        {
            "name": "x",
            "hosts": [{"name": "cmp-1"}],
            "token_seconds": 77,
            "nova": {
                "DEFAULT": {"max_concurrent_live_migrations": "9"},
                "workarounds": {"skip_cpu_compare_on_dest": "true"},
            },
        }
    )
    settings = Settings.create(tmp_path, 23000)
    config.write(settings, scenario)
    nova = (settings.etc / "nova.conf").read_text()
    assert "max_concurrent_live_migrations = 9\n" in nova
    assert "max_concurrent_live_migrations = 4\n" not in nova
    assert "[workarounds]\nskip_cpu_compare_on_dest = true\n" in nova
    assert "expiration = 77\n" in (settings.etc / "keystone.conf").read_text()


def test_an_option_may_be_given_several_times():
    assert config.render({"pci": {"device_spec": ["a", "b"], "x": False}}) == (
        "[pci]\ndevice_spec = a\ndevice_spec = b\nx = false\n"
    )


def test_two_labs_that_start_at_once_build_one_template(tmp_path, monkeypatch):
    monkeypatch.setenv("LOWTIDE_CACHE", str(tmp_path / "cache"))
    built = []

    def build(template):
        built.append(template)
        time.sleep(0.3)
        template.mkdir()

    monkeypatch.setattr(databases, "_build", build)
    monkeypatch.setattr(databases, "_point_catalogue", lambda settings: None)
    monkeypatch.setattr(databases, "_point_cells", lambda settings: None)

    def start(name):
        settings = Settings.create(tmp_path / name)
        config.write(settings)
        databases.install(settings, lambda line: None)

    threads = [threading.Thread(target=start, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [databases.template_dir()]


def test_the_template_depends_on_what_it_is_built_from(tmp_path, monkeypatch):
    before = databases.template_dir()
    changed = tmp_path / "constraints.txt"
    changed.write_text("nova==99\n")
    monkeypatch.setattr(databases, "BUILT_FROM", (changed, *databases.BUILT_FROM[1:]))
    assert databases.template_dir() != before
