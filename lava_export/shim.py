"""Lets lava-nc 0.10.0, which declares Python 3.10, be imported on newer Pythons.

From 3.11 on, dataclasses refuse a default whose class has no hash; one module of Lava
(magma.compiler.var_model) has such defaults. While that module is imported, the default
becomes a factory that returns it, which is what 3.10 did. Nothing stays patched.
"""

import dataclasses
import importlib
from types import ModuleType
from typing import Any


def import_lava(module: str = "lava.magma.compiler.var_model") -> ModuleType:
    """Import the module that needs the shim; afterwards all of Lava can be imported."""
    library: Any = dataclasses  # _get_field is private
    original = library._get_field

    def tolerant(cls: type, name: str, *rest: Any) -> Any:
        default = cls.__dict__.get(name)
        plain = default is not None and not isinstance(default, dataclasses.Field)
        if plain and type(default).__hash__ is None:
            setattr(cls, name, dataclasses.field(default_factory=lambda: default))
        return original(cls, name, *rest)

    library._get_field = tolerant
    try:
        return importlib.import_module(module)
    finally:
        library._get_field = original
