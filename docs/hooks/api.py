"""The public names of a package, each documented from where it is defined."""

from importlib import import_module
from inspect import getdoc, isclass, isfunction


def reference(package: str) -> str:
    """Return a package's docstring, and for each name of its ``__all__`` the line by which mkdocstrings documents it.

    Named by their definition, since a package and a module of it may give one name to two things (`bnfold.folding.fold`
    is the function to Python, and the module to a reader of files). A name that is public in a package below is
    documented there, and linked from here.
    """
    module = import_module(package)
    names = sorted(name for name in module.__all__ if not name.startswith("__"))
    lines = [_entry(package, name, getattr(module, name)) for name in names]
    linked = [line for line in lines if line.startswith("- ")]
    own = [line for line in lines if line not in linked]
    return "\n\n".join([getdoc(module) or "", *(["\n".join(linked)] if linked else []), *own])


def _entry(package: str, name: str, thing: object) -> str:
    if not (isclass(thing) or isfunction(thing)):
        return f"::: {package}.{name}"
    path = f"{thing.__module__}.{thing.__qualname__}"
    home = ".".join(thing.__module__.split(".")[:2])
    if home != package and name in getattr(import_module(home), "__all__", ()):
        return f"- [`{package}.{name}`][{path}], from `{home}`"
    return f"::: {path}"
