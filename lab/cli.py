# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line, the same for every backend."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab import state
from lab.backend import CRASH_TARGETS, Backend, LabError, MachineBackend
from lab.scenario import API_ACTIONS, API_SERVICES, CRASH_MOMENTS, ScenarioError

PROGRAM = "lab"
LOG_LINES = 100
NAME_WIDTH = 30
BACKENDS = ("embedded", "hypervisors")
BACKEND_HELP = "default: what the state directory holds, else $LAB_BACKEND or embedded"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for a failure, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        options.run(_backend(options), options)
    except (LabError, ScenarioError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has seen enough, as in `lab requests | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _backend(options: argparse.Namespace) -> Backend:
    """Return the backend of the lab in the state directory, or the one to start there."""
    recorded = state.backend_of(Path(os.path.abspath(os.path.expanduser(options.state))))
    wanted = options.backend or recorded or os.environ.get("LAB_BACKEND") or BACKENDS[0]
    if wanted not in BACKENDS:
        raise LabError(f"LAB_BACKEND {wanted!r}: choose one of: {', '.join(BACKENDS)}")
    if recorded not in (None, wanted):
        raise LabError(
            f"--backend {wanted}: the lab in {options.state} is of the backend {recorded}; "
            "give another --state, or remove that directory after `lab down`"
        )
    return _hypervisors(options) if wanted == "hypervisors" else _embedded(options)


def _embedded(options: argparse.Namespace) -> Backend:
    from lab.embedded.launcher import EmbeddedBackend
    from lab.embedded.settings import Settings

    if options.command == "up":
        settings = Settings.create(options.state, options.port_base)
    else:
        settings = Settings.load_or_default(options.state)
    return EmbeddedBackend(settings, _tell)


def _hypervisors(options: argparse.Namespace) -> Backend:
    from lab.hypervisors.backend import HypervisorBackend
    from lab.hypervisors.settings import Settings

    return HypervisorBackend(Settings.create(options.state), _tell)


def _with_machines(backend: Backend, command: str) -> MachineBackend:
    if not isinstance(backend, MachineBackend):
        raise LabError(
            f"{command}: the hosts of the embedded lab are no machines; "
            "start a lab with `lab up --backend hypervisors`"
        )
    return backend


def _tell(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr, flush=True)


# The commands


def _up(backend: Backend, options: argparse.Namespace) -> None:
    backend.up(options.scenario, options.restart)
    status = backend.status()
    if isinstance(backend, MachineBackend):
        print(f"{PROGRAM} exec --state {options.state} --net-only ctl -- COMMAND")
    else:
        print(f"export OS_CLIENT_CONFIG_FILE={status['clouds_file']} OS_CLOUD=lab")


def _down(backend: Backend, _options: argparse.Namespace) -> None:
    count = backend.down()
    _tell(f"stopped {count} processes" if count else "nothing was running")


def _status(backend: Backend, options: argparse.Namespace) -> None:
    status = backend.status()
    if options.json:
        print(json.dumps(status, indent=2))
    else:
        _print_status(status)
    if not status["running"]:
        raise LabError(f"the lab in {status['state']} is not running")


def _print_status(status: dict[str, Any]) -> None:
    base = f", port base {status['port_base']}" if "port_base" in status else ""
    print(f"state {status['state']}{base}")
    for entry in status.get("machines", []):
        power = "on" if entry["running"] else "off"
        print(
            f"{entry['machine']:<10} {power:<4} {entry['address']:<12} {entry['memory_mib']:>6} MiB"
        )
    for entry in status["services"]:
        word = "ready" if entry["ready"] else "starting" if entry["running"] else "stopped"
        name = "/".join(entry[key] for key in ("machine", "service") if key in entry)
        line = f"{name:<{NAME_WIDTH}} {word:<9}"
        if entry["running"]:
            line += f" pid {entry['pid']:<8} {entry['memory_mib'] or 0:>5} MiB"
            line += f" {entry['cpu_seconds'] or 0:>7.1f} s of processor time"
        print(line)
    guests: dict[str, int] = {}
    for domain in status["domains"]:
        guests[domain["host"]] = guests.get(domain["host"], 0) + 1
    for host, count in sorted(guests.items()):
        print(f"{host:<10} {count} guests")


def _seed(backend: Backend, options: argparse.Namespace) -> None:
    backend.seed(options.scenario)


def _crash(backend: Backend, options: argparse.Namespace) -> None:
    backend.crash(options.host, options.when, options.what)


def _start(backend: Backend, options: argparse.Namespace) -> None:
    backend.start(options.host)


def _rate(backend: Backend, options: argparse.Namespace) -> None:
    _with_machines(backend, "rate").set_rate(options.rate, options.hosts)


def _mtu(backend: Backend, options: argparse.Namespace) -> None:
    _with_machines(backend, "mtu").set_mtu(options.mtu, options.hosts)


def _exec(backend: Backend, options: argparse.Namespace) -> None:
    command = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not command:
        raise LabError("exec: name a command, for instance: exec cmp-1 -- virsh list")
    _with_machines(backend, "exec").enter(options.machine, command, options.net_only)


def _inventory(backend: Backend, _options: argparse.Namespace) -> None:
    print(_with_machines(backend, "inventory").inventory(), end="")


def _guest(backend: Backend, options: argparse.Namespace) -> None:
    order = " ".join(options.order)
    print(_with_machines(backend, "guest").order_guest(options.guest, order))


def _log(backend: Backend, options: argparse.Namespace) -> None:
    files = [path for path in backend.log_files(options.service) if path.exists()]
    if not files:
        raise LabError(f"{options.service}: no log; is there such a service, and did it start?")
    for path in files:
        print(f"==> {path} <==")
        with path.open(errors="replace") as file:
            sys.stdout.writelines(deque(file, options.lines))


def _requests(backend: Backend, options: argparse.Namespace) -> None:
    for entry in backend.requests(options.since, options.client):
        if options.json:
            print(json.dumps(entry))
        else:
            print(
                f"{entry['time']:.3f} {entry['client'] or '-':<24} {entry['service']:<9} "
                f"{entry['method']:<6} {entry['status']:<3} {entry['ms']:>8.1f} ms "
                f"{entry['path']}"
            )


def _topology(backend: Backend, options: argparse.Namespace) -> None:
    found = backend.topology(options.host)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for host, numa in found.items():
        for cell in numa["cells"]:
            print(f"{host:<10} cell {cell['id']}  {_cell_line(cell)}")
        for device in numa["devices"]:
            what = ",".join(device["aliases"]) or device["physical_network"] or device["kind"]
            print(
                f"{host:<10} cell {device['cell']}  {device['address']} {what:<10} "
                f"{device['guest'] or 'free'}"
            )


def _cell_line(cell: dict[str, Any]) -> str:
    pages = ", ".join(
        f"{page['total'] - page['used'] - page['reserved']} of {page['total']} pages of "
        f"{page['size_kib']} KiB"
        for page in cell["pages"]
    )
    return (
        f"{len(cell['dedicated_cpus']) - len(cell['pinned_cpus'])} of "
        f"{len(cell['dedicated_cpus'])} dedicated CPUs, "
        f"{cell['cpu_usage']} vCPUs with a topology, "
        f"{cell['memory_mib'] - cell['memory_used_mib']} of {cell['memory_mib']} MiB, {pages} free"
    )


def _fault_guest(backend: Backend, options: argparse.Namespace) -> None:
    behaviour: dict[str, Any] = {}
    if options.fail_at_percent is not None:
        behaviour["fail_at_percent"] = options.fail_at_percent
        behaviour["fail_times"] = options.times
    if options.never_converges:
        behaviour["never_converges"] = True
    for name in ("dirty_rate_mib_s", "working_set_mib"):
        if getattr(options, name) is not None:
            behaviour[name] = getattr(options, name)
    if not behaviour:
        raise LabError(
            "fault guest: say what happens, for instance --fail-at-percent 50 or --never-converges"
        )
    backend.guest_fault(options.guest, behaviour)


def _fault_api(backend: Backend, options: argparse.Namespace) -> None:
    names = ("service", "path", "action", "method", "nth", "times", "seconds", "client")
    backend.api_fault({name: getattr(options, name) for name in names})


def _fault_clear(backend: Backend, _options: argparse.Namespace) -> None:
    backend.clear_faults()


# The command line


def _at_least(minimum: float, kind: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        value = kind(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text}: must be at least {minimum}")
        return value

    convert.__name__ = kind.__name__
    return convert


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, help=BACKEND_HELP)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        _add_state(sub)
        return sub

    up = command("up", _up, "start the cloud of a scenario, empty")
    # Given after the command too; suppressed, so that it does not undo what came before.
    up.add_argument("--backend", choices=BACKENDS, default=argparse.SUPPRESS, help=BACKEND_HELP)
    up.add_argument("--scenario", type=Path, help="YAML file (default: a few equal hosts)")
    up.add_argument("--restart", action="store_true", help="replace a lab that runs already")
    up.add_argument(
        "--port-base",
        type=int,
        default=os.environ.get("LAB_PORT_BASE", "18000"),
        help="first port of the embedded lab (default: $LAB_PORT_BASE or 18000)",
    )
    command("down", _down, "stop the cloud; its logs stay")
    status = command("status", _status, "show what runs; ends 1 unless everything does")
    status.add_argument("--json", action="store_true")
    seed = command("seed", _seed, "create a scenario's population")
    seed.add_argument("scenario", type=Path, metavar="FILE")
    _add_host_commands(command)
    _add_machine_commands(command)
    _add_reading_commands(command)
    _add_faults(command("fault", _fault_clear, "make guests or APIs fail, or stop that"))
    return parser


def _add_state(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("LAB_STATE") or str(Path(__file__).resolve().parents[1] / ".lab")
    parser.add_argument(
        "--state", default=default, help="the lab's directory (default: $LAB_STATE or .lab)"
    )


def _add_host_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    crash = command("crash", _crash, "stop a host's nova-compute, or the host, dead")
    crash.add_argument("host", metavar="HOST")
    crash.add_argument(
        "--when",
        choices=CRASH_MOMENTS,
        default="now",
        help="now (default), or at that moment of the host's next outgoing migration",
    )
    crash.add_argument(
        "--what",
        choices=CRASH_TARGETS,
        default="compute",
        help="compute: its guests run on (default); power: all is gone (hypervisors only)",
    )
    start = command("start", _start, "start again what a crash of a host has stopped")
    start.add_argument("host", metavar="HOST")


def _add_machine_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what only the hypervisors backend can do."""
    rate = command("rate", _rate, "limit what hosts send on the migration network")
    rate.add_argument("rate", metavar="RATE", help="such as 400mbit or 1gbit, or off")
    rate.add_argument("hosts", nargs="*", metavar="HOST", help="default: every host")
    mtu = command("mtu", _mtu, "have the migration network drop larger frames at hosts' ports")
    mtu.add_argument("mtu", type=int, metavar="MTU", help="bytes, 576 to 9000 (as after up)")
    mtu.add_argument("hosts", nargs="*", metavar="HOST", help="default: every host")
    execute = command("exec", _exec, "run a command in a machine of the lab")
    execute.add_argument(
        "--net-only", action="store_true", help="a command of this machine, in the other's network"
    )
    execute.add_argument("machine", metavar="MACHINE", help="ctl, obs or a host")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    command("inventory", _inventory, "show the Ansible inventory of hosts and observer")
    guest = command("guest", _guest, "tell a guest to write memory, or ask it")
    guest.add_argument("guest", metavar="NAME|UUID|ADDRESS")
    guest.add_argument(
        "order",
        nargs="+",
        metavar="ORDER",
        help="dirty MIB_PER_SECOND WORKING_SET_MIB, stop, or status",
    )


def _add_reading_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    log = command("log", _log, "show the end of a service's logs")
    log.add_argument("service", metavar="SERVICE")
    log.add_argument("--lines", type=_at_least(1, int), default=LOG_LINES)
    topology = command("topology", _topology, "show the hosts' cells and devices as Nova has them")
    topology.add_argument("host", nargs="?", metavar="HOST", help="default: every host")
    topology.add_argument("--json", action="store_true", help="host -> what numa_info's numa is")
    requests = command("requests", _requests, "show the API calls, in order of arrival")
    requests.add_argument("--since", type=_at_least(0, float), metavar="SECONDS")
    requests.add_argument("--client", help="only a client whose User-Agent starts so")
    requests.add_argument("--json", action="store_true", help="one JSON object per line")


def _add_faults(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    guest = kinds.add_parser("guest", help="how a guest's migrations fail from now on")
    guest.set_defaults(run=_fault_guest)
    guest.add_argument("guest", metavar="NAME|UUID")
    guest.add_argument("--fail-at-percent", type=_at_least(0, float), metavar="PERCENT")
    guest.add_argument("--times", type=_at_least(1, int), default=1, help="failures (default 1)")
    guest.add_argument("--never-converges", action="store_true")
    guest.add_argument("--dirty-rate-mib-s", type=_at_least(0, float))
    guest.add_argument("--working-set-mib", type=_at_least(0, int))
    api = kinds.add_parser("api", help="requests that an API fails to answer")
    api.set_defaults(run=_fault_api)
    api.add_argument("--service", required=True, choices=API_SERVICES)
    api.add_argument("--path", required=True, type=_pattern, metavar="REGEX")
    api.add_argument("--action", required=True, choices=API_ACTIONS)
    api.add_argument("--method", type=str.upper, help="default: any")
    api.add_argument("--client", help="only a client whose User-Agent starts so")
    api.add_argument("--nth", type=_at_least(1, int), default=1, help="first match (default 1)")
    api.add_argument("--times", type=_at_least(1, int), default=1, help="matches (default 1)")
    api.add_argument(
        "--seconds", type=_at_least(0, float), default=60.0, help="of a hang (default 60)"
    )
    clear = kinds.add_parser("clear", help="forget every fault")
    clear.set_defaults(run=_fault_clear)
    for kind in (guest, api, clear):
        # Given after the kind too; suppressed, so that it does not undo what came before.
        kind.add_argument("--state", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
