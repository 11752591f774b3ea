"""Other simulators and formats: each enters through one file of its own."""
