from pathlib import Path

import pytest

from bnfold.errors import InputError
from bnfold.training.hyperparameters import Schedule
from bnfold.training.recipes import Recipe, read_recipe

PATH = Path("net.py")


def test_a_recipe_is_read_without_running_the_file() -> None:
    """Data and settings come out of the text, though the file would raise if it ran."""
    recipe = read_recipe(b"raise SystemExit\nRECIPE = {'data': 'digits', 'epochs': 3, 'schedule': 'cosine'}\n", PATH)
    assert recipe.data == "digits"
    settings = recipe.hyperparameters({})
    assert (settings.epochs, settings.schedule) == (3, Schedule.COSINE)


def test_an_annotated_and_a_later_recipe_count() -> None:
    """The last assignment at the top of the file holds, with or without a type."""
    source = b"RECIPE = {'epochs': 3}\nRECIPE: dict[str, int] = {'epochs': 4}\ndef f():\n    RECIPE = {'epochs': 5}\n"
    assert read_recipe(source, PATH).hyperparameters({}).epochs == 4


def test_a_file_without_a_recipe_recommends_nothing() -> None:
    """No recipe is an empty one: defaults, and no data."""
    assert read_recipe(b"import os\nx: int\n", PATH) == Recipe(where="net.py: RECIPE")


def test_options_replace_what_the_recipe_says() -> None:
    """An option wins over the recipe, and a length in steps over one in epochs and the other way round."""
    recipe = Recipe(settings={"epochs": 3, "batch_size": 7})
    changed = recipe.hyperparameters({"steps": 50, "seed": 5})
    assert (changed.epochs, changed.steps, changed.batch_size, changed.seed) == (None, 50, 7, 5)
    assert Recipe(settings={"steps": 9}).hyperparameters({"epochs": 2}).steps is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"RECIPE = {'epochs': int('3')}", "not readable: malformed node or string"),
        (b"RECIPE = {'epochs': 3", "not readable: "),
        (b"RECIPE = ['epochs']", "expected a dictionary, found list"),
        (b"RECIPE = {'epoch': 3}", r"no hyperparameter 'epoch', did you mean 'epochs'\?"),
        (b"RECIPE = {'epochs': '3'}", "epochs: expected an integer of at least 1, found '3'"),
        (b"RECIPE = {'data': 3}", "data: expected text such as 'digits', found 3"),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_the_file(source: bytes, words: str) -> None:
    """What a recipe gets wrong is found when it is read."""
    with pytest.raises(InputError, match=f"^net.py: RECIPE: {words}"):
        read_recipe(source, PATH)
