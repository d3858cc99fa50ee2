"""Code of the repository, as it stands there."""

from inspect import getsource
from pkgutil import resolve_name


def source(name: str) -> str:
    """Return the source of ``package.module:function`` as a block of Python."""
    return f"```python\n{getsource(resolve_name(name))}```"
