"""``neuro bench forecasting``: every arm in every setting, by seed, with what it shows."""
