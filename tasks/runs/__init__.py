"""Runs and tasks: the interface of a task, finding tasks, and results files."""
