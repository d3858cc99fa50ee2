"""A plan written back to a module: new values of its parameters, identities in place of its normalizations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # the base of all of torch's

from bnfold.folding.forms import Linear
from bnfold.folding.plan import Plan
from bnfold.folding.sharing import Stored
from bnfold.graph.parametrizations import make_plain
from bnfold.graph.rounding import rounded
from bnfold.modules.batch_norms import become_identity
from bnfold.modules.places import Places, has_bias

_ROUNDINGS = 1e-9
"""What is stated to be equal differs, relative to the largest, by the roundings of sums in float64 at most, and by one
to its own type; a limit that does not hold would show in the first digits."""


@dataclass(frozen=True)
class Constant:
    """A constant that a planned operator reads, as it is before the plan is applied.

    Attributes:
        name: the tensor that holds it, or will; None where it has to stay as it is.
        where: the initializer behind it.
        node: the operator.
        slot: the input.
        before: its content.
    """

    name: str | None
    where: Stored
    node: ir.Node
    slot: int
    before: np.ndarray

    def after(self) -> np.ndarray:
        """Return the content once the plan is applied, as the tensor stores it."""
        value = self.node.inputs[self.slot]
        assert value is not None
        assert value.const_value is not None
        return self.where.carried_back(value.const_value.numpy())


class Writing:
    """What a plan means for a module; to be made before the plan is applied to the graph.

    Attributes:
        removed: names of the modules that become identities.
        names: names of tensors of the module, by what the graph calls the constants made of them.
    """

    def __init__(self, plan: Plan, places: Places) -> None:
        assert not any(plan.solution.shift[threshold.label].any() for threshold in plan.thresholds)
        owners = places.normalizers.owners
        self.removed = tuple(dict.fromkeys(owners[pointwise.node] for pointwise in plan.removed))
        self._plan = plan
        self._constants = list(_constants(plan, places))
        self._biases = [
            (places.of_bias(linear), linear, has_bias(linear)) for linear in plan.linears if _moves(linear, plan)
        ]
        self.names = {
            value.name or "": constant.name or constant.where.root.name or ""
            for constant in self._constants
            if (value := constant.node.inputs[constant.slot]) is not None
        }

    def values(self) -> dict[str, np.ndarray]:
        """Return the new values by the tensors' names; the plan has been applied."""
        values: dict[str, np.ndarray] = {}
        for constant in self._constants:
            _assign(values, constant.name, constant.after(), constant.where.carried_back(constant.before))
        for name, linear, is_there in self._biases:
            offset, border = self._plan.solution.bias(linear)
            assert border is None
            if is_there or offset.any():
                _assign(values, name, rounded(offset, linear.dtype), rounded(linear.offset, linear.dtype))
        return values


def write(module: nn.Module, values: Mapping[str, np.ndarray], removed: tuple[str, ...]) -> None:
    """Give tensors of a module new values, in place, and make identities of some of its parts.

    A bias that a linear operator lacks becomes a parameter, trained if its weight is. γ and β that a normalization
    lacks become parameters that are not trained.
    """
    for name, array in values.items():
        path, _, attribute = name.rpartition(".")
        part = module.get_submodule(path)
        make_plain(part, attribute)
        tensor = getattr(part, attribute)
        new = torch.from_numpy(array.astype(np.float64))
        if tensor is None:
            setattr(part, attribute, _parameter(part, new))
        else:
            assert isinstance(tensor, Tensor)
            with torch.no_grad():
                tensor.copy_(new.reshape(tensor.shape))
    for name in removed:
        become_identity(module.get_submodule(name))


def _parameter(part: nn.Module, values: Tensor) -> nn.Parameter:
    if isinstance(part, _BatchNorm):
        part.affine = True
        like = part.running_mean
        assert like is not None
        return nn.Parameter(values.to(like.device, like.dtype), requires_grad=False)
    weight = part.weight
    assert isinstance(weight, Tensor)
    return nn.Parameter(values.to(weight.device, weight.dtype), requires_grad=weight.requires_grad)


def _constants(plan: Plan, places: Places) -> Iterator[Constant]:
    """Yield the weights of linear operators and the parameters of affine maps that the plan rewrites."""
    for linear in plan.linears:
        if _moves(linear, plan):
            value = linear.node.inputs[linear.weight_slot]
            assert value is not None
            yield Constant(places.of(value), places.stored(value), linear.node, linear.weight_slot, linear.weight)
    for pointwise in plan.kept:
        if plan.solution.is_identity(pointwise.sources, pointwise.targets):
            continue
        parameters = zip(
            pointwise.parameter_slots,
            places.of_parameters(pointwise),
            pointwise.parameters(pointwise.affine),
            strict=True,
        )
        for slot, name, before in parameters:
            value = pointwise.node.inputs[slot]
            assert value is not None
            yield Constant(name, places.stored(value), pointwise.node, slot, before)


def _moves(linear: Linear, plan: Plan) -> bool:
    return bool(linear.silenced) or not plan.solution.is_identity(linear.sources, linear.targets)


def _assign(values: dict[str, np.ndarray], name: str | None, array: np.ndarray, before: np.ndarray) -> None:
    """Note a tensor's new value; where it may not change, or has one already, check that it is the same."""
    expected = before if name is None else values.setdefault(name, array)
    tolerance = _ROUNDINGS + 2 * float(ml_dtypes.finfo(array.dtype).eps)
    array, expected = (np.asarray(side, dtype=np.float64).ravel() for side in (array, expected))
    same = np.abs(array - expected) <= tolerance * np.abs(expected).max(initial=0)
    assert same.all(), f"a limit does not hold for {name}"
