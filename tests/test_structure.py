"""The shape of the repository, as tests."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
PACKAGES = ["neuro", "drivers", "tasks", "lava_export"]
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
LIMIT = 600  # lines; about 300 is usual, one algorithm may take more

every_module = pytest.mark.parametrize(
    "path", MODULES, ids=[str(p.relative_to(ROOT)) for p in MODULES]
)


@every_module
def test_a_module_is_one_algorithm_at_most_and_says_its_purpose(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LIMIT
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    assert len(first) > 20


@every_module
def test_a_module_raises_instead_of_asserting_and_leaves_nothing_to_do(path: Path) -> None:
    source = path.read_text()
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))
    assert not any(word in source for word in ("TODO", "FIXME", "XXX"))


@every_module
def test_help_of_a_function_does_not_print_the_environment(path: Path) -> None:
    functions = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.arguments)
    ]
    defaults = [d for f in functions for d in (*f.defaults, *f.kw_defaults) if d is not None]
    assert [ast.unparse(d) for d in defaults if "environ" in ast.unparse(d)] == []


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.name == "__init__.py"],
    ids=lambda p: str(p.parent.relative_to(ROOT)),
)
def test_a_package_only_re_exports(path: Path) -> None:
    first, *rest = ast.parse(path.read_text()).body
    assert isinstance(first, ast.Expr)  # the docstring
    imported, exported = [], []
    for node in rest:
        if isinstance(node, ast.ImportFrom):
            imported += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.For):  # paths of modules that have moved
            assert path == ROOT / "neuro" / "__init__.py"
        elif isinstance(node, ast.Import):
            assert [alias.name for alias in node.names] == ["sys"]
        else:
            assert isinstance(node, ast.Assign)
            assert [ast.unparse(target) for target in node.targets] == ["__all__"]
            exported += ast.literal_eval(node.value)
    assert sorted(exported) == sorted(imported)


def test_no_class_name_stands_twice() -> None:
    nodes = [node for p in MODULES for node in ast.walk(ast.parse(p.read_text()))]
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    names = Counter(name for name in classes if not name.startswith("_"))
    assert [name for name, places in names.items() if places > 1] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_modules_to_test(package: str) -> None:
    assert any(package in p.relative_to(ROOT).parts for p in MODULES)


def test_laws_have_no_deadline_which_a_loaded_machine_would_miss() -> None:
    assert settings().deadline is None
    tests = [*(ROOT / "tests").rglob("*.py")]
    setting = "deadline" + "="
    assert [p.name for p in tests if p.name != "conftest.py" and setting in p.read_text()] == []
