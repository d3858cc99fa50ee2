"""BN-Inception (appendix of the paper): its channel counts, 69 normalizations, at any width and for small images too.

Written ``reduce/out``; every 3×3 of the double branch has the second number of channels, ``p`` is the projection behind
the pooling. 3c and 4e halve the image: no 1×1 branch, stride 2 in the last convolution of each branch, and the maximum
passed through.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bnfold import nn as bnn

# Those of BN-x30 (section 4.2.1), the paper's best. Its images no package carries: name them with --data hf:FOLDER.
RECIPE = {
    "epochs": 60,
    "batch_size": 32,
    "learning_rate": 0.045,
    "schedule": "exponential",
    "decay": 0.96,
    "decay_epochs": 1.333,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "metrics": ["accuracy", "top-5"],
}


@dataclass(frozen=True)
class Widths:
    """Channels of one module; ``single`` None for those that halve the image, which have no ``projection`` either."""

    single: int | None
    reduce: int
    out: int
    double_reduce: int
    double: int
    projection: int | None = None
    pool: str = "average"

    def times(self, factor: float) -> "Widths":
        """Return them for a network that much as wide."""
        wide = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return replace(self, **{name: scaled(value, factor) for name, value in wide.items()})


def scaled(channels: int, factor: float) -> int:
    """Return how many channels a layer has at a width of ``factor``."""
    return max(1, round(channels * factor))


STEM = (64, 64, 192)
MODULES = {
    "3a": Widths(64, 64, 64, 64, 96, 32),
    "3b": Widths(64, 64, 96, 64, 96, 64),
    "3c": Widths(None, 128, 160, 64, 96),
    "4a": Widths(224, 64, 96, 96, 128, 128),
    "4b": Widths(192, 96, 128, 96, 128, 128),
    "4c": Widths(160, 128, 160, 128, 160, 128),
    "4d": Widths(96, 128, 192, 160, 192, 128),
    "4e": Widths(None, 128, 192, 192, 256),
    "5a": Widths(352, 192, 320, 160, 224, 128),
    "5b": Widths(352, 192, 320, 192, 224, 128, pool="maximum"),
}

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class Style:
    """What the paper's variants differ in."""

    width: float
    batch_norm: bool
    activation: str

    def unit(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
        """Return Conv → BN → nonlinearity; without BN the convolution has a bias."""
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=not self.batch_norm)
        norm = [bnn.BatchNorm2d(outputs)] if self.batch_norm else []
        return nn.Sequential(conv, *norm, ACTIVATIONS[self.activation]())


class Inception(nn.Module):
    """Branches side by side, joined along the channels."""

    def __init__(self, inputs: int, widths: Widths, style: Style) -> None:
        super().__init__()
        own = widths.times(style.width)
        stride = 2 if own.single is None else 1
        self.branches = nn.ModuleList()
        if own.single is not None:
            self.branches.append(style.unit(inputs, own.single, 1))
        self.branches.append(
            nn.Sequential(style.unit(inputs, own.reduce, 1), style.unit(own.reduce, own.out, 3, stride))
        )
        self.branches.append(
            nn.Sequential(
                style.unit(inputs, own.double_reduce, 1),
                style.unit(own.double_reduce, own.double, 3),
                style.unit(own.double, own.double, 3, stride),
            )
        )
        if own.projection is None:
            self.branches.append(nn.MaxPool2d(3, stride, padding=1))
        else:
            average = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
            pool = average if widths.pool == "average" else nn.MaxPool2d(3, 1, padding=1)
            self.branches.append(nn.Sequential(pool, style.unit(inputs, own.projection, 1)))
        self.outputs = (own.single or 0) + own.out + own.double + (own.projection or inputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, inputs, height, width)`` to ``(N, outputs, …)``, of half the size where the module halves it."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class PerActivation(nn.Module):
    """BN with a γ, β, mean and variance for each place of each feature map, as in fully connected layers."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.norm = bnn.BatchNorm1d(channels * side * side)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, channels, side, side)`` to the same shape."""
        return self.norm(features.flatten(1)).unflatten(1, features.shape[1:])


class BNInception(nn.Module):
    """Stem, ten modules, mean over the image, Dropout, linear head."""

    def __init__(self, classes: int, channels: int, style: Style, downsampling: int, dropout: float, lrn: bool) -> None:
        super().__init__()
        first, reduce, out = (scaled(count, style.width) for count in STEM)
        local = [nn.LocalResponseNorm(5)] if lrn else []
        kernel = 7 if downsampling == 8 else 3
        self.stem = nn.Sequential(style.unit(channels, first, kernel, 2 if downsampling > 1 else 1))
        self.stem.extend([nn.MaxPool2d(3, 2, padding=1)] if downsampling > 2 else [])
        self.stem.extend([*local, style.unit(first, reduce, 1), style.unit(reduce, out, 3), *local])
        self.stem.extend([nn.MaxPool2d(3, 2, padding=1)] if downsampling > 4 else [])
        self.inception = nn.Sequential()
        wide = out
        for name, widths in MODULES.items():
            module = Inception(wide, widths, style)
            self.inception.add_module(f"module_{name}", module)
            wide = module.outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)`` to scores ``(N, classes)``."""
        return self.head(self.dropout(self.pool(self.inception(self.stem(images))).flatten(1)))


def build(
    classes: int = 1000,
    channels: int = 3,
    width: float = 1.0,
    downsampling: int = 8,
    batch_norm: bool = True,
    activation: str = "relu",
    dropout: float = 0.0,
    lrn: bool = False,
    init_gain: float = 1.0,
    per_activation: int = 0,
) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the images.
        width: factor on every channel count of the table; 1 is the paper's network.
        downsampling: of the stem, 1, 2, 4 or 8. 8 is the paper's, for 224×224; with 1 the modules see 28×28 images
            at the sizes of the table.
        batch_norm: BN before each nonlinearity.
        activation: relu or sigmoid.
        dropout: probability before the head.
        lrn: local response normalization in the stem, as in Inception.
        init_gain: factor on the initial weights of the convolutions; the ensemble's networks have larger ones.
        per_activation: side of the images in 5b, to normalize there each place by itself; 0 for whole feature maps.
    """
    if downsampling not in (1, 2, 4, 8):
        raise ValueError(f"downsampling: expected 1, 2, 4 or 8, found {downsampling}")
    model = BNInception(classes, channels, Style(width, batch_norm, activation), downsampling, dropout, lrn)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            _initialize(module, activation, init_gain)
    if per_activation and batch_norm:
        _normalize_places(model.inception.get_submodule("module_5b"), per_activation)
    return model


def _initialize(conv: nn.Conv2d, activation: str, gain: float) -> None:
    """Draw weights that keep the variance: K. He et al., 2015, for ReLU; X. Glorot, Y. Bengio, 2010, for sigmoids."""
    if activation == "relu":
        nn.init.kaiming_normal_(conv.weight)
    else:
        nn.init.xavier_normal_(conv.weight)
    with torch.no_grad():
        conv.weight *= gain
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _normalize_places(module: nn.Module, side: int) -> None:
    """Replace the normalizations of a module."""
    for unit in list(module.modules()):
        if isinstance(unit, nn.Sequential):
            for name, child in list(unit.named_children()):
                if isinstance(child, bnn.BatchNorm2d):
                    setattr(unit, name, PerActivation(child.num_features, side))
