"""Experiments: model, driver, loss and configurations of each task; and the command line."""
