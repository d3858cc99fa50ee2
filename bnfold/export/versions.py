"""The distributions that take part in an export, and their versions."""

import sys
from importlib.metadata import PackageNotFoundError, version

from bnfold import __version__

_ALWAYS = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "onnxscript", "safetensors")


def versions() -> dict[str, str]:
    """Return the version of every distribution that is installed and takes part, by name.

    torch takes part if it has been imported: where a graph came from an ONNX file, it does not.
    """
    names = (*_ALWAYS, *(["torch"] if "torch" in sys.modules else []))
    found = {name: _version(name) for name in names}
    return {"bnfold": __version__, **{name: text for name, text in found.items() if text is not None}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
