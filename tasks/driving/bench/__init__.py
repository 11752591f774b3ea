"""``neuro bench driving``: trained drivers, planners with less input, and the rules."""
