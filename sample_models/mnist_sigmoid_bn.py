"""The paper's network for MNIST with BN (section 4.1): the built-in ``sigmoid-mlp``, 28×28 binary inputs."""

from pathlib import Path

from torch import nn

from bnfold.training import resolve_model

RECIPE = {
    "data": "mnist-subset",
    "steps": 6000,
    "batch_size": 60,
    "learning_rate": 0.1,
    "momentum": 0.0,
    "evaluate_every": 200,
}


def build(hidden_units: int = 100, init_std: float = 0.1) -> nn.Module:
    """Return the network.

    Args:
        hidden_units: units in each of the three hidden layers.
        init_std: standard deviation of the initial weights.
    """
    args = {"batch_norm": True, "binary": True, "in_features": 784, "hidden_units": hidden_units, "init_std": init_std}
    return resolve_model("sigmoid-mlp", args, Path(__file__).parent).build()
