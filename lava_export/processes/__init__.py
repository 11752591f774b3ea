"""Lava Processes of our own. Lava's compiler imports every file of this folder."""
