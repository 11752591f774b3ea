"""A run and its task: the contract of a task, how tasks are found, and results files."""
