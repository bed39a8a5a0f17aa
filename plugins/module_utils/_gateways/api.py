# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""HTTP calls to OpenStack: credentials, retries, pages, and the one place that maps errors.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from html import unescape
from typing import Any

from ansible.module_utils.api import retry_with_delays_and_condition

from ansible_collections.lowtide.compute.plugins.module_utils._errors import (
    BadOption,
    LowtideError,
    Refused,
    Unauthorized,
    Unreachable,
)

try:
    import openstack
    from keystoneauth1 import exceptions as ksa
    from openstack import exceptions as sdk
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

#: Sent in front of the User-Agent, so that an operator finds our calls in an API's log.
USER_AGENT = "lowtide.compute"
VERSION = "1.0.0-dev0"

#: Seconds after which a call is given up, when neither ``api_timeout`` nor clouds.yaml says.
DEFAULT_TIMEOUT = 30
#: A read is asked three times; the pauses between are the SDK's (0.5 s, then 1 s).
READ_RETRIES = 2
RETRY_PAUSES = (0.5, 1.0)
TRANSIENT = (429, 500, 502, 503, 504)
#: How a 403 reads that is about rights (Nova and Neutron, Glance), and not about a quota or state.
NO_RIGHT = ("olicy", "not authorized")

#: Ways to sign in that cannot be repeated: what they give ends with the token.
UNREPEATABLE = frozenset({"token", "v2token", "v3token", "v3totp"})

CREDENTIALS = (
    "Name a cloud of clouds.yaml in `cloud`, set the OS_* variables, or give `auth` and `auth_type`"
)

Json = dict[str, Any]


class Api:
    """One service's API. ``adapter`` makes its SDK proxy on first use.

    ``who``: the option that chose the credentials, for messages about rights.
    Reads are retried on time-outs, connection errors, 429 and 5xx, and then raise Unreachable.
    Writes are sent once. An answer of 4xx raises Refused, 401 and 403 Unauthorized.
    """

    def __init__(self, name: str, adapter: Callable[[], Any], who: str = "") -> None:
        self.name = name
        self.who = who
        self._make_adapter = adapter
        self._adapter: Any = None

    def get(
        self, path: str, params: Mapping[str, Any] | None = None, *, microversion: str | None = None
    ) -> Json:
        """The decoded body of a GET."""
        with errors(f"the {self.name} API", self.who):
            answer = self._ready().get(
                path,
                params=dict(params or {}),
                microversion=microversion,
                connect_retries=READ_RETRIES,
                status_code_retries=READ_RETRIES,
                retriable_status_codes=TRANSIENT,
                skip_cache=True,
            )
        return self._body(answer, "GET", path, write=False)

    def pages(
        self,
        path: str,
        key: str,
        params: Mapping[str, Any] | None = None,
        *,
        microversion: str | None = None,
        marker: str = "id",
    ) -> Iterator[list[Json]]:
        """Pages of a list. ``key``: its name in the body; ``marker``: the field to go on from.

        The link to the next page only says that there is one: behind a proxy its host is wrong.
        Nova has it in ``KEY_links``, Glance in ``next``.
        """
        params = dict(params or {})
        while True:
            body = self.get(path, params, microversion=microversion)
            page = body[key]
            yield page
            links = body.get(f"{key}_links", [])
            more = "next" in body or any(link.get("rel") == "next" for link in links)
            if not page or not more:
                return
            params["marker"] = page[-1][marker]

    def list(self, path: str, key: str, params: Mapping[str, Any] | None = None, **kw: Any) -> list:
        """All pages of a list in one."""
        return [item for page in self.pages(path, key, params, **kw) for item in page]

    def send(
        self,
        method: str,
        path: str,
        body: Json | Sequence[Json] | None = None,
        *,
        microversion: str | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Send a write once. Raises Unreachable when it may or may not have happened."""
        with errors(f"the {self.name} API", self.who):
            answer = self._ready().request(
                path,
                method,
                json=body,
                microversion=microversion,
                headers={} if body is None else {"Content-Type": content_type},
                connect_retries=0,
                status_code_retries=0,
            )
        return self._body(answer, method, path, write=True)

    def max_microversion(self) -> tuple[int, int]:
        """The newest microversion that the service offers; raises Unreachable."""
        with errors(f"the {self.name} API", self.who):
            major, minor = patiently(self._discovered).max_microversion
        return int(major), int(minor)

    def _discovered(self) -> Any:
        data = self._ready().get_endpoint_data()
        if data is None or not data.max_microversion:
            where = self._ready().get_endpoint()
            raise ksa.DiscoveryFailure(f"{where} does not say which microversions it offers")
        return data

    def _ready(self) -> Any:
        if self._adapter is None:
            self._adapter = patiently(self._make_adapter)
        return self._adapter

    def _body(self, answer: Any, method: str, path: str, *, write: bool) -> Json:
        status = answer.status_code
        if status < 400:
            return self._decoded(answer, f"{method} {path}")
        text = explanation(answer)
        call = f"{self.name} API: {method} {path}: {status}: {text}"
        request_id = answer.headers.get("x-openstack-request-id", "")
        if status == 401 or (status == 403 and any(word in text for word in NO_RIGHT)):
            who = f"{self.who}: " if self.who else ""
            raise Unauthorized(who + call, _remedy_for(status), request_id=request_id)
        if status >= 500 or (status == 429 and not write):
            raise Unreachable(
                call, f"See the {self.name} service's log for {request_id}", request_id=request_id
            )
        raise Refused(call, status=status, reason=text, request_id=request_id)

    def _decoded(self, answer: Any, call: str) -> Json:
        try:
            return answer.json() if answer.content else {}
        except ValueError as error:
            raise Unreachable(
                f"{self.name} API: {call}: the answer is no JSON",
                "See whether a proxy in front of the API answers in its place",
            ) from error


def _remedy_for(status: int) -> str:
    if status == 401:
        return (
            "The token is not valid any more: use credentials that can be renewed. " + CREDENTIALS
        )
    return "Use a user with the admin role, or grant that policy rule to the one in use"


def explanation(answer: Any) -> str:
    """The one sentence that matters in an OpenStack error body."""
    try:
        body = answer.json()
    except ValueError:
        return _text_of(answer.text)[:200] or str(answer.reason)
    candidates = [body, *body.values()] if isinstance(body, dict) else [body]
    for candidate in candidates:
        inner = candidate[0] if isinstance(candidate, list) and candidate else candidate
        if isinstance(inner, dict):
            for key in ("message", "detail", "title"):
                if isinstance(inner.get(key), str):
                    return " ".join(inner[key].split())
    return str(answer.reason)


def _text_of(page: str) -> str:
    """What a page says: Glance, and proxies, answer errors with HTML. Its titles say the status."""
    said = re.sub(r"(?s)<(title|h1)>.*?</\1>|<[^>]*>", " ", page)
    return " ".join(unescape(said).split())


class Session:
    """Signed in to one cloud. Services are discovered on first use."""

    def __init__(self, connection: Any, who: str) -> None:
        self._connection = connection
        self._who = who

    def api(self, name: str) -> Api:
        """A service's API, by the name of its SDK proxy, such as ``compute``."""
        return Api(name.replace("_", " "), partial(getattr, self._connection, name), self._who)

    def project_id(self) -> str:
        """ID of the project that the credentials are for; "" where they are for none."""
        with errors("the identity API"):
            return self._connection.session.get_project_id() or ""

    def token_end(self) -> tuple[float, bool] | None:
        """When the token ends (epoch seconds), and whether another can be had by signing in anew.

        None when the way of signing in knows no end, as with ``admin_token``.
        """
        plugin = self._connection.session.auth
        if not hasattr(plugin, "get_access"):
            return None
        with errors("the identity API", self._who):
            expires = patiently(partial(plugin.get_access, self._connection.session)).expires
        if expires is None:
            return None
        way = self._connection.config.config.get("auth_type") or "password"
        return expires.timestamp(), way not in UNREPEATABLE

    def offers(self, service_type: str) -> bool:
        """Has the cloud a service of this type, in the region and at the interface in use?"""
        config = self._connection.config
        with errors("the identity API"):
            try:
                url = self._connection.session.get_endpoint(
                    service_type=service_type,
                    interface=config.get_interface(service_type),
                    region_name=config.get_region_name(service_type),
                    skip_discovery=True,
                )
            except ksa.EndpointNotFound:
                return False
            return bool(url)


def sign_in(params: Mapping[str, Any]) -> Session:
    """The cloud that the modules' authentication options name.

    Raises BadOption for a cloud that clouds.yaml does not have, Unauthorized for missing or
    refused credentials, Unreachable when the identity service does not answer.
    """
    return Session(open_connection(params), who_asks(params))


# --- errors ------------------------------------------------------------------------------


@contextmanager
def errors(what: str, who: str = "") -> Iterator[None]:
    """Turn what the SDK raises inside into LowtideError.

    ``what``: whom we were talking to; ``who``: the option that chose the credentials.
    """
    try:
        yield
    except (ksa.ClientException, sdk.SDKException) as error:
        raise _translated(error, what, f"{who}: " if who else "") from error


def _translated(error: Exception, what: str, who: str) -> LowtideError:
    text = _shortened(str(getattr(error, "message", "") or error))
    if isinstance(error, (ksa.MissingRequiredOptions, ksa.MissingAuthPlugin, ksa.NoMatchingPlugin)):
        return Unauthorized(f"{who}no usable credentials: {text}", CREDENTIALS)
    if isinstance(error, ksa.Forbidden):
        return Unauthorized(f"{who}{what}: {text}", _remedy_for(403))
    refusals = (ksa.HTTPClientError, ksa.AuthorizationFailure, ksa.AuthPluginException)
    if isinstance(error, refusals):
        return Unauthorized(f"{who}{what} refused the credentials: {text}", CREDENTIALS)
    if isinstance(error, (ksa.EndpointNotFound, sdk.ServiceDisabledException)):
        return Unreachable(
            f"{who}{what} has no endpoint in the catalogue",
            "Check `region_name` and `interface`, and that the service is in the catalogue",
        )
    return Unreachable(
        f"{who}{what} gives no usable answer: {text}",
        "Check `cloud` or `auth.auth_url`, the network, `ca_cert` and `api_timeout`",
    )


def _shortened(text: str) -> str:
    """``text`` with urllib3's nested wording reduced to the operating system's."""
    return re.sub(r": HTTPS?ConnectionPool.*\[Errno -?\d+\] ([^\"')]*).*", r": \1", text)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ksa.HttpError):
        return error.http_status in TRANSIENT
    # NotSupported: the SDK saw no version document, which an API that fails does not show.
    passing = (ksa.RetriableConnectionFailure, ksa.DiscoveryFailure, sdk.NotSupported)
    return isinstance(error, passing)


def patiently(call: Callable[[], Any]) -> Any:
    """``call()``, again after a pause when it failed for a reason that may pass."""
    retry = retry_with_delays_and_condition(iter(RETRY_PAUSES), _is_transient)
    return retry(call)()


# --- credentials -------------------------------------------------------------------------


def who_asks(params: Mapping[str, Any]) -> str:
    """The option that chose the credentials, and its value unless that is a secret."""
    auth = params.get("auth") or {}
    if auth.get("token"):
        return "auth.token"
    for option in ("username", "user_id", "application_credential_id"):
        if auth.get(option):
            return f"auth.{option}: {auth[option]!r}"
    return f"cloud: {params['cloud']!r}" if params.get("cloud") else "the OS_* variables"


def open_connection(params: Mapping[str, Any]) -> Any:
    """An authenticated SDK connection from the modules' authentication options; see `sign_in`."""
    _check_values(params)
    with errors("the identity API", who_asks(params)):
        try:
            connection = _configured(params)
        except sdk.ConfigException as error:
            raise _misconfigured(error, params) from error
        patiently(connection.session.get_token)
    return connection


def _check_values(params: Mapping[str, Any]) -> None:
    """Raise BadOption for what the SDK would stumble over later, in its own words."""
    seconds = params.get("api_timeout")
    if seconds is not None and seconds < 1:
        raise BadOption("api_timeout", seconds, "is less than 1", "Give 1 or more seconds")
    for option in ("ca_cert", "client_cert", "client_key"):
        path = params.get(option)
        if path and not os.path.exists(os.path.expanduser(path)):
            # The name of a key's file is no secret, but the option is declared as one.
            shown = "(hidden)" if option == "client_key" else path
            raise BadOption(option, shown, "does not exist", "Give the path of a file")


def _misconfigured(error: Exception, params: Mapping[str, Any]) -> LowtideError:
    text = " ".join(str(error).split())
    for option in ("region_name", "cloud"):
        if params.get(option) and option.partition("_")[0] in text.lower():
            return BadOption(option, params[option], f"cannot be used: {text}", CREDENTIALS)
    return Unauthorized(f"no usable credentials: {text}", CREDENTIALS)


def _configured(params: Mapping[str, Any]) -> Any:
    names = {
        "validate_certs": "verify",
        "ca_cert": "cacert",
        "client_cert": "cert",
        "client_key": "key",
    }
    given = {
        names.get(option, option): params[option]
        for option in (
            "cloud",
            "auth_type",
            "region_name",
            "validate_certs",
            "ca_cert",
            "client_cert",
            "client_key",
            "interface",
            "api_timeout",
        )
        if params.get(option) is not None
    }
    if params.get("auth"):
        given["auth"] = {k: v for k, v in params["auth"].items() if v is not None}
    region = openstack.config.get_cloud_region(app_name=USER_AGENT, app_version=VERSION, **given)
    # Without this check keystoneauth raises a bare Exception, much later.
    by_password = region.config.get("auth_type") in (None, "password", "v3password")
    if by_password and not region.config.get("auth", {}).get("password"):
        raise Unauthorized("no usable credentials: auth.password is not given", CREDENTIALS)
    if region.config.get("api_timeout") is None:
        region.config["api_timeout"] = DEFAULT_TIMEOUT
    return openstack.connection.Connection(config=region)
