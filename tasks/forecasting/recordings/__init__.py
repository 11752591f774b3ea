"""Recordings with seizures as windows of two classes: soon before a seizure, far from any."""
