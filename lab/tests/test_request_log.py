# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request log: what a line says, and how lines are read back."""

from __future__ import annotations

import http.client
import json
import threading
import time

import pytest

from lab.embedded import api_faults, httpd, request_log
from lab.embedded.api_faults import ApiFaults, Rule
from lab.embedded.request_log import RequestLog


def application(environ, start_response):
    time.sleep(0.02)
    headers = [("X-Openstack-Request-Id", "req-1"), ("Content-Length", "2")]
    start_response("201 Created", headers)
    return [b"ok"]


@pytest.fixture
def logged(tmp_path):
    faults = ApiFaults(application, "compute", tmp_path / "faults.json")
    server = httpd.serve(RequestLog(faults, "compute", tmp_path), 0)
    yield server
    server.shutdown()
    server.server_close()


def ask(server, path, agent="lowtide.compute/1 openstacksdk/4", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path, headers={"User-Agent": agent})
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


def entries(directory, count, **selection):
    """Read the log as soon as it has so many lines: the last one follows its answer."""
    for _ in range(100):
        found = list(request_log.read(directory, **selection))
        if len(found) >= count:
            break
        time.sleep(0.02)
    return found


def test_a_line_says_who_asked_what_and_how_it_ended(logged, tmp_path):
    before = time.time()
    ask(logged, "/v2.1/servers/detail?host=cmp-1&x=%20", method="POST")
    (entry,) = entries(tmp_path, 1)
    assert before - 0.01 <= entry.pop("time") <= time.time()
    assert 20 <= entry.pop("ms") < 2000
    assert entry == {
        "service": "compute",
        "client": "lowtide.compute/1",
        "user_agent": "lowtide.compute/1 openstacksdk/4",
        "method": "POST",
        "path": "/v2.1/servers/detail?host=cmp-1&x=%20",
        "status": 201,
        "request_id": "req-1",
    }


def test_a_fault_is_told_from_an_answer(logged, tmp_path):
    for action in ("500", "reset"):
        api_faults.add(tmp_path / "faults.json", Rule("compute", f"/{action}", action))
    ask(logged, "/500")
    with pytest.raises(ConnectionResetError):
        ask(logged, "/reset")
    ask(logged, "/healthy")
    found = {entry["path"]: entry for entry in entries(tmp_path, 3)}
    assert (found["/500"]["status"], found["/500"]["fault"]) == (500, "500")
    assert (found["/reset"]["status"], found["/reset"]["fault"]) == (0, "reset")
    assert "fault" not in found["/healthy"]


def test_lines_of_many_threads_stay_whole(logged, tmp_path):
    threads = [
        threading.Thread(target=ask, args=(logged, f"/{number}?{'x' * 3000}"))
        for number in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({entry["path"] for entry in entries(tmp_path, 40)}) == 40


def write(directory, service, *lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / f"{service}.jsonl").write_text(text)


def line(when, agent="a", path="/"):
    return {"time": when, "user_agent": agent, "path": path}


def test_services_are_merged_by_arrival_not_by_completion(tmp_path):
    write(tmp_path, "compute", line(3, path="/3"), line(1, path="/1"))
    write(tmp_path, "network", line(2, path="/2"))
    assert [entry["path"] for entry in request_log.read(tmp_path)] == ["/1", "/2", "/3"]


def test_selection_by_age_and_by_client(tmp_path):
    now = time.time()
    write(
        tmp_path,
        "compute",
        line(now - 100, "lowtide.compute/1", "/old"),
        line(now - 1, "lowtide.compute/1", "/ours"),
        line(now - 1, "openstacksdk/4", "/theirs"),
    )

    def paths(**selection):
        return [entry["path"] for entry in request_log.read(tmp_path, **selection)]

    assert paths(since=10) == ["/ours", "/theirs"]
    assert paths(client="lowtide") == ["/old", "/ours"]
    assert paths(since=10, client="lowtide") == ["/ours"]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    write(tmp_path, "compute", line(1, path="/whole"))
    with (tmp_path / "compute.jsonl").open("a") as file:
        file.write('{"time": 2, "pa')
    assert [entry["path"] for entry in request_log.read(tmp_path)] == ["/whole"]
