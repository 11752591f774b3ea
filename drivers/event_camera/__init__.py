"""Clips of events from cameras, their official files, and a generated default."""

from drivers.event_camera.clips import Clip, Clips, frames, from_files, to_events, to_times

__all__ = [
    "Clip",
    "Clips",
    "frames",
    "from_files",
    "to_events",
    "to_times",
]
