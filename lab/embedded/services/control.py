# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API: what happens to a cloud without any OpenStack API being asked."""

from __future__ import annotations

import http
import json
import re
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nova import context as nova_context
from nova import exception, objects
from oslo_utils import uuidutils

from lab.embedded import hypervisor
from lab.embedded.services import alterations, topology

MOMENTS = ("now", "before_switchover", "during_switchover", "after_switchover")


class Refused(Exception):
    """A request that cannot be carried out: `args` are the status and the reason."""


class Control:
    """The operations, by method and path; each gets the parts of the path and the body."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._hosts = hosts
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = [
            (method, re.compile(path), operation)
            for method, path, operation in (
                ("GET", "/domains", hypervisor.domains),
                ("GET", "/jobs", hypervisor.jobs),
                ("GET", "/guests", hypervisor.guests),
                ("PUT", "/guests/([^/]+)", self._set_behaviour),
                ("GET", "/hosts/([^/]+)/topology", self._topology),
                ("POST", "/hosts/([^/]+)/crash", self._crash),
                ("POST", "/hosts/([^/]+)/start", self._start),
                ("POST", "/servers/([^/]+)/alter", self._alter),
            )
        ]

    def perform(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Carry out a request and return its answer as data; raise Refused."""
        for verb, pattern, operation in self._routes:
            found = pattern.fullmatch(path)
            if found and verb == method:
                return operation(*found.groups(), *([] if verb == "GET" else [body]))
        raise Refused(http.HTTPStatus.NOT_FOUND, f"no such operation: {method} {path}")

    def _crash(self, host: str, body: dict[str, Any]) -> dict[str, str]:
        self._check(host)
        when = body.get("when", "now")
        if when not in MOMENTS:
            raise Refused(
                http.HTTPStatus.BAD_REQUEST, f"when={when!r}: one of {', '.join(MOMENTS)}"
            )
        hypervisor.crash(host, when)
        return {"host": host, "when": when}

    def _start(self, host: str, _body: dict[str, Any]) -> dict[str, str]:
        self._check(host)
        hypervisor.start(host)
        return {"host": host}

    def _topology(self, host: str) -> dict[str, Any]:
        self._check(host)
        try:
            return topology.of(host)
        except LookupError as error:
            raise Refused(http.HTTPStatus.NOT_FOUND, str(error)) from error

    def _set_behaviour(self, guest: str, body: dict[str, Any]) -> dict[str, str]:
        uuid = _server_uuid(guest)
        try:
            hypervisor.set_behaviour(uuid, body)
        except (KeyError, ValueError, TypeError) as error:
            raise Refused(http.HTTPStatus.BAD_REQUEST, f"guest {guest}: {error}") from error
        return {"guest": uuid}

    def _alter(self, server: str, body: dict[str, Any]) -> dict[str, str]:
        try:
            alterations.alter(server, body)
        except exception.InstanceNotFound as error:
            raise Refused(http.HTTPStatus.NOT_FOUND, f"no server {server}") from error
        except ValueError as error:
            raise Refused(http.HTTPStatus.BAD_REQUEST, f"server {server}: {error}") from error
        return {"server": server}

    def _check(self, host: str) -> None:
        if host not in self._hosts:
            known = ", ".join(self._hosts)
            raise Refused(http.HTTPStatus.NOT_FOUND, f"no host {host!r}; the lab has {known}")


def _server_uuid(guest: str) -> str:
    """Return the UUID of a server given by UUID, known or not yet, or by its exact name."""
    if uuidutils.is_uuid_like(guest):
        return guest
    context = nova_context.get_admin_context()
    instances = objects.InstanceList.get_by_filters(
        context, {"display_name": f"^{re.escape(guest)}$", "deleted": False}, expected_attrs=[]
    )
    if len(instances) != 1:
        reason = f"{len(instances)} servers have" if instances else "no server has"
        raise Refused(http.HTTPStatus.NOT_FOUND, f"guest {guest}: {reason} that name or UUID")
    return instances[0].uuid


def serve(port: int, hosts: tuple[str, ...]) -> None:
    """Answer on a port of the loopback interface, in the background."""
    control = Control(hosts)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        do_POST = do_PUT = do_GET

        def _answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = http.HTTPStatus.OK
            try:
                answer = control.perform(self.command, self.path, json.loads(text or b"{}"))
            except Refused as refusal:
                status, answer = refusal.args[0], {"error": refusal.args[1]}
            except Exception as error:  # noqa: BLE001 (a server answers whatever went wrong)
                traceback.print_exc()
                status = http.HTTPStatus.INTERNAL_SERVER_ERROR
                answer = {"error": f"{type(error).__name__}: {error}"}
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_args: Any) -> None:
            """Leave no trace: this API is not part of the cloud."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
