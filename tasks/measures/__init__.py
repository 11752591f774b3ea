"""The verbs on a run: train, simulate, verify, export, estimate energy, compare."""
