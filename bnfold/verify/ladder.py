"""The ladder: from the original in float64 down to the device, one figure a rung, so that causes are told apart."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bnfold.verify.emulation import Arithmetic
from bnfold.verify.tolerance import Size, Tolerance


class RungName(StrEnum):
    """The rungs of the ladder, from the original in float64 down to the device."""

    ALGEBRA = "algebra"
    STORAGE = "storage"
    FLOAT16 = "float16"
    CPU = "cpu"
    RUNTIME = "runtime"
    TF32 = "tf32"


@dataclass(frozen=True)
class Rung:
    """One step from the original in float64 towards the candidate where it will run, judged by itself.

    ALGEBRA is the fold carried out in double and not rounded, evaluated in double; STORAGE the candidate as it is
    stored, evaluated in double, and FLOAT16 the same where it stores weights in half precision and the original does
    not; RUNTIME the candidate on its provider. CPU is the candidate on the CPU where its provider is another one, TF32
    on its provider with that allowed: both are measured beside the verdict, and not ``judged``.

    ``error`` is against the original in float64, over ``samples``.
    """

    name: RungName
    error: Size
    tolerance: Tolerance
    judged: bool = True
    samples: int | None = None

    @property
    def passed(self) -> bool:
        """Say whether the error is within the limit."""
        return self.error.within(self.tolerance.limit)

    @property
    def excess(self) -> float:
        """Return the error as a multiple of the limit, by the norm that is worse."""
        return self.error / self.tolerance.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the rung for JSON."""
        return {
            "name": self.name.value,
            "passed": self.passed,
            "judged": self.judged,
            "samples": self.samples,
            "error_over_limit": self.excess,
            "error": asdict(self.error),
            "limit": asdict(self.tolerance.limit),
            "baseline": asdict(self.tolerance.baseline),
            "floor": asdict(self.tolerance.floor),
        }


def worst(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    """Return each rung once, in the order of the ladder: the one that is closest to its limit, or exceeds it most."""
    by_name = {name: [rung for rung in rungs if rung.name is name] for name in RungName}
    return tuple(max(same, key=_badness) for same in by_name.values() if same)


def where_the_error_enters(rungs: Sequence[Rung], fingerprint: Arithmetic | None = None) -> str:
    """Return a sentence that names the first rung that exceeds its limit, or where most of the error comes from.

    ``rungs`` are those of one output, or the worst of each, in the order of the ladder.
    """
    if not rungs:
        return "Nothing was compared."
    failed = next((rung for rung in rungs if rung.judged and not rung.passed), None)
    if failed is None:
        return _main_source([rung for rung in rungs if rung.judged])
    name = failed.name
    if name is RungName.RUNTIME and fingerprint is not None:
        how = f"its errors are those of {fingerprint} arithmetic"
        return f"The error enters on the rung runtime: the stored graph is right, the provider rounds; {how}."
    on_cpu = next((rung for rung in rungs if rung.name is RungName.CPU), None)
    if name is RungName.RUNTIME and on_cpu is not None:
        also = "the CPU runtime is right" if on_cpu.passed else "the CPU runtime is wrong as well"
        return f"The error enters on the rung runtime: {WHERE[name]} ({also})."
    return f"The error enters on the rung {name}: {WHERE[name]}."


WHERE = {
    RungName.ALGEBRA: "the fold itself is wrong, in exact arithmetic",
    RungName.STORAGE: "the candidate's graph or weights are wrong, before any runtime",
    RungName.FLOAT16: "the candidate's weights in half precision are further off than one rounding makes them",
    RungName.CPU: "the graph is right, the CPU runtime's result is not",
    RungName.RUNTIME: "the graph is right, the runtime's result is not",
    RungName.TF32: "with TF32 allowed, the result is further off than TF32 makes it",
}
"""What a failure means on the first rung where it shows."""


def _main_source(rungs: Sequence[Rung]) -> str:
    """Name the first rung that has more than half of the error of the last: errors add in quadrature."""
    last = rungs[-1].error.rms
    source = next((rung for rung in rungs if rung.error.rms > last / 2), None)
    if source is None:
        return "No rung exceeds its limit; there is no error."
    return f"No rung exceeds its limit; most of the error there is enters on the rung {source.name}."


def _badness(rung: Rung) -> float:
    return math.inf if math.isnan(rung.excess) else rung.excess
