"""Bridges to other simulators and file formats, each in its own modules."""
