"""What is done with a run: it is trained, simulated, verified, exported, priced, compared."""
