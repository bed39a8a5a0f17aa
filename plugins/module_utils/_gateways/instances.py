# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Nova's directory of instances on a hypervisor: whose files lie there, and who shares it.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

import json
import os
import re

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: File systems that several hosts mount.
SHARED = frozenset(
    "afs beegfs ceph cifs fuse.ceph fuse.glusterfs fuse.juicefs fuse.moosefs fuse.quobyte gfs2 gpfs"
    " lustre nfs nfs4 ocfs2 smb3".split()
)
#: Nova keeps here which hosts use the directory, and when each last said so.
USERS = "compute_nodes"
#: Nova's own limit (nova/virt/storage_users.py).
RECENT_SECONDS = 24 * 3600


def guests_with_files(path: str) -> list[str] | None:
    """IDs of guests with a directory below ``path``, sorted; None when there is no such place.

    Directories of unconfirmed moves (``_resize``) are none of these: Nova still knows of them.
    Raises BadOption when it cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if UUID.fullmatch(e.name) and e.is_dir())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadOption(
            "instances_path",
            path,
            f"cannot be read: {error.strerror}",
            "Run as root or nova (`become: true`), and give Nova's `instances_path`",
        ) from error


def is_shared(path: str, now: float, mounts: str = "/proc/self/mounts") -> bool:
    """Whether other hosts use ``path`` too, so that guests elsewhere have directories there."""
    return _kind_of(os.path.realpath(path), mounts) in SHARED or len(_users(path, now)) > 1


def _kind_of(path: str, mounts: str) -> str:
    with open(mounts) as file:
        rows = [line.split() for line in file]
    # The last of several mounts on one point is the one that is seen.
    holding = [
        (len(point), number, kind)
        for number, (_device, point, kind, *_rest) in enumerate(rows)
        if path == point or path.startswith(point.rstrip("/") + "/")
    ]
    return max(holding)[2] if holding else ""


def _users(path: str, now: float) -> list[str]:
    try:
        with open(os.path.join(path, USERS)) as file:
            said = json.load(file)
    except (OSError, ValueError):
        return []
    if not isinstance(said, dict):
        return []
    return [host for host, at in said.items() if now - float(at) < RECENT_SECONDS]
