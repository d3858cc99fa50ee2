"""Folding a torch module: capture, plan within what can be written back, write to a copy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import onnx_ir as ir
from torch import Tensor, nn

from bnfold.errors import InputError, NeitherGraphNorModuleError
from bnfold.folding.apply import apply_plan
from bnfold.folding.fold import Size, account, size_of
from bnfold.folding.plan import Plan, make_plan
from bnfold.folding.refusal import Refusal
from bnfold.folding.report import FoldReport, Outcome, Reason
from bnfold.graph.capture import capture
from bnfold.graph.constants import Constants
from bnfold.graph.parametrizations import copied, with_plain_weights
from bnfold.modules.batch_norms import Normalizers, require_inference_mode
from bnfold.modules.limits import WriteLimits
from bnfold.modules.places import Places
from bnfold.modules.write import Writing, write
from bnfold.population.preserve import preserved

ModuleT = TypeVar("ModuleT", bound=nn.Module)

ExampleInputs = Tensor | Sequence[Tensor]
"""One tensor ``(N, *sample)``, or one for each input, in the order of ``forward``."""


_GRAPH_ONLY = "a graph can go without it, new values of the module's parameters are not enough"


def fold_module(
    module: ModuleT, example_inputs: ExampleInputs, *, dynamic_batch: bool = True
) -> tuple[ModuleT, FoldReport]:
    """Return a copy of ``module`` without the normalizations that its own weights can take up, and the account.

    What the copy computes is the same: for every batch size, and for inputs whose other extents are those of the
    examples. Each removed BN is an ``nn.Identity``, its keys are gone from the state dict. A Conv, ConvTranspose or
    Linear without bias has one where a shift needs it. Parameters are the same objects wherever they were shared, and
    trained if they were; a parametrized weight that changes becomes a plain parameter. A BN whose removal would need
    more than new values of the module's own parameters stays, with that as the reason.

    The module itself comes back as it was. Its forward hooks run while it is captured.

    Args:
        module: in inference mode.
        example_inputs: their values do not matter, their shapes and types do.
        dynamic_batch: whether the first axis of every input is the batch, of any size; else all extents are fixed.

    Returns:
        The module, and the report; a BN has one outcome, however often it is called, under its name in the module.

    Raises:
        InputError: a BN is in training mode, torch cannot capture or copy the module, or its weights are not finite.
    """
    if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise NeitherGraphNorModuleError(module)
    require_inference_mode(module)
    examples = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    folded = copied(module)
    with preserved(module):
        report = _fold_in_place(folded, examples, dynamic_batch=dynamic_batch)
        try:
            folded(*examples)
        except Exception as error:  # forward may do anything with what it finds
            message = f"{type(module).__name__}: forward needs its normalizations for more than calling them: {error}"
            raise InputError(f"{message}; fold the captured graph instead.") from error
    return folded, report


def inspect_module(
    module: nn.Module, example_inputs: ExampleInputs, *, dynamic_batch: bool = True
) -> tuple[Outcome, ...]:
    """Return what `fold_module` would do to each normalization; raise as it does."""
    return fold_module(module, example_inputs, dynamic_batch=dynamic_batch)[1].batch_norms


def _fold_in_place(module: nn.Module, examples: tuple[Tensor, ...], *, dynamic_batch: bool) -> FoldReport:
    """Fold in rounds, as long as what went may have stood in the way of more."""
    plans: list[Plan] = []
    sizes: list[Size] = []
    outcomes: dict[str, Outcome] = {}
    while not plans or plans[-1].unsettled:
        plain = with_plain_weights(module)
        names = [f"input_{position}" for position in range(len(examples))]
        model = capture(plain, examples, input_names=names, dynamic_batch=dynamic_batch)
        places = Places(plain, model.graph, Constants(model), Normalizers(plain, model.graph))
        plan, writing = _writable_plan(model, places)
        sizes.append(size_of(model))
        outcomes |= _by_module(_compared(plan, model), places.normalizers, writing)
        apply_plan(model, plan)
        write(module, writing.values(), writing.removed)
        sizes.append(size_of(model))
        plans.append(plan)
    return account(plans, tuple(outcomes.values()), sizes[0], sizes[-1], duplicated_bytes=0)


def _writable_plan(model: ir.Model, places: Places) -> tuple[Plan, Writing]:
    """Plan until every normalization goes, or stays, with all calls of its module.

    A module that stays is stated to stay, which may ask for its parameters to keep one value for all its calls; what
    was planned without that is planned again.
    """
    kept: dict[str, Refusal] = {}
    while True:
        plan = make_plan(model, costs=None, limits=[WriteLimits(places, dict(kept))])
        stays = dict[str, Refusal]()
        for node, outcome in plan.outcomes.items():
            owner = places.normalizers.owners.get(node)
            if owner is not None and outcome.reason is not None:
                stays.setdefault(owner, Refusal(outcome.reason, outcome.witness, outcome.detail))
        if stays.keys() <= kept.keys():
            return plan, Writing(plan, places)
        kept |= {owner: refusal for owner, refusal in stays.items() if owner not in kept}


def _compared(plan: Plan, model: ir.Model) -> dict[ir.Node, Outcome]:
    """Return a plan's outcomes; they tell where only the module stands in the way, and a graph could be folded."""
    if all(outcome.removed for outcome in plan.outcomes.values()):
        return dict(plan.outcomes)
    goes = {pointwise.node for pointwise in make_plan(model).removed}
    return {
        node: replace(outcome, reason=Reason.NOT_WRITABLE, detail=f"{_GRAPH_ONLY}: {outcome.detail}")
        if node in goes and outcome.reason not in {None, Reason.NOT_WRITABLE}
        else outcome
        for node, outcome in plan.outcomes.items()
    }


def _by_module(outcomes: Mapping[ir.Node, Outcome], normalizers: Normalizers, writing: Writing) -> dict[str, Outcome]:
    """Return one outcome a module, and one for every other normalization, in the order of the graph.

    Raises:
        InputError: a module's normalization is in the graph in another form.
    """
    calls: dict[str, list[Outcome]] = {}
    for node, outcome in outcomes.items():
        calls.setdefault(normalizers.owners.get(node, outcome.name), []).append(outcome)
    merged = {name: _merged(name, group, writing) for name, group in calls.items()}
    unused = "no output depends on it"
    others = {name: Outcome(name, (), Reason.UNSUPPORTED, None, unused) for name in normalizers.unseen()}
    return merged | others


def _merged(name: str, outcomes: list[Outcome], writing: Writing) -> Outcome:
    into = dict.fromkeys(writing.names.get(weight, weight) for outcome in outcomes for weight in outcome.into)
    detail = f"folded into {', '.join(into)}" if into else outcomes[0].detail
    return replace(outcomes[0], name=name, into=tuple(into), detail=detail)
