"""The error of a training that cannot continue."""


class TrainError(RuntimeError):
    """A training cannot start or continue; the last good checkpoint remains."""
