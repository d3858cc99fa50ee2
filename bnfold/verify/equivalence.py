"""Is the candidate the same function as the original, on the provider that will serve it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from bnfold.bundle.layout import MANIFEST
from bnfold.bundle.reader import read_bundle
from bnfold.errors import InputError
from bnfold.files import sha256
from bnfold.progress import Progress, silent
from bnfold.verify.attestation import attest
from bnfold.verify.environment import environment
from bnfold.verify.evidence import (
    Reference,
    Run,
    as_doubles,
    evaluate_candidate,
    evaluate_in_double,
    evaluate_original,
    load_for_comparison,
    run_candidate,
)
from bnfold.verify.judgement import Precisions, Values, judge
from bnfold.verify.placement import Placement
from bnfold.verify.provider import Provider
from bnfold.verify.report import OutputReport, VerificationReport
from bnfold.verify.rounding import precision
from bnfold.verify.samples import Arrays, batch_of, batches, joined
from bnfold.verify.signature import Signature, check_inputs, check_same
from bnfold.verify.vacuity import input_findings
from bnfold.verify.verdict import Finding, Verdict


def verify(
    original: Path,
    candidate: Path,
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    provider: Provider = Provider.CPU,
    exact: ir.Model | None = None,
    progress: Progress = silent,
) -> VerificationReport:
    """Compare two ONNX files on ``inputs`` and return the verdict with everything that led to it.

    Args:
        original: The graph that says what is right. It runs on the CPU provider, unoptimized, whatever the provider.
        candidate: The graph that is to be the same function.
        inputs: Samples by input name, along the leading axis; all of them are used.
        provider: Where the candidate runs.
        exact: The fold of the original carried out in float64 and not rounded; adds the first rung of the ladder.
        progress: Wraps the batches of each evaluation.

    Raises:
        InputError: a file cannot be read, the graphs are not comparable, the inputs do not fit the original, or the
            oracle does not know an operator.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here.
    """
    ours, theirs = load_for_comparison(original), load_for_comparison(candidate)
    signatures = Signature.of(ours), Signature.of(theirs)
    check_same(*signatures)
    trial = _Trial(candidate, theirs, inputs, _plan(inputs, *signatures), provider, progress)
    run = trial.run()
    reference = evaluate_original(original, ours, inputs, trial.plan, progress)
    algebra = {} if exact is None else evaluate_in_double(exact, inputs, trial.plan, progress, "float64, exact fold")
    return trial.report(run, reference, algebra, precision(ours), {"original": original, "candidate": candidate})


def verify_bundle(
    folder: Path, *, provider: Provider = Provider.CPU, progress: Progress = silent
) -> VerificationReport:
    """Hold the model of a bundle to the golden outputs in it; neither the original nor torch is needed.

    Raises:
        InputError: the bundle is damaged, or its model and its golden data do not fit each other.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here.
    """
    bundle = read_bundle(folder)
    model = load_for_comparison(bundle.model_path)
    signature = Signature.of(model)
    plan = _plan(bundle.inputs, signature)
    golden = {"output": bundle.outputs, "baseline": bundle.baseline}
    _check_golden(folder, signature, golden, check_inputs(signature, bundle.inputs))
    trial = _Trial(bundle.model_path, model, bundle.inputs, plan, provider, progress)
    reference = Reference(trial.in_batches(bundle.outputs), trial.in_batches(bundle.baseline))
    files = {"candidate": bundle.model_path, "manifest": folder / MANIFEST}
    return trial.report(trial.run(), reference, {}, bundle.precision, files)


@dataclass(frozen=True)
class _Trial:
    """One candidate on one provider with one set of inputs."""

    path: Path
    model: ir.Model
    inputs: Arrays
    plan: Sequence[slice]
    provider: Provider
    progress: Progress

    def in_batches(self, outputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Return ``outputs`` in the order in which the plan produces them."""
        return as_doubles(joined([batch_of(outputs, where) for where in self.plan]))

    def run(self) -> Run:
        """Run the candidate, unless there is nothing to run it on."""
        if not self.plan:
            return Run({}, Placement((), {}, (), ()))
        return run_candidate(self.path, self.provider, self.inputs, self.plan, self.progress)

    def report(
        self, run: Run, reference: Reference, algebra: Arrays, original: ir.DataType, files: Mapping[str, Path]
    ) -> VerificationReport:
        """Judge what was evaluated."""
        sizes = [where.stop - where.start for where in self.plan]
        findings = [*input_findings(self.inputs), *self._run_findings(run)]
        outputs: list[OutputReport] = []
        if run.outputs:
            values = self._values(run, reference, algebra)
            precisions = Precisions(original, precision(self.model))
            for name, value in values.items():
                output, found = judge(name, value, sum(sizes), precisions)
                findings += found
                outputs += [output] if output is not None else []
        return VerificationReport(
            provider=self.provider,
            outputs=tuple(outputs),
            findings=tuple(findings),
            placement=run.placement,
            samples=max((where.stop for where in self.plan), default=0),
            batch_sizes=tuple(sorted(set(sizes))),
            files={role: {"path": str(path), "sha256": sha256(path)} for role, path in files.items()},
            environment=environment(),
        )

    def _run_findings(self, run: Run) -> list[Finding]:
        if not self.plan:
            return [Finding(Verdict.INCONCLUSIVE, "no samples: nothing was compared")]
        if run.failure:
            return [Finding(Verdict.NOT_EQUIVALENT, f"the candidate fails where the original runs: {run.failure}")]
        words = attest(self.provider, run.placement)
        return [Finding(Verdict.NOT_ATTESTED, f"--provider {self.provider}: {each}") for each in words]

    def _values(self, run: Run, reference: Reference, algebra: Arrays) -> dict[str, Values]:
        stored = evaluate_candidate(self.model, self.inputs, self.plan, self.progress)
        return {
            name: Values(
                oracle=oracle,
                baseline=reference.baseline[name],
                run=run.outputs[name],
                stored=stored.outputs[name],
                rounding=stored.rounding[name],
                algebra=algebra.get(name),
            )
            for name, oracle in reference.oracle.items()
        }


def _plan(inputs: Arrays, *signatures: Signature) -> list[slice]:
    """Return the batches that everything is evaluated in: of a fixed size if any of the graphs fixes it."""
    samples = [check_inputs(signature, inputs) for signature in signatures]
    return batches(samples[0], next((s.fixed_batch for s in signatures if s.fixed_batch), None))


def _check_golden(folder: Path, signature: Signature, golden: Mapping[str, Arrays], samples: int) -> None:
    expected = {port.name for port in signature.outputs}
    for kind, arrays in golden.items():
        if set(arrays) != expected:
            found = ", ".join(sorted(arrays)) or "none"
            raise InputError(f"{folder}: golden {kind}s: the model has {', '.join(sorted(expected))}, found {found}.")
        for name, array in arrays.items():
            if array.shape[:1] != (samples,):
                raise InputError(f"{folder}: golden {kind} {name}: expected {samples} samples, found {array.shape}.")
