"""The public face: names that users import stay, and `import bnfold` stays light."""

import subprocess
import sys

import bnfold


def test_public_names_are_pinned() -> None:
    """A name that users may import is removed or added on purpose only."""
    assert sorted(bnfold.__all__) == [
        "AttestationError",
        "BnfoldError",
        "Estimator",
        "FoldReport",
        "InputError",
        "MissingDependencyError",
        "__version__",
        "calibrate",
        "capture",
        "export_bundle",
        "fold",
        "fold_module",
        "inspect",
        "load",
        "save",
    ]


def test_every_public_name_resolves() -> None:
    """Each lazy name leads to an object of its own name."""
    for name in set(bnfold.__all__) - {"__version__"}:
        assert getattr(bnfold, name).__name__ == name


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import bnfold` brings in neither torch nor onnx nor NumPy."""
    code = "import sys, bnfold; print([n for n in ('numpy', 'onnx', 'onnx_ir', 'torch') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_folding_an_onnx_file_does_not_import_torch() -> None:
    """The folder, the loader and the saver work where torch is not installed."""
    code = "import sys, bnfold; bnfold.fold, bnfold.load, bnfold.save; import bnfold.verify, bnfold.export, bnfold.data"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
