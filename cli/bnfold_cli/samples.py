"""Where the built-in sample models live."""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "sample_models"
_CHECKOUT = Path(__file__).parents[2] / "sample_models"


def builtin_models() -> Path:
    """Return the folder of the built-in models: the wheel carries a copy, a checkout has the original."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
