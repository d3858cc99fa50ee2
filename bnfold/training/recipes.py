"""A model file's recommendation of how to train it: the literal ``RECIPE``, read without running the file."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from bnfold.errors import InputError
from bnfold.training.hyperparameters import Hyperparameters

NAME = "RECIPE"


@dataclass(frozen=True)
class Recipe:
    """Data and hyperparameters that a model is known to train well with.

    Attributes:
        data: what goes after ``--data``; None where the file does not say.
        settings: hyperparameters by name; checks itself when made.
        where: the file, for messages.
    """

    data: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    where: str = NAME

    def __post_init__(self) -> None:
        if self.data is not None and not isinstance(self.data, str):  # pyright: ignore[reportUnnecessaryIsInstance]  (read from a file)
            raise InputError(f"{self.where}: data: expected text such as 'digits', found {self.data!r}.")
        self.hyperparameters({})

    def hyperparameters(self, options: Mapping[str, object]) -> Hyperparameters:
        """Return the recipe's with ``options`` in their place; ``steps`` replaces ``epochs`` and the other way round.

        Raises:
            InputError: an option that is none or has a bad value.
        """
        length = {"epochs", "steps"}
        kept = {
            name: value for name, value in self.settings.items() if not (name in length and length & options.keys())
        }
        return Hyperparameters.of({**kept, **options}, where=self.where)


def read_recipe(source: bytes, path: Path) -> Recipe:
    """Return the recipe in the source of a model file, empty if there is none.

    Raises:
        InputError: ``RECIPE`` is not a literal dictionary, or holds what is no hyperparameter.
    """
    where = f"{path}: {NAME}"
    try:
        node = _assigned(ast.parse(source))
        values: object = {} if node is None else ast.literal_eval(node)
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{where}: not readable: {error}; expected a dictionary of literals.") from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a dictionary, found {type(values).__name__}.")
    settings = {str(name): value for name, value in cast("dict[object, object]", values).items()}
    return Recipe(cast("str | None", settings.pop("data", None)), settings, where)


def _assigned(tree: ast.Module) -> ast.expr | None:
    """Return what the module assigns to ``RECIPE`` last."""
    found = None
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == NAME for target in targets):
            found = getattr(statement, "value", None)
    return found
