"""A run and what it is of: the contract of a task, how one is found, and results files."""
