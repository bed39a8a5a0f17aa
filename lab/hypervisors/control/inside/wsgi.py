# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve one service's API: ``wsgi.py ADDRESS PORT THREADS MODULE``, in the lab's machines."""

from __future__ import annotations

import importlib
import sys

from waitress import serve

ADDRESS, PORT, THREADS, MODULE = sys.argv[1:]
# The services look for options of their own on the command line.
del sys.argv[1:]

serve(
    importlib.import_module(MODULE).application,
    host=ADDRESS,
    port=int(PORT),
    threads=int(THREADS),
    ident=None,
    channel_timeout=300,
    clear_untrusted_proxy_headers=True,
)
