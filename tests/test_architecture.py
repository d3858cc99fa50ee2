"""Imports point one way, and torch stays where it belongs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "bnfold"

FOUNDATION = {"errors", "files", "json_text", "progress"}
ALLOWED = {
    "nn": FOUNDATION,
    "data": FOUNDATION,
    "population": FOUNDATION | {"nn"},
    "population_onnx": FOUNDATION | {"population", "graph", "bundle", "verify"},
    "graph": FOUNDATION,
    "bundle": FOUNDATION,
    "folding": FOUNDATION | {"graph"},
    "modules": FOUNDATION | {"graph", "folding", "nn", "population"},
    "merging": FOUNDATION | {"graph"},
    "verify": FOUNDATION | {"graph", "bundle", "folding"},
    "export": FOUNDATION | {"graph", "bundle", "folding", "merging", "verify", "bench"},
    "bench": FOUNDATION | {"verify"},
    "testing": FOUNDATION | {"graph", "verify"},
    "training": FOUNDATION | {"data", "nn", "population"},
}
"""What each package of the library may import besides itself."""

CAPTURE = {"capture.py", "exported_program.py", "module_names.py", "parametrizations.py", "strides.py"}
"""What captures a graph from a torch module."""

TORCH = {"modules", "nn", "population", "training"}
"""Packages that need torch; of `graph`, only `CAPTURE` does."""


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    """A package imports itself, the foundation, and what lies below it; never the command line."""
    for path in (ROOT / package).rglob("*.py"):
        for module in imports(path):
            first, _, rest = module.partition(".")
            assert first != "bnfold_cli", path
            if first == "bnfold" and rest:
                assert rest.split(".")[0] in ALLOWED[package] | {package}, f"{path} imports {module}"


def test_every_package_is_listed() -> None:
    """A new package says what it may import."""
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ALLOWED)


def test_torch_stays_where_it_is_needed() -> None:
    """Folding, exporting and verifying ONNX files never import torch, not even within a function."""
    users = {path for path in ROOT.rglob("*.py") if any(module.split(".")[0] == "torch" for module in imports(path))}
    for path in users:
        package = path.relative_to(ROOT).parts[0]
        assert package in TORCH or path.name in CAPTURE, path
