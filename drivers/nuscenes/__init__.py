"""nuScenes: tables, maps, boxes and sensors of drives, and a world that generates such data.

Frames: *global* is the frame of the map, [m]. *ego* is the flat frame of the car: its origin
on the ground below the middle of the rear axle, x forward, y to the left, z up; only the yaw of
the car turns it. Angles are counter-clockwise, [rad]; quaternions are (w, x, y, z).
Axes: B windows of a batch, S past and present frames, F future frames, N cameras, X and Y cells
of the bird's-eye grid (:mod:`drivers.nuscenes.grid`), H height from above, W width of images.
"""
