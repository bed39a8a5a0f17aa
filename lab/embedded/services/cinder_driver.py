# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cinder's volume driver of the lab: volumes exist in Cinder's database, no bytes are kept."""

from __future__ import annotations

from typing import Any

from cinder.volume import driver


class LabVolumeDriver(driver.VolumeDriver):
    """Accepts every operation on a volume and does nothing, at once."""

    VERSION = "1.0"
    CI_WIKI_NAME = "none"

    def do_setup(self, context: Any) -> None:
        """Nothing to prepare."""

    def check_for_setup_error(self) -> None:
        """Nothing that could be wrong."""

    def create_volume(self, volume: Any) -> None:
        """No bytes are kept."""

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """No bytes are kept."""

    def create_cloned_volume(self, volume: Any, source: Any) -> None:
        """No bytes are kept."""

    def clone_image(
        self, context: Any, volume: Any, image_location: Any, image_meta: Any, image_service: Any
    ) -> tuple[dict[str, Any], bool]:
        """Say that the image is on the volume already, so that nothing is downloaded."""
        return {}, True

    def delete_volume(self, volume: Any) -> None:
        """No bytes are kept."""

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """No bytes are kept."""

    def create_snapshot(self, snapshot: Any) -> None:
        """No bytes are kept."""

    def delete_snapshot(self, snapshot: Any) -> None:
        """No bytes are kept."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing is exported."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Nothing is exported."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Nothing is exported."""

    def initialize_connection(self, volume: Any, connector: Any) -> dict[str, Any]:
        """Return a connection that the simulated hypervisor's os-brick understands."""
        return {
            "driver_volume_type": "fake",
            "data": {"volume_id": volume.id, "access_mode": "rw"},
        }

    def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None:
        """Nothing is connected."""

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        """Return a back end with more space than any scenario asks for."""
        self._stats = {
            "volume_backend_name": "lab",
            "vendor_name": "lowtide",
            "driver_version": self.VERSION,
            "storage_protocol": "fake",
            "total_capacity_gb": 100_000,
            "free_capacity_gb": 100_000,
            "reserved_percentage": 0,
            "multiattach": True,
        }
        return self._stats
