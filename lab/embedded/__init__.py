# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded backend: real OpenStack services in a few processes over simulated hypervisors."""
