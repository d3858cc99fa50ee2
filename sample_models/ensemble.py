"""The paper's ensemble (section 4.2.3): variants of BN-x30 side by side, their class probabilities averaged.

They train together: the loss is the sum of the members' own, whose gradients do not meet: each member moves as if
it were trained alone on the same minibatches. One file holds them all when exported.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnfold.training import resolve_model

# Those of BN-x30.
RECIPE = {
    "data": "mnist-subset",
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 0.045,
    "schedule": "exponential",
    "decay": 0.96,
    "decay_epochs": 1.333,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "loss": ":members_loss",
    "metrics": ["accuracy"],
}

VARIANTS: tuple[dict[str, object], ...] = (
    {},
    {"init_gain": 1.5},
    {"dropout": 0.05},
    {"dropout": 0.1},
    {"init_gain": 1.5, "dropout": 0.05},
    {"per_activation": True},
)
"""What sets the members apart: larger initial weights, Dropout of 5 or 10 %, BN for each place in the last module."""


def members_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the members' cross-entropies in training, −log of the averaged probability in evaluation; nats.

    Args:
        outputs: log-probabilities ``(N, classes, members)``, or averaged probabilities ``(N, classes)``.
        labels: ``(N,)``.
    """
    if outputs.ndim == 2:
        return functional.nll_loss(outputs.clamp(min=torch.finfo(outputs.dtype).tiny).log(), labels)
    members = outputs.shape[2]
    return members * functional.nll_loss(outputs, labels[:, None].expand(-1, members))


class Ensemble(nn.Module):
    """Networks that see the same images."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)`` to what `members_loss` takes."""
        if self.training:
            return torch.stack([member(images).log_softmax(dim=1) for member in self.members], dim=2)
        return torch.stack([member(images).softmax(dim=1) for member in self.members]).mean(dim=0)


def build(
    classes: int = 10,
    channels: int = 1,
    width: float = 0.125,
    downsampling: int = 2,
    members: int = 6,
    last_side: int = 4,
) -> nn.Module:
    """Return the network.

    Args:
        classes: probabilities a sample.
        channels: of the images.
        width: factor on the paper's channel counts.
        downsampling: of the stems; 2 for 28×28 images.
        members: how many, of the variants in their order, again from the first behind the last.
        last_side: of the images in the last module: 4 for 28×28 with ``downsampling`` 2.
    """
    shared: dict[str, object] = {
        "classes": classes,
        "channels": channels,
        "width": width,
        "downsampling": downsampling,
    }
    networks: list[nn.Module] = []
    for place in range(members):
        variant = dict(VARIANTS[place % len(VARIANTS)])
        if variant.pop("per_activation", False):
            variant["per_activation"] = last_side
        networks.append(resolve_model("bn-inception", {**shared, **variant}, Path(__file__).parent).build())
    return Ensemble(networks)
