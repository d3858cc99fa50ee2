"""BN-x5 (section 4.2.2): five times the rate, no Dropout or response normalization, a fifth of the L2 penalty.

The rate decays six times faster, and every epoch has other minibatches (section 4.2.1).
"""

from pathlib import Path

from torch import nn

from bnfold.training import resolve_model

RECIPE = {
    "data": "mnist-subset",
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 0.0075,
    "schedule": "exponential",
    "decay": 0.96,
    "decay_epochs": 1.333,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "shuffle": True,
}
VARIANT: dict[str, object] = {}


def build(classes: int = 10, channels: int = 1, width: float = 0.125, downsampling: int = 2) -> nn.Module:
    """Return the network: the built-in ``bn-inception``, scaled down.

    Args:
        classes: scores a sample.
        channels: of the images.
        width: factor on the paper's channel counts.
        downsampling: of the stem; 2 for 28×28 or 32×32 images, 8 as in the paper for 224×224.
    """
    args = {"classes": classes, "channels": channels, "width": width, "downsampling": downsampling, **VARIANT}
    return resolve_model("bn-inception", args, Path(__file__).parent).build()
