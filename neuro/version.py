"""Which neuro this is; pyproject.toml takes the version from here."""

__version__ = "0.1.0"
