"""Compiled primitives that the other packages share."""
