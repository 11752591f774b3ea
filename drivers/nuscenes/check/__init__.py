"""A validator of nuScenes data sets: mistakes of schema and of meaning."""

from drivers.nuscenes.check.data_set import check_nuscenes, check_tables

__all__ = ["check_nuscenes", "check_tables"]
