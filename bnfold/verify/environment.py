"""What a verification ran with: versions and platform, for the report."""

import platform
from importlib import metadata

DISTRIBUTIONS = ("bnfold", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "numpy")


def environment() -> dict[str, str]:
    """Return the versions of the distributions that took part and are installed, of Python, and the platform's name."""
    versions = {name: version for name in DISTRIBUTIONS if (version := _version(name))}
    return {**versions, "python": platform.python_version(), "platform": platform.platform()}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
