"""``neuro bench driving``: trained drivers, planners with less information, and the rules."""
