"""nuScenes: reads tables, maps, boxes and sensors of drives, and generates such data.

Frames: *global* is the frame of the map [m]. *ego* is the flat frame of the car: its origin is
on the ground below the middle of the rear axle; x points forward, y to the left, z up; only the
yaw of the car turns it. Angles are counter-clockwise [rad]; quaternions are (w, x, y, z).
Axes: B windows of a batch, S past and present frames, F future frames, N cameras, X and Y cells
of the bird's-eye grid (:mod:`drivers.nuscenes.grid`), H rows (from above) and W columns of
images.
"""
