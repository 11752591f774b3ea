"""Learned delays: the interval task, and its experiment beside controls."""
