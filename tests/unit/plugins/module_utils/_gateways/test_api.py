# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP answers and the SDK's exceptions, each mapped to one error with a remedy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from keystoneauth1 import exceptions as ksa
from openstack import exceptions as sdk

from ansible_collections.lowtide.compute.plugins.module_utils import _errors as errors
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import api

ROOT = Path(__file__).parents[5]


class Answer:
    """What requests returns."""

    def __init__(self, status, body=None, text=""):
        self.status_code, self.reason = status, "Reason"
        self.text = json.dumps(body) if body is not None else text
        self.content = self.text.encode()
        self.headers = {"x-openstack-request-id": "req-1"}

    def json(self):
        return json.loads(self.text)


class Adapter:
    """An SDK proxy that answers from a list, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def request(self, path, method, **more):
        self.asked.append((method, path, more))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get(self, path, **more):
        return self.request(path, "GET", **more)


def made(*answers):
    adapter = Adapter(*answers)
    return api.Api("compute", lambda: adapter, "cloud: 'lab'"), adapter


def test_the_version_is_the_collection_s():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == api.VERSION


def test_reads_are_asked_again_and_writes_are_not():
    caller, adapter = made(Answer(200, {"a": 1}), Answer(202))
    assert caller.get("/x", {"q": 1}, microversion="2.1") == {"a": 1}
    assert caller.send("POST", "/y", {}) == {}
    read, write = (more for _method, _path, more in adapter.asked)
    assert read["connect_retries"] == read["status_code_retries"] == api.READ_RETRIES
    assert set(read["retriable_status_codes"]) == {429, 500, 502, 503, 504}
    assert write["connect_retries"] == write["status_code_retries"] == 0


def test_pages_go_on_by_marker_not_by_the_link():
    link = [{"rel": "next", "href": "http://internal:8774/elsewhere"}]
    caller, adapter = made(
        Answer(200, {"servers": [{"id": "a"}, {"id": "b"}], "servers_links": link}),
        Answer(200, {"servers": [{"id": "c"}]}),
    )
    assert [item["id"] for item in caller.list("/servers", "servers", {"host": "h"})] == list("abc")
    assert [more["params"] for _m, _p, more in adapter.asked] == [
        {"host": "h"},
        {"host": "h", "marker": "b"},
    ]


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, {"badRequest": {"message": "bad host"}}, errors.Refused, "bad host"),
        (404, {"itemNotFound": {"message": "none"}}, errors.Refused, "none"),
        (409, {"conflictingRequest": {"message": "busy"}}, errors.Refused, "busy"),
        (403, {"forbidden": {"message": "Quota exceeded"}}, errors.Refused, "Quota"),
        (
            403,
            {"forbidden": {"message": "Policy doesn't allow x"}},
            errors.Unauthorized,
            "cloud: 'lab': .*Policy doesn't allow x.* admin role",
        ),
        (
            403,
            {"forbidden": {"message": "You are not authorized to complete x"}},
            errors.Unauthorized,
            "cloud: 'lab': .*not authorized to complete x.* admin role",
        ),
        (401, {"error": {"message": "no token"}}, errors.Unauthorized, "not valid any more"),
        (500, {"computeFault": {"message": "oops"}}, errors.Unreachable, "oops.*req-1"),
        (503, None, errors.Unreachable, "503"),
    ],
)
def test_statuses(status, body, error, words):
    for call in (lambda a: a.get("/x"), lambda a: a.send("POST", "/x", {})):
        caller, _adapter = made(Answer(status, body))
        with pytest.raises(error, match=words) as raised:
            call(caller)
        assert raised.value.remedy or error is errors.Refused
        assert "\n" not in str(raised.value)


def test_an_answer_that_is_no_json():
    caller, _adapter = made(Answer(200, text="<html>Welcome</html>"))
    with pytest.raises(errors.Unreachable, match=r"no JSON.*proxy"):
        caller.get("/x")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("api_timeout", 0),
        ("api_timeout", -5),
        ("ca_cert", "/nowhere/ca.pem"),
        ("client_cert", "/nowhere/cert.pem"),
        ("client_key", "/nowhere/key.pem"),
    ],
)
def test_values_that_the_sdk_would_stumble_over(option, value):
    with pytest.raises(errors.BadOption, match=f"^{option}: "):
        api.open_connection({option: value})


def test_too_many_requests_did_not_happen():
    caller, _adapter = made(Answer(429, {"overLimit": {"message": "slow"}}))
    with pytest.raises(errors.Refused) as refused:
        caller.send("POST", "/x", {})
    assert refused.value.status == 429
    caller, _adapter = made(Answer(429, {"overLimit": {"message": "slow"}}))
    with pytest.raises(errors.Unreachable):
        caller.get("/x")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"badRequest": {"code": 400, "message": "a\n b"}}, "a b"),
        ({"NeutronError": {"type": "X", "message": "port"}}, "port"),
        ({"errors": [{"status": 400, "title": "Bad", "detail": "class"}]}, "class"),
        ({"message": "plain"}, "plain"),
        ({"x": 1}, "Reason"),
        ([], "Reason"),
    ],
)
def test_the_sentence_of_a_body(body, text):
    assert api.explanation(Answer(400, body)) == text


def test_a_body_that_is_no_json():
    page = (
        "<html>\n <head>\n  <title>404 Not Found</title>\n </head> <body>\n  <h1>404 Not Found</h1>"
    )
    page += "\n  namespace=&#x27;A::B&#x27; was\n not found.<br /><br />\n </body>\n</html>"
    assert api.explanation(Answer(404, text=page)) == "namespace='A::B' was not found."
    assert api.explanation(Answer(502, text="Bad\n Gateway")) == "Bad Gateway"
    assert api.explanation(Answer(502, text="<html><h1>502</h1></html>")) == "Reason"
    assert api.explanation(Answer(502)) == "Reason"


@pytest.mark.parametrize(
    ("raised", "error", "words"),
    [
        (ksa.ConnectFailure("Unable to connect"), errors.Unreachable, "Unable to connect"),
        (ksa.ConnectTimeout("timed out"), errors.Unreachable, "timed out"),
        (ksa.SSLError("bad certificate"), errors.Unreachable, "ca_cert"),
        (ksa.DiscoveryFailure("nothing"), errors.Unreachable, "nothing"),
        (ksa.EndpointNotFound("none"), errors.Unreachable, "catalogue.*region_name"),
        (sdk.ServiceDisabledException("off"), errors.Unreachable, "catalogue"),
        (ksa.Unauthorized("who are you"), errors.Unauthorized, "cloud: 'lab': .*who are you"),
        (ksa.Forbidden("not you"), errors.Unauthorized, "admin role"),
        (ksa.MissingRequiredOptions([]), errors.Unauthorized, "clouds.yaml"),
        (ksa.NoMatchingPlugin("v9"), errors.Unauthorized, "v9"),
        (sdk.SDKException("whatever"), errors.Unreachable, "whatever"),
    ],
)
def test_exceptions(raised, error, words):
    caller, _adapter = made(raised)
    with pytest.raises(error, match=words) as mapped:
        caller.send("POST", "/x", {})
    assert mapped.value.remedy


def test_what_nobody_foresaw_is_not_hidden():
    caller, _adapter = made(KeyError("bug"))
    with pytest.raises(KeyError):
        caller.get("/x")


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ksa.ConnectFailure(), True),
        (ksa.ServiceUnavailable(), True),
        (ksa.InternalServerError(), True),
        (sdk.NotSupported("no version"), True),
        (ksa.Unauthorized(), False),
        (ksa.MissingRequiredOptions([]), False),
    ],
)
def test_what_is_worth_trying_again(monkeypatch, error, again):
    monkeypatch.setattr(api, "RETRY_PAUSES", (0.0, 0.0))
    calls = []

    def call():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        api.patiently(call)
    assert len(calls) == (3 if again else 1)


@pytest.mark.parametrize(
    ("params", "who"),
    [
        ({"cloud": "lab"}, "cloud: 'lab'"),
        ({"auth": {"username": "eve", "password": "x"}}, "auth.username: 'eve'"),
        ({"auth": {"token": "gAAAA"}}, "auth.token"),
        ({"auth": {"application_credential_id": "id1"}}, "auth.application_credential_id: 'id1'"),
        ({}, "the OS_* variables"),
    ],
)
def test_who_asks_never_shows_a_secret(params, who):
    assert api.who_asks(params) == who


def test_the_nested_words_of_a_failed_connection_are_cut():
    text = (
        "Unable to establish connection to http://127.0.0.1:1/v3: HTTPConnectionPool(host='127.0."
        "0.1', port=1): Max retries exceeded with url: /v3 (Caused by NewConnectionError(\"<x>: "
        'Failed to establish a new connection: [Errno 111] Connection refused"))'
    )
    caller, _adapter = made(ksa.ConnectFailure(text))
    with pytest.raises(errors.Unreachable, match="/v3: Connection refused\\. Check"):
        caller.get("/x")


class FakeConnection:
    """A connection whose catalogue answers with a URL, nothing, or an exception."""

    def __init__(self, answer):
        self.answer, self.session, self.config = answer, self, self

    def get_interface(self, service_type):
        return "public"

    def get_region_name(self, service_type):
        return "RegionOne"

    def get_endpoint(self, **_asked):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "offered"),
    [("http://image", True), (None, False), (ksa.EndpointNotFound("not in this region"), False)],
)
def test_a_service_that_a_cloud_does_not_offer_is_no_error(answer, offered):
    assert api.Session(FakeConnection(answer), "").offers("block-storage") is offered


def test_a_catalogue_that_cannot_be_had_is_one():
    with pytest.raises(errors.Unreachable, match="identity API"):
        api.Session(FakeConnection(ksa.ConnectFailure("down")), "").offers("image")


class SignedIn:
    """A connection that is signed in, in some way, with a token that ends at some time."""

    def __init__(self, way, ends):
        self.session = self.auth = self
        self.config = SimpleNamespace(config={"auth_type": way})
        self.expires = ends

    def get_access(self, session):
        return self


@pytest.mark.parametrize(
    ("way", "renewable"),
    [(None, True), ("v3applicationcredential", True), ("token", False), ("v3totp", False)],
)
def test_only_some_ways_to_sign_in_can_be_repeated(way, renewable):
    ends = datetime(2026, 11, 20, 3, 15, tzinfo=UTC)
    session = api.Session(SignedIn(way, ends), "")
    assert session.token_end() == (ends.timestamp(), renewable)


def test_a_token_without_an_end_has_none():
    assert api.Session(SignedIn("password", None), "").token_end() is None
    # admin_token, which is no identity plugin, gives no access.
    nobody = SimpleNamespace(session=SimpleNamespace(auth=object()))
    assert api.Session(nobody, "").token_end() is None
