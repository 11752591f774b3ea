"""Sequence mixers: what carries information from token to token."""
