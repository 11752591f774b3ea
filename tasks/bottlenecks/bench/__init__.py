"""``neuro bench bottlenecks``: what is trained, what it shows, and its picture."""
