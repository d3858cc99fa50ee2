"""Does a graph hold together: the checker of the onnx package, with types and shapes inferred throughout."""

import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.errors import InputError


def check(model: ir.Model, *, what: str, strict: bool = True) -> None:
    """Check ``model``, which stays as it is; large weights are not copied.

    Args:
        model: the model in question.
        what: the subject of the error message, for example ``"not a valid ONNX model"``.
        strict: infer types and shapes too, and hold the declared ones against them. A few valid models do not pass,
            since onnx's inference has gaps of its own.

    Raises:
        InputError: the checker objects; the first line of what it says is the reason.
    """
    reason = objection(model, strict=strict)
    if reason is not None:
        raise InputError(f"{what}: {reason}")


def objection(model: ir.Model, *, strict: bool) -> str | None:
    """Return the first line of what the checker objects to, or None."""
    try:
        passes.CheckerPass(full_check=strict)(model)
    except Exception as error:  # the checker's and the inference's errors have no base class in common
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return None
