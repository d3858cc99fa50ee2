"""Is the candidate the same function as the original, on the provider that will serve it?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from bnfold.bundle.layout import MANIFEST
from bnfold.bundle.manifest import Port as Entry
from bnfold.bundle.reader import read_bundle
from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold.verify.edge_cases import EdgeCases
from bnfold.verify.evidence import Reference, evaluate_in_double, evaluate_original, load_for_comparison, require_oracle
from bnfold.verify.exact import exact_folds
from bnfold.verify.mutation import MUTANTS
from bnfold.verify.oracle import Oracle
from bnfold.verify.provider import Provider
from bnfold.verify.report import VerificationReport
from bnfold.verify.rounding import precision
from bnfold.verify.samples import Arrays, as_doubles, batch_of, batches, joined
from bnfold.verify.signature import Port, Signature, check_inputs, check_same, reordered
from bnfold.verify.trial import Original, Trial
from bnfold.verify.verdict import Finding, Verdict


def verify(
    original: Path,
    candidate: Path,
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    provider: Provider = Provider.CPU,
    exact: ir.Model | None = None,
    edges: EdgeCases | None = None,
    mutants: int = MUTANTS,
    progress: Progress = silent,
) -> VerificationReport:
    """Compare two ONNX files on ``inputs`` and return the verdict with everything that led to it.

    Inputs and outputs are matched by name. A candidate that has them in another order is not equivalent all the same:
    callers that go by position get others.

    Args:
        original: The graph that says what is right. It runs on the CPU provider, unoptimized, whatever the provider.
        candidate: The graph that is to be the same function.
        inputs: Samples by input name, along the leading axis; all of them are used.
        provider: Where the candidate runs: in a process of its own, unless it is the CPU.
        exact: The fold of the original carried out in float64 and not rounded, which is the first rung of the ladder;
            by default bnfold's own fold, where the candidate has its structure.
        edges: Edge cases to try besides, each judged by itself.
        mutants: How many wrong candidates the self-test makes; 0 leaves it out.
        progress: Wraps the batches of each evaluation.

    Raises:
        InputError: a file cannot be read, the graphs are not comparable, the inputs do not fit the original, or the
            oracle does not know an operator.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here, or takes its process down.
    """
    ours, theirs = load_for_comparison(original), load_for_comparison(candidate)
    signatures = Signature.of(ours), Signature.of(theirs)
    check_same(*signatures)
    plan = plan_of(inputs, *signatures)
    require_oracle(original, ours)
    require_oracle(candidate, theirs)
    Oracle.of(ours).remember_only(Oracle.of(theirs).value_names)  # others have nothing to be compared with
    files = {"original": original, "candidate": candidate}
    known = _order_findings(signatures[1], signatures[0].inputs, signatures[0].outputs, "the original")
    trial = Trial(theirs, inputs, plan, edges or EdgeCases.none(), provider, mutants, progress, files, known)
    run = trial.run()
    reference = evaluate_original(original, ours, inputs, plan, trial.edges, progress)
    source = Original(original, ours, exact_folds(ours, theirs, progress) if plan else ())
    Oracle.of(ours).release_weights()  # the candidate's take their place
    if exact is None:
        exact = source.exact
    algebra: Arrays = {}
    if exact is not None:
        algebra = joined(evaluate_in_double(exact, inputs, first_batches(plan), progress, "float64, exact fold"))
    return trial.report(run, reference, precision(ours), source, algebra)


def verify_bundle(
    folder: Path, *, provider: Provider = Provider.CPU, mutants: int = MUTANTS, progress: Progress = silent
) -> VerificationReport:
    """Hold the model of a bundle to the golden outputs in it; neither the original nor torch is needed.

    Where the bundle has a trace, the first node at fault is named by it. Edge cases have nothing to be held to: golden
    data are all there is.

    Raises:
        InputError: the bundle is damaged, or its model and its golden data do not fit each other.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here, or takes its process down.
    """
    bundle = read_bundle(folder)
    model = load_for_comparison(bundle.model_path)
    signature = Signature.of(model)
    plan = plan_of(bundle.inputs, signature)
    golden = {"output": bundle.outputs, "baseline": bundle.baseline}
    _check_golden(folder, signature, golden, check_inputs(signature, bundle.inputs))
    require_oracle(bundle.model_path, model)
    files = {"candidate": bundle.model_path, "manifest": folder / MANIFEST}
    known = _order_findings(signature, bundle.manifest.inputs, bundle.manifest.outputs, "the manifest")
    trial = Trial(model, bundle.inputs, plan, EdgeCases.none(), provider, mutants, progress, files, known)
    outputs = [as_doubles(batch_of(bundle.outputs, where)) for where in plan]
    baseline = as_doubles(joined([batch_of(bundle.baseline, where) for where in plan]))
    return trial.report(trial.run(), Reference(outputs, baseline), bundle.precision, trace=bundle.trace)


def plan_of(inputs: Arrays, *signatures: Signature) -> list[slice]:
    """Return the batches that everything is evaluated in: of a fixed size if any of the graphs fixes it."""
    samples = [check_inputs(signature, inputs) for signature in signatures]
    return batches(samples[0], next((s.fixed_batch for s in signatures if s.fixed_batch), None))


def first_batches(plan: list[slice]) -> list[slice]:
    """Return the batches of the first few samples, three or more: algebra that is wrong is wrong on each."""
    return [where for where in plan if where.start < 3]


def _order_findings(
    candidate: Signature, inputs: Sequence[Port | Entry], outputs: Sequence[Port | Entry], whose: str
) -> tuple[Finding, ...]:
    """Find ports of the candidate that stand in another order than those of the original or of the manifest."""
    names = ([port.name for port in inputs], [port.name for port in outputs])
    return tuple(Finding(Verdict.NOT_EQUIVALENT, words, "ports") for words in reordered(candidate, *names, whose))


def _check_golden(folder: Path, signature: Signature, golden: Mapping[str, Arrays], samples: int) -> None:
    expected = {port.name for port in signature.outputs}
    for kind, arrays in golden.items():
        if set(arrays) != expected:
            found = ", ".join(sorted(arrays)) or "none"
            raise InputError(f"{folder}: golden {kind}s: the model has {', '.join(sorted(expected))}, found {found}.")
        for name, array in arrays.items():
            if array.shape[:1] != (samples,):
                raise InputError(f"{folder}: golden {kind} {name}: expected {samples} samples, found {array.shape}.")
