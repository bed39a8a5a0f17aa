# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills the template's Keystone, with placeholders for what differs between labs."""

from __future__ import annotations

from lab import identity
from lab.embedded.settings import ENDPOINTS, PASSWORD, REGION, UNSERVED, placeholder_url


def seed() -> None:
    """Fill an empty, migrated Keystone database; endpoints get placeholder URLs."""
    entries = {
        name: identity.Service(
            endpoint.service, endpoint.catalogue_type, placeholder_url(name) + endpoint.path
        )
        for name, endpoint in (ENDPOINTS | UNSERVED).items()
    }
    identity.seed(entries.pop("identity"), entries.values(), PASSWORD, REGION)
