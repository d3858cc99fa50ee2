"""Tests of ``bnfold.graph.exported_program``: names of outputs, before anything is translated to ONNX."""

import pytest
import torch
from torch import Tensor, nn

from bnfold.graph.exported_program import default_output_names, export_program


class Returning(nn.Module):
    """Returns whatever a function makes of its input."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        """Call the function."""
        assert callable(self.function)
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: x + 1, ["output"]),
        (lambda x: (x + 1, x + 2), ["output_0", "output_1"]),
        (lambda x: {"logits": x + 1, "deep": [x + 2, (x * 3,)]}, ["logits", "deep.0", "deep.1.0"]),
        (lambda x: ({"a": x + 1}, x + 2), ["output_0.a", "output_1"]),
        (lambda x: (x + 1, None, x + 2), ["output_0", "output_2"]),
        (lambda x: {"x": x + 1}, ["x_out"]),
    ],
)
def test_outputs_are_named_after_their_place_in_what_forward_returns(function: object, names: list[str]) -> None:
    """Tensors, tuples, dicts, nested ones, None, and a name that an input has."""
    program = export_program(Returning(function).eval(), (torch.ones(2, 3),), batch="batch")
    assert default_output_names(program, taken=["x"]) == names
