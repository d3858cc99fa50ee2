"""Which BN layers of a model get new statistics, and why the others keep theirs."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way
from torch.nn.parameter import is_lazy

from bnfold.errors import InputError
from bnfold.nn import BATCH_NORM_TYPES
from bnfold.population.kept import KeptLayer, Reason


def batch_norm_layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the model's BN layers by name, each once; a model that is itself one goes by its class.

    Raises:
        InputError: the model has parameters or buffers that its first forward pass has yet to create.
    """
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise InputError(f"{name}: uninitialized (a lazy module); run the model once on a batch first.")
    named = model.named_modules()
    return {name or type(layer).__name__: layer for name, layer in named if isinstance(layer, BATCH_NORM_TYPES)}


def running_buffers(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return ``running_mean`` and ``running_var``, each (C,), of a layer that keeps them."""
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None and variance is not None, "a layer that keeps none was chosen"  # noqa: PT018  # our promise
    return mean, variance


def split_layers(model: nn.Module, *, include_frozen: bool) -> tuple[dict[str, _BatchNorm], tuple[KeptLayer, ...]]:
    """Return the BN layers to calibrate, and those to leave alone with the reason."""
    chosen, kept = dict[str, _BatchNorm](), list[KeptLayer]()
    for name, layer in batch_norm_layers(model).items():
        if layer.running_mean is None or layer.running_var is None:
            kept.append(KeptLayer(name, Reason.UNTRACKED))
        elif is_frozen(model, layer) and not include_frozen:
            kept.append(KeptLayer(name, Reason.FROZEN))
        else:
            chosen[name] = layer
    return chosen, tuple(kept)


def is_frozen(model: nn.Module, layer: _BatchNorm) -> bool:
    """Return whether the user took ``layer`` out of the training of ``model``.

    1. A layer whose ``track_running_stats`` was switched off after it was made is frozen.
    2. While the model is in training mode, its layers in eval mode are frozen and no others: this is torch's own rule
       of whose running statistics move, and ``requires_grad`` has no part in it.
    3. A model in eval mode says nothing by its flags, since ``eval()`` reaches every layer. There a layer is frozen if
       all of its γ and β are excluded from training (``requires_grad`` off) while other parameters of the model are
       not. Where nothing requires a gradient, the model was made ready for inference as a whole and no layer is frozen;
       nor is a layer that has neither γ nor β, which says nothing.
    """
    if not layer.track_running_stats:
        return True
    if model.training:
        return not layer.training
    own = list(layer.parameters(recurse=False))
    excluded = bool(own) and not any(parameter.requires_grad for parameter in own)
    return excluded and any(parameter.requires_grad for parameter in model.parameters())
