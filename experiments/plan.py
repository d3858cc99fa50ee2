"""What is trained for docs/paper.md: every network of every claim, at a size that two cores train in minutes.

The Inception variants are the built-in ones with the paper's rates, decay, L2 penalty, Dropout and shuffling, an eighth
of its channels, on the 8×8 digits: the stem does not reduce them, so that the modules see 8×8, 4×4 and 2×2 images. The
other claims are shown on the paper's network for MNIST.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Settings = Mapping[str, object]


@dataclass(frozen=True)
class Trial:
    """A network to train.

    Attributes:
        claim: what it belongs to; the folder of its runs.
        name: the folder of its runs, before the seed.
        model: built-in name.
        args: of the model.
        settings: in place of the recipe's.
        data: in place of the recipe's.
    """

    claim: str
    name: str
    model: str
    args: Settings = field(default_factory=dict[str, object])
    settings: Settings = field(default_factory=dict[str, object])
    data: str | None = None


FIGURE_1 = (
    Trial("figure-1", "without-BN", "mnist-sigmoid"),
    Trial("figure-1", "with-BN", "mnist-sigmoid-bn"),
)

_DIGITS: Settings = {"steps": 1000, "evaluate_every": 25}

VARIANTS = tuple(
    Trial("variants", model, model, {"downsampling": 1}, _DIGITS, "digits")
    for model in ("inception", "bn-baseline", "bn-x5", "bn-x30", "bn-x5-sigmoid", "inception-sigmoid")
)

# The modules at the end see 2×2 images.
ENSEMBLE = (Trial("ensemble", "ensemble", "ensemble", {"downsampling": 1, "last_side": 2}, _DIGITS, "digits"),)

_SHORT: Settings = {"steps": 2000, "evaluate_every": 50}

RATES = tuple(
    Trial("rates", f"{word}-BN-x{factor}", model, {}, {**_SHORT, "learning_rate": 0.1 * factor})
    for factor in (1, 5, 30)
    for word, model in (("without", "mnist-sigmoid"), ("with", "mnist-sigmoid-bn"))
)

INITIAL_WEIGHTS = tuple(
    Trial("initial-weights", f"{word}-BN-std-{std:g}", model, {"init_std": std}, _SHORT)
    for std in (0.1, 0.03)
    for word, model in (("without", "mnist-sigmoid"), ("with", "mnist-sigmoid-bn"))
)

_MNIST: Settings = {"binary": True, "in_features": 784}
_DROPOUT: Settings = {**_SHORT, "batch_size": 60, "learning_rate": 0.5, "momentum": 0.0}

DROPOUT = tuple(
    Trial(
        "dropout",
        f"{word}-BN-Dropout-{dropout:g}",
        "sigmoid-mlp",
        {**_MNIST, "batch_norm": word == "with", "dropout": dropout},
        _DROPOUT,
        "mnist-subset",
    )
    for word in ("without", "with")
    for dropout in (0.0, 0.4)
)

PICTURES = {
    "figure-1": ("MNIST subset, three layers of 100 sigmoids (figure 1a)", FIGURE_1),
    "rates": ("The same at 1, 5 and 30 times the rate", RATES),
    "initial-weights": ("The same from initial weights of other sizes", INITIAL_WEIGHTS),
    "dropout": ("The same with BN, Dropout, both and neither", DROPOUT),
    "variants": ("Inception and its variants, an eighth of the channels, digits", VARIANTS),
}
"""Title and trials of each picture of curves."""

TRIALS = (*FIGURE_1, *RATES, *INITIAL_WEIGHTS, *DROPOUT, *VARIANTS, *ENSEMBLE)
