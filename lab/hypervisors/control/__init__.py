# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane: OpenStack's services with their databases, messaging and OVN, on `ctl`."""
