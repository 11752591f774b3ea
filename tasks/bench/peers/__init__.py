"""Compares neuro with other simulators and libraries, partly on published networks."""
