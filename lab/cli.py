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

from lab.backend import Backend, LabError
from lab.scenario import API_ACTIONS, API_SERVICES, CRASH_MOMENTS, ScenarioError

PROGRAM = "lab"
LOG_LINES = 100


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
    from lab.embedded.launcher import EmbeddedBackend
    from lab.embedded.settings import Settings

    if options.command == "up":
        settings = Settings.create(options.state, options.port_base)
    else:
        settings = Settings.load_or_default(options.state)
    return EmbeddedBackend(settings, _tell)


def _tell(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr, flush=True)


# The commands


def _up(backend: Backend, options: argparse.Namespace) -> None:
    backend.up(options.scenario, options.restart)
    status = backend.status()
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
    print(f"state {status['state']}, port base {status['port_base']}")
    for entry in status["services"]:
        state = "ready" if entry["ready"] else "starting" if entry["running"] else "stopped"
        line = f"{entry['service']:<10} {state:<9}"
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
    backend.crash(options.host, options.when)


def _start(backend: Backend, options: argparse.Namespace) -> None:
    backend.start(options.host)


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
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        _add_state(sub)
        return sub

    up = command("up", _up, "start the cloud of a scenario, empty")
    up.add_argument("--scenario", type=Path, help="YAML file (default: four equal hosts)")
    up.add_argument("--restart", action="store_true", help="replace a lab that runs already")
    up.add_argument(
        "--port-base",
        type=int,
        default=os.environ.get("LAB_PORT_BASE", "18000"),
        help="first port (default: $LAB_PORT_BASE or 18000)",
    )
    command("down", _down, "stop the cloud; its logs stay")
    status = command("status", _status, "show what runs; ends 1 unless everything does")
    status.add_argument("--json", action="store_true")
    seed = command("seed", _seed, "create a scenario's population")
    seed.add_argument("scenario", type=Path, metavar="FILE")
    _add_host_commands(command)
    _add_reading_commands(command)
    _add_faults(command("fault", _fault_clear, "make guests or APIs fail, or stop that"))
    return parser


def _add_state(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("LAB_STATE") or str(Path(__file__).resolve().parents[1] / ".lab")
    parser.add_argument(
        "--state", default=default, help="the lab's directory (default: $LAB_STATE or .lab)"
    )


def _add_host_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    crash = command("crash", _crash, "stop a host's nova-compute dead; its guests run on")
    crash.add_argument("host", metavar="HOST")
    crash.add_argument(
        "--when",
        choices=CRASH_MOMENTS,
        default="now",
        help="now (default), or at that moment of the host's next outgoing migration",
    )
    start = command("start", _start, "start a crashed host's nova-compute again")
    start.add_argument("host", metavar="HOST")


def _add_reading_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    log = command("log", _log, "show the end of a service's logs")
    log.add_argument("service", metavar="SERVICE")
    log.add_argument("--lines", type=_at_least(1, int), default=LOG_LINES)
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
