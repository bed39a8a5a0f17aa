# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server and the API faults, over real connections."""

from __future__ import annotations

import http.client
import json
import threading
import time

import pytest

from lab.embedded import api_faults, httpd
from lab.embedded.api_faults import ApiFaults, Rule


def echo(environ, start_response):
    """Answer with the request's body, its method and its query."""
    body = environ["wsgi.input"].read()
    answer = json.dumps(
        {
            "method": environ["REQUEST_METHOD"],
            "query": environ["QUERY_STRING"],
            "body": body.decode(),
        }
    ).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer[:5], answer[5:]]


@pytest.fixture
def serve():
    servers = []

    def start(application):
        server = httpd.serve(application, 0)
        servers.append(server)
        return http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(connection, method="GET", path="/", body=None, headers=None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.read()


def test_keeps_the_connection_and_separates_the_requests_on_it(serve):
    connection = serve(echo)
    answers, sockets = [], set()
    for number in range(3):
        _status, text = ask(connection, "POST", f"/?n={number}", body=f"body {number}")
        answers.append(json.loads(text))
        sockets.add(connection.sock)
    assert [answer["body"] for answer in answers] == ["body 0", "body 1", "body 2"]
    assert [answer["query"] for answer in answers] == ["n=0", "n=1", "n=2"]
    assert len(sockets) == 1


def test_a_body_that_nobody_reads_is_not_taken_for_the_next_request(serve):
    def deaf(environ, start_response):
        start_response("204 No Content", [])
        return []

    connection = serve(deaf)
    large = b"x" * (httpd.LARGE_BODY + 100)
    assert ask(connection, "PUT", body=large) == (204, b"")
    assert ask(connection) == (204, b"")


def test_accepts_chunked_bodies(serve):
    connection = serve(echo)
    connection.request("POST", "/", iter([b"one ", b"two"]), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["body"] == "one two"
    assert ask(connection)[0] == 200


def test_head_has_the_length_but_not_the_body(serve):
    connection = serve(echo)
    connection.request("HEAD", "/")
    response = connection.getresponse()
    assert int(response.headers["Content-Length"]) > 0
    assert response.read() == b""
    assert ask(connection)[0] == 200


def test_streams_an_answer_whose_length_is_known(serve):
    sent = threading.Event()

    def slow(environ, start_response):
        start_response("200 OK", [("Content-Length", "8")])
        yield b"half"
        assert sent.wait(5)
        yield b"half"

    connection = serve(slow)
    connection.request("GET", "/")
    sent.set()
    assert connection.getresponse().read() == b"halfhalf"


# --- faults --------------------------------------------------------------------------------


def faulty(path, service="compute"):
    return ApiFaults(echo, service, path)


def test_the_kth_match_fails_and_those_after_it_as_often_as_asked(serve, tmp_path):
    path = tmp_path / "faults.json"
    api_faults.add(path, Rule("compute", "/servers", "503", method="GET", nth=2, times=2))
    connection = serve(faulty(path))
    statuses = [ask(connection, path="/servers/detail")[0] for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]


def test_only_matching_requests_count(serve, tmp_path):
    path = tmp_path / "faults.json"
    api_faults.add(
        path, Rule("compute", r"^/servers\?limit=\d+$", "500", method="GET", client="lowtide")
    )
    connection = serve(faulty(path))
    ours = {"User-Agent": "lowtide.compute/1 x"}
    assert ask(connection, path="/servers?limit=5")[0] == 200
    assert ask(connection, "POST", "/servers?limit=5", headers=ours)[0] == 200
    assert ask(connection, path="/servers?limit=x", headers=ours)[0] == 200
    assert ask(connection, path="/servers?limit=5", headers=ours)[0] == 500
    assert ask(connection, path="/servers?limit=5", headers=ours)[0] == 200


def test_a_rule_is_for_one_service_and_can_come_and_go_at_any_time(serve, tmp_path):
    path = tmp_path / "faults.json"
    connection = serve(faulty(path))
    assert ask(connection)[0] == 200
    api_faults.add(path, Rule("network", "/", "500", times=100))
    assert ask(connection)[0] == 200
    api_faults.add(path, Rule("compute", "/", "500", times=100))
    assert ask(connection)[0] == 500
    api_faults.clear(path)
    assert ask(connection)[0] == 200


def test_an_error_is_readable_json(serve, tmp_path):
    path = tmp_path / "faults.json"
    api_faults.add(path, Rule("compute", "/", "503"))
    _status, text = ask(serve(faulty(path)))
    assert json.loads(text)["error"]["code"] == 503


def test_reset_cuts_the_connection_at_once(serve, tmp_path):
    path = tmp_path / "faults.json"
    api_faults.add(path, Rule("compute", "/", "reset"))
    connection = serve(faulty(path))
    with pytest.raises(ConnectionResetError):
        ask(connection)
    connection.close()
    assert ask(connection)[0] == 200


def test_hang_gives_no_answer_for_its_time_and_then_cuts(serve, tmp_path):
    path = tmp_path / "faults.json"
    api_faults.add(path, Rule("compute", "/", "hang", seconds=0.3))
    connection = serve(faulty(path))
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        ask(connection)
    assert 0.3 <= time.monotonic() - began < 3


def test_rules_added_at_once_are_all_kept(tmp_path):
    path = tmp_path / "faults.json"
    rules = [Rule("compute", f"/{number}", "500") for number in range(20)]
    threads = [threading.Thread(target=api_faults.add, args=(path, rule)) for rule in rules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rule.path for rule in api_faults.load(path)) == sorted(r.path for r in rules)
