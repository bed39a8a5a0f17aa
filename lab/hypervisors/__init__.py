# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second backend: real OpenStack and real hypervisors on one machine, in namespaces."""
