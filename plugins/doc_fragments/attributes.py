# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode, and return what would change without changing it.
  diff_mode:
    description: Returns what changed, or in check mode would change, when it runs in diff mode.
  idempotent:
    description: When run twice in a row outside of check mode with the same options, the second
      run changes nothing.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: It only reads.
  diff_mode:
    support: N/A
    details: It only reads.
  idempotent:
    support: full
    details: It only reads.
"""

    ACTION = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/lowtide.compute.compute) in C(module_defaults) to set defaults for
      this module.
    support: full
    membership:
      - lowtide.compute.compute
"""

    HYPERVISOR_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/lowtide.compute.hypervisor) in C(module_defaults) to set defaults for
      this module.
    support: full
    membership:
      - lowtide.compute.hypervisor
"""
