# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""clouds.yaml: how a client signs in to a lab, whatever runs it."""

from __future__ import annotations

import json
from typing import Any


def document(auth_url: str, password: str, region: str) -> str:
    """Return clouds.yaml: an admin by project and by system, and a member."""

    def cloud(user: str, scope: dict[str, str]) -> dict[str, Any]:
        auth = {
            "auth_url": auth_url,
            "username": user,
            "password": password,
            "user_domain_id": "default",
            **scope,
        }
        return {"region_name": region, "auth": auth}

    def project(name: str) -> dict[str, str]:
        return {"project_name": name, "project_domain_id": "default"}

    content = {
        "lab": cloud("admin", project("admin")),
        "lab-system": cloud("admin", {"system_scope": "all"}),
        "lab-member": cloud("member", project("members")),
    }
    return json.dumps({"clouds": content}, indent=2) + "\n"
