"""Bridges to other simulators and formats, each in modules of its own."""
