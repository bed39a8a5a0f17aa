# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova's objects, loaded once, and quiet: it logs each try."""

from __future__ import annotations

import logging

import pytest

from tests.numa import nova_side


@pytest.fixture(scope="session", autouse=True)
def nova() -> None:
    logging.disable(logging.CRITICAL)
    nova_side.prepare()
