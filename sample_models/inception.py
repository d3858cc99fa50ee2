"""Inception without BN (section 4.2): Dropout, local response normalization, the same minibatches every epoch.

The paper's rate of 0.0015; of its L2 penalty the paper tells the ratio between the variants only.
"""

from pathlib import Path

from torch import nn

from bnfold.training import resolve_model

RECIPE = {
    "data": "mnist-subset",
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 0.0015,
    "schedule": "exponential",
    "decay": 0.96,
    "decay_epochs": 8,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "shuffle": False,
}
VARIANT: dict[str, object] = {"batch_norm": False, "dropout": 0.4, "lrn": True}


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
