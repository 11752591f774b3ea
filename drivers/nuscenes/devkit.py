"""The official devkit of nuScenes and what comes with it: packages of the extra `driving`."""

from contextlib import AbstractContextManager

from neuro.extras import require_extra


def require_devkit() -> AbstractContextManager[None]:
    """Run a block that imports the devkit, or a module that needs it or shapely.

    Raises:
        RuntimeError: one is not installed; says which, and the cure.
    """
    return require_extra("driving", "nuScenes needs its devkit")
