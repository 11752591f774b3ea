"""The error that a training raises when it cannot go on."""


class TrainError(RuntimeError):
    """A training that cannot start or go on; the last good checkpoint is kept."""
