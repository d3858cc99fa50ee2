"""Which distributions are installed, read from their metadata: nothing heavy is imported to find out."""

from importlib.metadata import PackageNotFoundError, version

from bnfold import __version__

SHOWN = ("bnfold", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "torch")
"""What ``bnfold --version`` tells: the distributions that a difference between two machines usually comes from."""


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None; bnfold's own also where it runs from a checkout."""
    if distribution == "bnfold":
        return __version__
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def version_lines() -> list[str]:
    """Return one line ``name version`` a distribution of ``SHOWN``; bnfold itself comes first."""
    return [f"{name} {installed_version(name) or 'not installed'}" for name in SHOWN]
