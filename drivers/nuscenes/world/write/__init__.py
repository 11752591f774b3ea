"""Writing of scenes as a data set of nuScenes."""

from drivers.nuscenes.world.write.dataset import PlannedScene, write_nuscenes
from drivers.nuscenes.world.write.names import Version

__all__ = ["PlannedScene", "Version", "write_nuscenes"]
