"""Dataclasses whose fields can be set: what changes a value in one place changes it in all."""

import importlib
import pkgutil
from dataclasses import is_dataclass
from types import ModuleType


def list_changeable(package: ModuleType, *left_out: str) -> list[str]:
    """Return the dataclasses that are not frozen, of all modules of a package but some."""
    modules = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [m.name for m in modules if not m.name.startswith(left_out or "-")]
    values = [x for name in names for x in vars(importlib.import_module(name)).values()]
    own = {x for x in values if isinstance(x, type) and x.__module__ in names}
    return sorted(
        x.__qualname__ for x in own if is_dataclass(x) and not x.__dataclass_params__.frozen
    )
