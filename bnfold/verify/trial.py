"""One candidate on one provider with one set of inputs: what is run, and what is made of it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bnfold.bundle.trace import Trace
from bnfold.errors import BnfoldError
from bnfold.files import sha256
from bnfold.progress import Progress
from bnfold.verify.attestation import attest
from bnfold.verify.configuration import Configuration
from bnfold.verify.edge_cases import EdgeCaseReport, EdgeCases
from bnfold.verify.edge_judgement import edge_findings, edge_reports
from bnfold.verify.emulation import Arithmetic
from bnfold.verify.environment import environment
from bnfold.verify.evidence import Reference, evaluate_candidate
from bnfold.verify.exact import ExactFold
from bnfold.verify.fingerprint import recognized
from bnfold.verify.isolation import run_apart
from bnfold.verify.judgement import Precisions, Values, judge
from bnfold.verify.ladder import RungName
from bnfold.verify.localization import Localization, References, TooLarge, localize
from bnfold.verify.mutants import mutants
from bnfold.verify.mutation import Expected, Mutation, try_mutants
from bnfold.verify.oracle import Oracle
from bnfold.verify.placement import Placement
from bnfold.verify.provider import Provider
from bnfold.verify.report import OutputReport, VerificationReport
from bnfold.verify.rounding import precision
from bnfold.verify.run import Run, run_here
from bnfold.verify.samples import Arrays, as_doubles, batch_of, joined
from bnfold.verify.self_test import with_self_test
from bnfold.verify.stability import Stability, stability, stability_findings
from bnfold.verify.tolerance import Size
from bnfold.verify.trace import follow_trace
from bnfold.verify.vacuity import input_findings
from bnfold.verify.verdict import Finding, Verdict


@dataclass(frozen=True)
class Original:
    """The graph that says what is right, where it is at hand, with bnfold's folds of it in double."""

    path: Path
    model: ir.Model
    folds: Sequence[ExactFold]

    @property
    def exact(self) -> ir.Model | None:
        """Return the fold whose structure the candidate has."""
        return next((fold.model for fold in self.folds if fold.same_structure), None)


@dataclass(frozen=True)
class Sessions:
    """The runs of one candidate: the one that is judged, and those beside it."""

    judged: Run
    cpu: Run | None = None
    tf32: Run | None = None


@dataclass(frozen=True)
class Trial:
    """One candidate on one provider with one set of inputs, divided into batches by ``plan``.

    ``known`` is what was found before anything ran.
    """

    model: ir.Model
    inputs: Arrays
    plan: Sequence[slice]
    edges: EdgeCases
    provider: Provider
    mutants: int
    progress: Progress
    files: Mapping[str, Path]
    known: Sequence[Finding] = ()

    @property
    def largest(self) -> slice:
        """Return the batch of most samples."""
        return max(self.plan, key=lambda where: where.stop - where.start)

    @property
    def samples(self) -> int:
        """Return how many samples are fed over all batches."""
        return sum(where.stop - where.start for where in self.plan)

    def run(self) -> Sessions:
        """Run the candidate, unless there is nothing to run it on.

        One session takes all batches, then the largest once more, then that with its samples in reverse, then the
        edge cases. Beside it, on a device: the same model on the CPU, and with TF32 allowed.

        Raises:
            InputError: ONNX Runtime cannot load the candidate.
            AttestationError: the provider cannot be loaded, fails, or takes its process down.
        """
        if not self.plan:
            return Sessions(Run((), Placement((), {}, (), ())))
        samples = [batch_of(self.inputs, where) for where in self.plan]
        again = batch_of(self.inputs, self.largest)
        extra = [again, {name: array[::-1] if array.ndim else array for name, array in again.items()}]
        extra += [batch_of(self.edges.inputs, where) for where in self.edges.plan]
        judged = self._session(Configuration(self.provider), [*samples, *extra])
        if self.provider is Provider.CPU:
            return Sessions(judged)
        cpu = self._beside(Configuration(Provider.CPU), samples)
        tf32 = self._beside(Configuration(self.provider, tf32=True), samples) if self._has_tf32 else None
        return Sessions(judged, cpu, tf32)

    @property
    def _has_tf32(self) -> bool:
        return any(
            "use_tf32" in options for name, options in self.provider.options() if name == self.provider.runtime_name
        )

    def _beside(self, configuration: Configuration, batches: Sequence[Arrays]) -> Run | None:
        """Run what no verdict rests on: where it does not run, its rung is left out."""
        try:
            return self._session(configuration, batches)
        except BnfoldError:
            return None

    def _session(self, configuration: Configuration, batches: Sequence[Arrays]) -> Run:
        ways = " with TF32" if configuration.tf32 else ""
        description = f"candidate on {configuration.provider}{ways}"
        run = run_apart if configuration.isolated else run_here
        return run(self.files["candidate"], configuration, batches, self.progress, description)

    def report(
        self,
        sessions: Sessions,
        reference: Reference,
        original_precision: ir.DataType,
        original: Original | None = None,
        algebra: Arrays | None = None,
        trace: Trace | None = None,
    ) -> VerificationReport:
        """Judge what was run; ``trace`` tells of values inside the candidate where the original is not at hand."""
        run, precisions = sessions.judged, Precisions(original_precision, precision(self.model))
        findings = [*self.known, *input_findings(self.inputs), *self._run_findings(run)]
        outputs: list[OutputReport] = []
        values: dict[str, Values] = {}
        if self.plan and len(run.batches) >= len(self.plan):
            values = self._values(sessions, reference, algebra or {})
            for name, value in values.items():
                output, found = judge(name, value, self.samples, precisions)
                findings += found
                outputs += [output] if output is not None else []
        steady = self._stability(run, outputs)
        findings += stability_findings(steady or (), mixes=bool(steady) and self._mixes_samples(original, steady or ()))
        edge_cases = self._edge_cases(run, values, precisions, reference)
        findings += edge_findings(edge_cases)
        localization = self._localization(values, outputs, original)
        if trace is not None and outputs:
            localization = follow_trace(self.model, trace, batch_of(self.inputs, slice(0, trace.samples)))
        mutation = self._mutation(findings, outputs, reference, original)
        return VerificationReport(
            provider=self.provider,
            outputs=tuple(outputs),
            findings=tuple(with_self_test(findings, mutation, outputs)),
            placement=run.placement,
            samples=max((where.stop for where in self.plan), default=0),
            batch_sizes=tuple(sorted({where.stop - where.start for where in self.plan})),
            files={role: {"path": str(path), "sha256": sha256(path)} for role, path in self.files.items()},
            environment=environment(run.device),
            inputs={name: _description(array) for name, array in self.inputs.items()},
            localization=localization,
            mutation=mutation,
            stability=steady,
            edge_cases=edge_cases,
            fingerprint=self._fingerprint(sessions, reference, outputs),
        )

    def _run_findings(self, run: Run) -> Iterator[Finding]:
        if not self.plan:
            yield Finding(Verdict.INCONCLUSIVE, "no samples: nothing was compared", "vacuity")
            return
        done = len(run.batches)
        if run.failure and done < len(self.plan):
            where = self.plan[done]
            told = (
                f"the candidate fails where the original runs: samples {where.start} to {where.stop - 1}: {run.failure}"
            )
            yield Finding(Verdict.NOT_EQUIVALENT, told, "run")
            return
        if run.failure and done < len(self.plan) + 2:
            yield Finding(
                Verdict.NOT_EQUIVALENT, f"the candidate fails on samples it has taken before: {run.failure}", "run"
            )
        for words in attest(self.provider, run.placement):
            yield Finding(Verdict.NOT_ATTESTED, f"--provider {self.provider}: {words}", "attestation")

    def _values(self, sessions: Sessions, reference: Reference, algebra: Arrays) -> dict[str, Values]:
        stored = evaluate_candidate(self.model, self.inputs, self.plan, self.progress)
        run = self._joined(sessions.judged)
        assert run is not None
        cpu, tf32 = self._joined(sessions.cpu), self._joined(sessions.tf32)
        types = {value.name: value.dtype for value in self.model.graph.outputs}
        return {
            name: Values(
                oracle=oracle,
                baseline=reference.baseline[name],
                run=run[name],
                stored=stored.outputs[name],
                rounding=stored.rounding[name],
                algebra=algebra.get(name),
                cpu=None if cpu is None else cpu[name],
                tf32=None if tf32 is None else tf32[name],
                dtype=types.get(name),
            )
            for name, oracle in reference.oracle.items()
        }

    def _joined(self, run: Run | None) -> dict[str, np.ndarray] | None:
        """Return what a run gave for the samples; None where it did not come that far."""
        if run is None or len(run.batches) < len(self.plan):
            return None
        return as_doubles(joined(run.batches[: len(self.plan)]))

    def _stability(self, run: Run, outputs: Sequence[OutputReport]) -> tuple[Stability, ...] | None:
        if len(run.batches) < len(self.plan) + 2 or not self.plan:
            return None
        first = as_doubles(run.batches[self.plan.index(self.largest)])
        again, reverse = (as_doubles(batch) for batch in run.batches[len(self.plan) : len(self.plan) + 2])
        size = self.largest.stop - self.largest.start
        return tuple(
            stability(name, first[name], again[name], reverse[name], size, output.runtime.tolerance.limit)
            for name, output in ((output.name, output) for output in outputs)
        )

    def _mixes_samples(self, original: Original | None, steady: Sequence[Stability]) -> bool:
        """Say whether the original itself makes a sample depend on its neighbours; asked only if it matters."""
        if original is None or all(each.order is None or each.order.within(each.limit * 2) for each in steady):
            return False
        oracle, batch = Oracle.of(original.model), batch_of(self.inputs, self.largest)
        first = as_doubles(oracle.run(batch))
        reverse = as_doubles(oracle.run({name: array[::-1] if array.ndim else array for name, array in batch.items()}))
        return any(
            each.order is not None
            and not Size.of_difference(reverse[each.name][::-1], first[each.name]).within(each.limit * 2)
            for each in steady
        )

    def _edge_cases(
        self, run: Run, values: Mapping[str, Values], precisions: Precisions, reference: Reference
    ) -> tuple[EdgeCaseReport, ...]:
        if not values or not reference.edges:
            return ()
        usual = {name: Size.of(value.oracle) for name, value in values.items()}
        runs = run.batches[len(self.plan) + 2 :]
        return tuple(edge_reports(self.edges.names, reference.edges, runs, usual, precisions, run.failure))

    def _localization(
        self, values: Mapping[str, Values], outputs: Sequence[OutputReport], original: Original | None
    ) -> Localization | None:
        """Look for the node at fault on the sample, or the fixed batch, whose error is largest.

        Where nothing exceeds its limit, any sample is as good as another: then on the first, which is evaluated.
        """
        if original is None or not outputs:
            return None
        errors = np.zeros(self.samples)
        for output in outputs:
            value = values[output.name]
            if len(value.run) == self.samples:
                error = np.abs(value.run - value.oracle).reshape(self.samples, -1).max(axis=1, initial=0.0)
                errors = np.maximum(errors, error / max(output.runtime.tolerance.limit.largest, np.finfo(float).tiny))
        position = int(np.nanargmax(np.where(np.isnan(errors), np.inf, errors)))
        fed = [index for where in self.plan for index in range(where.start, where.stop)]
        failed = any(rung.judged and not rung.passed for output in outputs for rung in output.ladder)
        sample = fed[position if failed else 0]
        fixed = len({where.stop - where.start for where in self.plan}) == 1 and self.plan[0].stop > 1
        where = next(w for w in self.plan if w.start <= sample < w.stop) if fixed else slice(sample, sample + 1)
        try:
            references = References.of(original.model, original.folds, batch_of(self.inputs, where))
            return localize(self.model, references, sample)
        except TooLarge:
            return Localization("", sample, (), (), too_large=True)

    def _mutation(
        self,
        findings: Sequence[Finding],
        outputs: Sequence[OutputReport],
        reference: Reference,
        original: Original | None,
    ) -> Mutation | None:
        """Try wrong candidates, unless this one is wrong already: then there is nothing that they could show."""
        differs = any(finding.verdict is Verdict.NOT_EQUIVALENT for finding in findings)
        if not self.mutants or not outputs or differs:
            return None
        limits = {output.name: output.runtime.tolerance.limit for output in outputs}
        made = mutants(self.model, None if original is None else original.model, self.mutants)
        expected = Expected(reference.batches, limits)
        return try_mutants(self.model, made, self.inputs, self.plan, expected, self.progress)

    def _fingerprint(
        self, sessions: Sessions, reference: Reference, outputs: Sequence[OutputReport]
    ) -> Arithmetic | None:
        """Recognize the arithmetic of a run that fails where the stored graph is right, on its first batch."""
        failed = next((r.name for o in outputs for r in o.ladder if r.judged and not r.passed), None)
        if failed is not RungName.RUNTIME:
            return None
        inputs = batch_of(self.inputs, self.plan[0])
        return recognized(self.model, inputs, as_doubles(sessions.judged.batches[0]), reference.batches[0])


def _description(array: np.ndarray) -> dict[str, object]:
    """Say what was fed under one name."""
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"sha256": digest, "dtype": str(array.dtype), "shape": list(array.shape)}
