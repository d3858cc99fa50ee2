"""The paper's network for MNIST (section 4.1): three hidden layers of 100 sigmoid units, with or without BN."""

from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "digits",
    "epochs": 30,
    "batch_size": 60,
    "learning_rate": 0.1,
    "momentum": 0.0,
}


class SigmoidMLP(nn.Module):
    """Flattened input, hidden layers z = g(BN(W u)), a linear head."""

    def __init__(
        self, in_features: int, classes: int, hidden: list[int], *, batch_norm: bool, binary: bool, dropout: float
    ) -> None:
        super().__init__()
        self.binary = binary
        layers: list[nn.Module] = []
        for inputs, outputs in zip([in_features, *hidden], hidden, strict=False):
            # Behind BN a bias would be subtracted with the mean: it is dropped, and β takes its role.
            layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
            layers += [bnn.BatchNorm1d(outputs)] if batch_norm else []
            layers += [nn.Sigmoid(), nn.Dropout(dropout)] if dropout else [nn.Sigmoid()]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear([in_features, *hidden][-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map inputs ``(N, *sample)`` of ``in_features`` values a sample to scores ``(N, classes)``."""
        inputs = (images > 0.5).to(images.dtype) if self.binary else images
        return self.head(self.hidden(inputs.flatten(1)))


def build(
    batch_norm: bool = True,
    in_features: int = 64,
    classes: int = 10,
    hidden_layers: int = 3,
    hidden_units: int = 100,
    init_std: float = 0.1,
    binary: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """Return the network.

    Args:
        batch_norm: normalize the input of every sigmoid.
        in_features: values a sample; 64 for the 8×8 digits, 784 for MNIST.
        classes: scores a sample.
        hidden_layers: how many.
        hidden_units: units in each.
        init_std: standard deviation of the Gaussian that the weights start from; biases start from 0.
        binary: make every input 0 or 1, at a threshold of 0.5.
        dropout: probability behind every hidden layer.
    """
    model = SigmoidMLP(
        in_features, classes, [hidden_units] * hidden_layers, batch_norm=batch_norm, binary=binary, dropout=dropout
    )
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=init_std)
            if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]  (torch's types say always a tensor)
                nn.init.zeros_(module.bias)
    return model
