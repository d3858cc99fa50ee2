"""What code written for torch's modules relies on: constructor, state dict, flags, refusals, export, other tools."""

import copy
import inspect
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

import bnfold.nn
from bnfold.nn import BATCH_NORM_TYPES, BatchNorm1d, BatchNorm2d, BatchNorm3d

EPS = 0.3125
"""Large, and exact in the float32 of an ONNX attribute."""

PAIRS = [
    pytest.param(BatchNorm1d, nn.BatchNorm1d, (7, 3), id="1d"),
    pytest.param(BatchNorm1d, nn.BatchNorm1d, (4, 3, 5), id="1d-with-length"),
    pytest.param(BatchNorm2d, nn.BatchNorm2d, (5, 3, 4, 2), id="2d"),
    pytest.param(BatchNorm3d, nn.BatchNorm3d, (2, 3, 5, 4, 6), id="3d"),
]
FLAGS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.3},
    {"momentum": None},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"track_running_stats": False, "affine": False, "momentum": None},
    {"dtype": torch.float64},
]
Pair = type[nn.Module]


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _randomize(module: nn.Module) -> None:
    """Give every parameter and statistic a value of its own; variances stay positive."""
    with torch.no_grad():
        for seed, (name, value) in enumerate(module.state_dict().items()):
            if value.is_floating_point():
                drawn = _randn(*value.shape, seed=seed, dtype=value.dtype)
                value.copy_(drawn.square() + 0.1 if name.endswith("running_var") else drawn)


def _assert_same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert list(one) == list(other)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_public_names() -> None:
    """The package's face is what the README and the other parts import."""
    assert sorted(bnfold.nn.__all__) == ["BATCH_NORM_TYPES", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "convert"]


@pytest.mark.parametrize(("ours", "torchs", "shape"), PAIRS)
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_every_step_equals_torch_to_the_bit(
    ours: Pair, torchs: Pair, shape: tuple[int, ...], flags: dict[str, Any]
) -> None:
    """Same flags, same state: three training steps and an evaluation give the same outputs, gradients and state."""
    one, other = ours(3, eps=EPS, **flags), torchs(3, eps=EPS, **flags)
    _randomize(other)
    one.load_state_dict(other.state_dict())
    for seed in range(4):
        x = _randn(*shape, seed=seed, dtype=flags.get("dtype", torch.float32)).requires_grad_()
        one.train(seed < 3)
        other.train(seed < 3)
        results = [module(x) for module in (one, other)]
        assert torch.equal(*results)
        leaves = [[x, *module.parameters()] for module in (one, other)]
        gradients = [torch.autograd.grad(y.sin().sum(), wrt) for y, wrt in zip(results, leaves, strict=True)]
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
        _assert_same_state(one.state_dict(), other.state_dict())


@pytest.mark.parametrize(("ours", "torchs", "shape"), PAIRS)
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_state_dict_loads_both_ways(ours: Pair, torchs: Pair, shape: tuple[int, ...], flags: dict[str, Any]) -> None:
    """Strict loading in either direction carries every value, num_batches_tracked included."""
    for source_class, target_class in ((ours, torchs), (torchs, ours)):
        source, target = source_class(3, **flags), target_class(3, **flags)
        _randomize(source)
        source(_randn(*shape, dtype=flags.get("dtype", torch.float32)))
        target.load_state_dict(source.state_dict(), strict=True)
        _assert_same_state(target.state_dict(), source.state_dict())


def test_state_dict_from_before_minibatches_were_counted_loads() -> None:
    """Files of torch 0.4 and older lack num_batches_tracked; strict loading accepts them as torch's module does."""
    module = BatchNorm2d(3)
    state = {name: value for name, value in module.state_dict().items() if name != "num_batches_tracked"}
    module.load_state_dict(state, strict=True)
    assert module.state_dict()["num_batches_tracked"].item() == 0


@pytest.mark.parametrize(("ours", "torchs", "shape"), PAIRS)
def test_constructor_and_repr_are_torchs(ours: Pair, torchs: Pair, shape: tuple[int, ...]) -> None:
    """The same call makes either, whatever arguments this torch knows, and both print the same line."""
    torchs_own = list(inspect.signature(torchs).parameters.values())
    *shared, group, virtual = inspect.signature(ours).parameters.values()
    assert shared == torchs_own
    for parameter, name in ((group, "process_group"), (virtual, "virtual_batch_size")):
        assert (parameter.name, parameter.kind, parameter.default) == (name, parameter.KEYWORD_ONLY, None)
    assert repr(ours(3, EPS, None, False)) == repr(torchs(3, EPS, None, False))


def test_flag_turned_off_later_freezes_the_statistics() -> None:
    """With track_running_stats turned off after the fact, training leaves them alone and evaluation still uses them."""
    module = BatchNorm2d(3)
    module.track_running_stats = False
    x = _randn(5, 3, 4, 2)
    module(x)
    _assert_same_state(module.state_dict(), BatchNorm2d(3).state_dict())
    # Mean 0, variance 1, γ = 1, β = 0: one product with 1/√(1 + ε), rounded twice to 2⁻²⁴.
    torch.testing.assert_close(module.eval()(x), x / (1 + module.eps) ** 0.5, rtol=4 * 2**-24, atol=0)


@pytest.mark.parametrize(
    ("ours", "shape", "error", "message"),
    [
        (BatchNorm1d, (1, 3), ValueError, r"more than 1 value per channel when training, got input size \[1, 3\]"),
        (BatchNorm2d, (1, 3, 1, 1), ValueError, r"one value has no variance; use a larger minibatch"),
        (BatchNorm1d, (4, 3, 5, 2), ValueError, r"expected 2D or 3D input \(got 4D input\)"),
        (BatchNorm2d, (4, 3), ValueError, r"expected 4D input \(got 2D input\)"),
        (BatchNorm3d, (4, 3, 5, 2), ValueError, r"expected 5D input \(got 4D input\)"),
        (BatchNorm1d, (4, 5), RuntimeError, r"running_mean should contain 5 elements not 3"),
    ],
)  # fmt: skip
def test_refused_minibatch_leaves_no_trace(
    ours: Pair, shape: tuple[int, ...], error: type[Exception], message: str
) -> None:
    """Torch's errors, and the count that momentum=None divides by does not include what was refused."""
    module = ours(3, momentum=None)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(error, match=message):
        module(_randn(*shape))
    _assert_same_state(module.state_dict(), before)


def test_one_value_per_channel_is_refused_wherever_the_minibatch_normalizes() -> None:
    """It passes in eval mode, where running statistics stand in, and not where there are none."""
    x = _randn(1, 3)
    assert BatchNorm1d(3).eval()(x).shape == (1, 3)
    with pytest.raises(ValueError, match="one value has no variance"):
        BatchNorm1d(3, track_running_stats=False).eval()(x)


@pytest.mark.parametrize(("ours", "torchs", "shape"), PAIRS)
def test_copies_and_pickles_keep_class_and_state(ours: Pair, torchs: Pair, shape: tuple[int, ...]) -> None:
    """What multiprocessing and model snapshots do to a module."""
    module = ours(3)
    module(_randn(*shape))
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 - our own bytes
        assert type(twin) is ours
        _assert_same_state(twin.state_dict(), module.state_dict())


@pytest.mark.parametrize("kind", [BatchNorm1d, BatchNorm2d, BatchNorm3d, nn.BatchNorm2d, nn.SyncBatchNorm])
def test_batch_norm_types_name_every_batch_norm(kind: type[nn.Module]) -> None:
    """Ours, torch's and the synchronized one are; InstanceNorm, which shares torch's base class, is not."""
    assert isinstance(kind(3), BATCH_NORM_TYPES)
    assert not isinstance(nn.InstanceNorm2d(3), BATCH_NORM_TYPES)


def test_tools_that_look_for_torchs_modules_find_ours() -> None:
    """Conversion to SyncBatchNorm and the statistics pass of swa_utils both work by isinstance."""
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(BatchNorm1d(3))) is nn.SyncBatchNorm
    network = nn.Sequential(nn.Linear(4, 3), BatchNorm1d(3))
    torch.optim.swa_utils.update_bn([_randn(7, 4, seed=seed) for seed in (1, 2)], network)
    assert network.state_dict()["1.num_batches_tracked"].item() == 2


def test_compiler_takes_the_training_pass_whole() -> None:
    """torch.compile finds no graph break, and the compiled pass updates the same state."""
    module, eager = BatchNorm2d(3), BatchNorm2d(3)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x = _randn(5, 3, 4, 2)
    assert torch.equal(compiled(x), eager(x))
    _assert_same_state(module.state_dict(), eager.state_dict())


@pytest.mark.parametrize(
    ("ours", "shape", "flags"),
    [
        (BatchNorm1d, (7, 3), {}),
        (BatchNorm1d, (4, 3, 5), {"dtype": torch.float64}),
        (BatchNorm2d, (5, 3, 4, 2), {"momentum": None}),
        (BatchNorm2d, (5, 3, 4, 2), {"affine": False}),
        (BatchNorm2d, (5, 3, 4, 2), {"bias": False}),
        (BatchNorm3d, (2, 3, 5, 4, 6), {"dtype": torch.float64}),
    ],
    ids=str,
)
def test_export_is_one_batch_normalization_node(ours: Pair, shape: tuple[int, ...], flags: dict[str, Any]) -> None:
    """The exported graph is one node that keeps ε, and the onnx package's own evaluator computes the same from it."""
    module = ours(3, eps=EPS, **flags).eval()
    _randomize(module)
    x = _randn(*shape, seed=9, dtype=flags.get("dtype", torch.float32))
    model = _export(module, x)
    (node,) = model.graph.node
    assert node.op_type == "BatchNormalization"
    assert {attribute.name: attribute.f for attribute in node.attribute}["epsilon"] == EPS
    (actual,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    tolerance = 8 * torch.finfo(x.dtype).eps * _magnitude(module, x)
    assert np.all(np.abs(np.asarray(actual) - module(x).detach().numpy()) <= tolerance.numpy())


def _magnitude(module: nn.Module, x: Tensor) -> Tensor:
    """Return |γ|(|x| + |E|)/√(Var + ε) + |β|: each of at most 8 roundings costs no more than this times finfo.eps."""
    state = {name: value.reshape(-1, *[1] * (x.dim() - 2)) for name, value in module.state_dict().items()}
    one = torch.ones(())
    scale = state.get("weight", one).abs() / torch.sqrt(state["running_var"] + EPS)
    return scale * (x.abs() + state["running_mean"].abs()) + state.get("bias", one).abs()


def _export(module: nn.Module, x: Tensor) -> onnx.ModelProto:
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto
