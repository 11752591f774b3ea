"""Writing: scenes of the world as a data set of nuScenes."""

from drivers.nuscenes.world.write.dataset import write_nuscenes
from drivers.nuscenes.world.write.recording import VERSION

__all__ = ["VERSION", "write_nuscenes"]
