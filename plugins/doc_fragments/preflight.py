# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  nova_conf:
    description:
      - What M(lowtide.compute.nova_config_info) returned on the hypervisors, by Nova's names of
        the hosts. Only its RV(lowtide.compute.nova_config_info#module:effective),
        RV(lowtide.compute.nova_config_info#module:release) and
        RV(lowtide.compute.nova_config_info#module:version) are read.
      - What needs the configuration of a host that is not among them is told in C(not_seen).
    type: dict
    default: {}
  migration_network:
    description:
      - Whether the network that carries migrations may be relied upon, as one with redundant links
        may. Post-copy loses a guest when it fails.
    type: str
    choices: [reliable, unreliable, unknown]
    default: unknown
"""
