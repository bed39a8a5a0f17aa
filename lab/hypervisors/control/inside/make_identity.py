# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill Keystone's tables: ``make_identity.py SETTINGS``, see make_databases.py."""

from __future__ import annotations

import json
import sys

import identity
import keystone.server

SETTINGS = json.loads(sys.argv[1])
del sys.argv[1:]

keystone.server.configure(config_files=["/etc/keystone/keystone.conf"])
ENTRIES = [identity.Service(*entry) for entry in SETTINGS["catalogue"]]
identity.seed(ENTRIES[0], ENTRIES[1:], SETTINGS["password"], SETTINGS["region"])
