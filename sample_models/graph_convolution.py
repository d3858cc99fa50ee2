"""A graph convolutional network (T. Kipf, M. Welling, 2017): A·(X·W) + b, BN over the nodes, ReLU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnfold import nn as bnn

RECIPE = {
    "data": "karate-club",
    "epochs": 10,
    "batch_size": 10,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "loss": ":asked_cross_entropy",
    "metrics": [":node_accuracy"],
}


def asked_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy over the nodes that are asked for, those of a class from 0 on, in nats."""
    return functional.cross_entropy(scores, labels, ignore_index=-1)


def node_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the part of the nodes asked for whose class has the largest score."""
    asked = labels >= 0
    return float((scores.argmax(dim=1) == labels)[asked].double().mean())


class GraphConvolution(nn.Module):
    """ReLU(BN(A·(X·W) + b)); one γ, β, mean and variance a feature, over all nodes of all graphs of the minibatch."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        # In training β makes it needless; in deployment it is where a folded BN leaves its shift, which A would change.
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.norm = bnn.BatchNorm1d(outputs)

    def forward(self, nodes: Tensor, graph: Tensor) -> Tensor:
        """Map nodes ``(N, nodes, inputs)`` by edges ``(N, nodes, nodes)`` to ``(N, nodes, outputs)``."""
        gathered = graph @ self.linear(nodes) + self.bias
        return functional.relu(self.norm(gathered.flatten(0, 1)).unflatten(0, gathered.shape[:2]))


class GraphNetwork(nn.Module):
    """Graph convolutions, then a linear layer for each node."""

    def __init__(self, classes: int, features: int, hidden: list[int]) -> None:
        super().__init__()
        pairs = zip([features, *hidden], hidden, strict=False)
        self.layers = nn.ModuleList(GraphConvolution(inputs, outputs) for inputs, outputs in pairs)
        self.head = nn.Linear([features, *hidden][-1], classes)

    def forward(self, people: Tensor, graph: Tensor) -> Tensor:
        """Map nodes ``(N, nodes, features)`` and edges ``(N, nodes, nodes)`` to scores ``(N, classes, nodes)``."""
        for layer in self.layers:
            people = layer(people, graph)
        return self.head(people).transpose(1, 2)


def build(classes: int = 2, features: int = 3, hidden: tuple[int, ...] = (16, 16)) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a node.
        features: of a node.
        hidden: widths of the graph convolutions.
    """
    return GraphNetwork(classes, features, list(hidden))
