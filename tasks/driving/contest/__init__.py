"""``neuro bench driving``: trained drivers beside planners that see less or know all."""
