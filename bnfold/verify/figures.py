"""The figures of one output: how far it is from the oracle, in the measures that people quote."""

from dataclasses import asdict, dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bnfold.verify.oracle import Array
from bnfold.verify.rounding import UNIT_ROUNDOFF
from bnfold.verify.tolerance import Size


@dataclass(frozen=True)
class Agreement:
    """Top-1 decisions along axis 1: of ``counted`` clear ones, ``agreeing`` are the same; ``unclear`` are left out.

    A decision is clear where the oracle's best exceeds its second best by more than the noise.
    """

    counted: int
    agreeing: int
    unclear: int


@dataclass(frozen=True)
class Figures:
    """An output y against the oracle's y*, over all samples and elements, with e = y − y*.

    max_absolute = max|e| and rmse = √mean(e²), in units of the output. max_relative = max|e| / max|y*|.
    relative_rmse = √mean(e²) / √mean(y*²). cosine = y·y* / (|y|·|y*|). sqnr_db = 20·log10(1 / relative_rmse), infinite
    for e = 0. elements is how many numbers were compared. max_ulp and rms_ulp are the same norms of e in units in the
    last place of y*, as the output's own type would store it; None where that is not known.
    """

    elements: int
    max_absolute: float
    rmse: float
    max_relative: float
    relative_rmse: float
    cosine: float
    sqnr_db: float
    top1: Agreement | None = None
    max_ulp: float | None = None
    rms_ulp: float | None = None

    @property
    def error(self) -> Size:
        """Return the error's two norms."""
        return Size(self.rmse, self.max_absolute)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return asdict(self)


def figures(values: Array, oracle: Array, *, noise: float | None = None, dtype: ir.DataType | None = None) -> Figures:
    """Compare ``values`` with ``oracle``, both (N, ...) float64; ``noise`` adds top-1 decisions, ``dtype`` ULPs."""
    error, output = Size.of_difference(values, oracle), Size.of(oracle)
    ulps = _ulps(values, oracle, dtype)
    relative_rmse = _quotient(error.rms, output.rms)
    return Figures(
        elements=values.size,
        max_absolute=error.largest,
        rmse=error.rms,
        max_relative=_quotient(error.largest, output.largest),
        relative_rmse=relative_rmse,
        cosine=_cosine(values, oracle),
        sqnr_db=float(-20 * np.log10(relative_rmse)) if relative_rmse else np.inf,
        top1=None if noise is None else _top1(values, oracle, noise),
        max_ulp=None if ulps is None else ulps.largest,
        rms_ulp=None if ulps is None else ulps.rms,
    )


def _ulps(values: Array, oracle: Array, dtype: ir.DataType | None) -> Size | None:
    """Measure the error in units in the last place, 2u·2^⌊log₂|y*|⌋; tiny y* count as the smallest normal number."""
    if dtype is None or dtype not in UNIT_ROUNDOFF:
        return None
    smallest = float(ml_dtypes.finfo(dtype.numpy()).smallest_normal)
    with np.errstate(invalid="ignore", over="ignore"):
        _, exponent = np.frexp(np.maximum(np.abs(oracle), smallest))
        return Size.of((values - oracle) / np.ldexp(2 * UNIT_ROUNDOFF[dtype], exponent - 1))


def _quotient(error: float, scale: float) -> float:
    if not error:
        return 0.0
    return error / scale if scale else np.inf


def _cosine(values: Array, oracle: Array) -> float:
    """Return the cosine of the angle between the two; scaled first, so that no square overflows."""
    a, b = (array.ravel() / (np.abs(array).max(initial=0.0) or 1.0) for array in (values, oracle))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not norms:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(a @ b) / norms


def _top1(values: Array, oracle: Array, noise: float) -> Agreement | None:
    if oracle.ndim < 2 or oracle.shape[1] < 2 or not oracle.size:
        return None
    ranked = np.sort(oracle, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > noise
    same = values.argmax(axis=1) == oracle.argmax(axis=1)
    return Agreement(int(clear.sum()), int((same & clear).sum()), int((~clear).sum()))
