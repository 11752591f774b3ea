"""The official devkit of nuScenes and its packages, of the extra `driving`."""

from contextlib import AbstractContextManager

from neuro.base.extras import require_extra


def require_devkit() -> AbstractContextManager[None]:
    """Run a block that imports the devkit, or a module that needs it or shapely.

    Raises:
        RuntimeError: a package is not installed.
    """
    return require_extra("driving", "nuScenes needs its devkit")
