"""What a caller does to an image before the network sees it, made part of the graph."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.graph.editor import Editor
from bnfold.graph.rounding import rounded
from bnfold.graph.shapes import dims_of

BYTES = 255.0
"""What bytes are divided by before mean and std, which are then in units of 0 to 1, as torchvision has them."""

_FORM = "expected KEY=VALUE or uint8, separated by ';': mean=M,M,M;std=S,S,S;scale=N;uint8;input=NAME"


@dataclass(frozen=True)
class Preprocessing:
    """(x / scale − mean) / std, channel by channel.

    Attributes:
        mean: one number, or one a channel.
        std: one number, or one a channel; positive.
        scale: what the input is divided by first.
        uint8: whether the input holds bytes.
        input: its name; None for the only input of the graph.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    uint8: bool = False
    input: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``--preprocess`` takes; ``uint8`` alone divides by `BYTES`.

        Raises:
            InputError: it is malformed.
        """
        entries = [entry.strip() for entry in text.split(";") if entry.strip()]
        pairs: dict[str, str] = {}
        for entry in entries:
            key, _, number = entry.partition("=")
            pairs[key] = number
        unknown = sorted(pairs.keys() - {"mean", "std", "scale", "uint8", "input"})
        if unknown or len(pairs) < len(entries) or pairs.get("uint8"):
            raise InputError(f"preprocess {text!r}: {_FORM}.")
        uint8 = "uint8" in pairs
        numbers = {key: _numbers(key, pairs[key]) for key in ("mean", "std", "scale") if key in pairs}
        (scale,) = numbers.get("scale", (BYTES if uint8 else 1.0,))[:1]
        std = numbers.get("std", (1.0,))
        if min(*std, scale) <= 0 or len(numbers.get("scale", (1.0,))) > 1:
            raise InputError(f"preprocess {text!r}: expected positive numbers for std, and one for scale.")
        return cls(numbers.get("mean", (0.0,)), std, scale, uint8, pairs.get("input"))


def add_preprocessing(model: ir.Model, preprocessing: Preprocessing) -> str:
    """Put the arithmetic in front of an input, in place: Cast, if it holds bytes, Sub and Div; return the input's name.

    The input keeps its name and shape. Folding takes up what the first operator can take up exactly: all of it where
    that is a Conv without padding, the division where it pads.

    Raises:
        InputError: there is no such input, it is not a value (N, C, *spatial) of floating point, or the numbers are not
            one a channel.
    """
    value = _find(model, preprocessing.input)
    dims = () if value.shape is None else dims_of(value.shape)
    channels = dims[1] if len(dims) > 2 else None
    if value.dtype is None or not value.dtype.is_floating_point() or not isinstance(channels, int):
        raise InputError(f"preprocess: input {value.name} is no floating-point value (N, C, *spatial).")
    for name, numbers in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(numbers) not in {1, channels}:
            raise InputError(
                f"preprocess: {name} has {len(numbers)} numbers, input {value.name} has {channels} channels."
            )
    editor, dtype = Editor(model), value.dtype
    port = ir.Value(
        name=value.name, shape=value.shape, type=ir.TensorType(ir.DataType.UINT8 if preprocessing.uint8 else dtype)
    )
    model.graph.inputs[list(model.graph.inputs).index(value)] = port
    value.name = editor.unique(f"{port.name}_preprocessed")
    nodes: list[ir.Node] = []
    if preprocessing.uint8:
        nodes.append(
            ir.Node("", "Cast", [port], [ir.AttrInt64("to", dtype.value)], name=editor.unique("preprocess/Cast"))
        )
    for operator, numbers in (("Sub", preprocessing.mean), ("Div", preprocessing.std)):
        scaled = rounded(preprocessing.scale * np.asarray(numbers, np.float64), dtype)
        if operator == "Sub" and not np.any(scaled):
            continue
        constant = editor.initializer(f"{port.name}.{operator.lower()}", _along_channels(scaled, len(dims)))
        source = nodes[-1].outputs[0] if nodes else port
        nodes.append(ir.Node("", operator, [source, constant], name=editor.unique(f"preprocess/{operator}")))
    for node in nodes:
        node.outputs[0].name = editor.unique(node.name or "preprocess")
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(dtype), value.shape
    value.replace_all_uses_with(nodes[-1].outputs[0])
    model.graph.insert_before(model.graph[0], nodes)
    return port.name or ""


def _find(model: ir.Model, name: str | None) -> ir.Value:
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    found = [value for value in inputs if name is None or value.name == name]
    if len(found) != 1 or found[0].is_graph_output():
        names = ", ".join(value.name or "" for value in inputs) or "none"
        wanted = "name one with input=NAME" if name is None else f"{name} is none of them, or an output too"
        raise InputError(f"preprocess: the graph's inputs are {names}; {wanted}.")
    return found[0]


def _along_channels(numbers: npt.NDArray[np.generic], rank: int) -> np.ndarray:
    return numbers.reshape(-1, *[1] * (rank - 2))


def _numbers(key: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"preprocess: {key}={text}: expected numbers separated by commas.") from error
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"preprocess: {key}={text}: expected finite numbers.")
    return numbers
