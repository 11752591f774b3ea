"""Writing of scenes as a data set of nuScenes."""

from drivers.nuscenes.world.write.dataset import write_nuscenes
from drivers.nuscenes.world.write.names import Version

__all__ = ["Version", "write_nuscenes"]
