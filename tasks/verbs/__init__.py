"""What the command line calls: one module a verb."""
