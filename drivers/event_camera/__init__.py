"""Event-camera clips, their conversion to frames and spikes, and data sets of tonic."""

from drivers.event_camera.clips import Clip, Clips, frames, to_events, to_times
from drivers.event_camera.tonic_sets import from_tonic, load

__all__ = [
    "Clip",
    "Clips",
    "frames",
    "from_tonic",
    "load",
    "to_events",
    "to_times",
]
