# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to a lab's control API, which does what no OpenStack API does."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

TIMEOUT_SECONDS = 60


def send(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Return the decoded answer of the control API whose root is ``url``.

    Raises urllib.error.HTTPError when it refuses, another OSError when it does not answer.
    """
    request = urllib.request.Request(
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return json.loads(answer.read() or b"null")
