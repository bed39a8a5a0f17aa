# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova must be told to use native threads before anything else imports it, and no lab be chosen."""

from __future__ import annotations

import importlib.util
import os

# A developer's own choice must not start another kind of lab than a test means.
os.environ.pop("LAB_BACKEND", None)
os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"

if importlib.util.find_spec("nova") is not None:
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")
