# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: an OpenStack cloud on one machine, to develop and to prove the collection on."""
