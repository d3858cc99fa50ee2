"""A causal temporal convolutional network (S. Bai et al., 2018) that foretells the next character of a text."""

from torch import Tensor, nn
from torch.nn import functional

from bnfold import nn as bnn

RECIPE = {
    "data": "python-text",
    "epochs": 6,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 0.004,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "metrics": ["perplexity", "accuracy"],
}


class CausalUnit(nn.Module):
    """BN(Conv(x)) with zeros for the past before the first character, and none behind the last."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.conv = nn.Conv1d(inputs, outputs, 3, dilation=dilation, bias=False)
        self.norm = bnn.BatchNorm1d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, inputs, length)`` to ``(N, outputs, length)``; a place sees itself and what was before it."""
        return self.norm(self.conv(functional.pad(features, (self.past, 0))))


class TemporalBlock(nn.Module):
    """ReLU(x + F(x)), F of two causal units of one dilation."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = CausalUnit(width, width, dilation)
        self.second = CausalUnit(width, width, dilation)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, width, length)`` to the same shape."""
        return functional.relu(features + self.second(functional.relu(self.first(features))))


class LanguageModel(nn.Module):
    """An embedding, blocks whose dilation doubles, scores for each place."""

    def __init__(self, symbols: int, width: int, blocks: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.blocks = nn.Sequential(*(TemporalBlock(width, 2**block) for block in range(blocks)))
        self.head = nn.Conv1d(width, symbols, 1)

    def forward(self, characters: Tensor) -> Tensor:
        """Map characters ``(N, length)`` to scores ``(N, symbols, length)`` of each one's successor."""
        return self.head(self.blocks(self.embedding(characters).transpose(1, 2)))


def build(symbols: int = 42, width: int = 64, blocks: int = 4) -> nn.Module:
    """Return the network.

    Args:
        symbols: of the alphabet; `bnfold.data.composed.python_text.ALPHABET` has as many.
        width: feature maps.
        blocks: the k-th, from 0, has a dilation of 2^k; the last character sees 4·(2^blocks − 1) before it.
    """
    return LanguageModel(symbols, width, blocks)
