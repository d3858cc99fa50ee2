"""Tests of ``bnfold.population.layers``: which layers are calibrated, and what counts as frozen."""

import pytest
from torch import nn

from bnfold.errors import InputError
from bnfold.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bnfold.population.layers import KeptLayer, Reason, split_layers


def backbone_and_head() -> nn.Sequential:
    """Return two convolutions, each followed by its BN (layers 1 and 3)."""
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def freeze(model: nn.Module, *names: str) -> None:
    """Exclude parameters from training."""
    for name in names:
        model.get_parameter(name).requires_grad_(False)


def chosen(model: nn.Module, *, include_frozen: bool = False) -> list[str]:
    """Return the names of the layers to calibrate."""
    return list(split_layers(model, include_frozen=include_frozen)[0])


def test_every_kind_of_batch_norm_is_found() -> None:
    """Torch's and bnfold's classes, SyncBatchNorm and subclasses; other normalizations are not."""

    class Own(nn.BatchNorm2d):
        """A user's subclass."""

    kinds = [nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2), Own(2)]
    ours = [BatchNorm1d(2), BatchNorm2d(2), BatchNorm3d(2)]
    others = [nn.InstanceNorm2d(2, track_running_stats=True), nn.LayerNorm(2), nn.GroupNorm(1, 2)]
    assert chosen(nn.Sequential(*kinds, *ours, *others)) == [str(i) for i in range(8)]


def test_a_shared_layer_is_listed_once_and_a_lone_one_by_its_class() -> None:
    """A layer under two names goes by the first; a model that is a BN layer has a name to be reported by."""
    shared = nn.BatchNorm1d(2)
    assert chosen(nn.ModuleDict({"first": shared, "second": shared})) == ["first"]
    assert chosen(shared) == ["BatchNorm1d"]


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_frozen_by_default(training: bool) -> None:
    """A model that is in training mode, or in eval mode, as a whole has all of its layers calibrated."""
    assert chosen(backbone_and_head().train(training)) == ["1", "3"]


def test_a_layer_in_eval_mode_within_a_model_in_training_mode_is_frozen() -> None:
    """Torch would not move its statistics while the model trains; include_frozen calibrates it all the same."""
    model = backbone_and_head().train()
    model[1].eval()
    assert split_layers(model, include_frozen=False)[1] == (KeptLayer("1", Reason.FROZEN),)
    assert chosen(model) == ["3"]
    assert chosen(model, include_frozen=True) == ["1", "3"]


def test_in_training_mode_requires_grad_has_no_part_in_it() -> None:
    """Torch moves the statistics of a layer in training mode whether or not its γ and β are trained."""
    model = backbone_and_head().train()
    freeze(model, "1.weight", "1.bias")
    assert chosen(model) == ["1", "3"]


def test_in_eval_mode_a_layer_excluded_from_training_is_frozen() -> None:
    """Flags say nothing in eval mode: a layer whose γ and β are both not trained, in a model that is, is frozen."""
    model = backbone_and_head().eval()
    freeze(model, "1.weight")
    assert chosen(model) == ["1", "3"]
    freeze(model, "1.bias")
    assert chosen(model) == ["3"]
    assert chosen(model, include_frozen=True) == ["1", "3"]


def test_a_model_made_ready_for_inference_is_not_frozen() -> None:
    """A model in eval mode of which nothing requires a gradient was not frozen layer by layer."""
    assert chosen(backbone_and_head().eval().requires_grad_(False)) == ["1", "3"]


def test_a_layer_without_weights_is_not_frozen_by_them() -> None:
    """A layer that has neither γ nor β says nothing by requires_grad."""
    assert chosen(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, affine=False)).eval()) == ["1"]


def test_layers_without_running_statistics_are_named() -> None:
    """There is nothing to fill, not even if frozen layers are asked for; tracking switched off later is freezing."""
    switched_off = nn.BatchNorm1d(2)
    switched_off.track_running_stats = False
    model = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), switched_off)
    kept = split_layers(model, include_frozen=False)[1]
    assert kept == (KeptLayer("0", Reason.UNTRACKED), KeptLayer("1", Reason.FROZEN))
    assert chosen(model, include_frozen=True) == ["1"]


def test_the_words_name_the_layer() -> None:
    """A kept layer explains itself."""
    assert str(KeptLayer("stem.bn", Reason.FROZEN)) == "BN layer stem.bn is frozen; its statistics stay as they are."


def test_a_lazy_model_is_refused() -> None:
    """A model that has yet to see its first batch has no statistics to replace."""
    with pytest.raises(InputError, match=r"0\.weight: uninitialized"):
        split_layers(nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3)), include_frozen=False)
