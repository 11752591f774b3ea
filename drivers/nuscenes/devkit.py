"""The official devkit of nuScenes and its packages, which the extra `driving` installs."""

from contextlib import AbstractContextManager

from neuro.base.extras import require_extra


def require_devkit() -> AbstractContextManager[None]:
    """Return a context for imports of the devkit, or of modules that need it or shapely.

    Raises:
        RuntimeError: a package is not installed.
    """
    return require_extra("driving", "nuScenes needs its devkit")
