"""Data in the floating-point type that a graph takes: NumPy makes float64 of what it is not told about."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bnfold.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from bnfold.verify.signature import Signature

    Arrays = Mapping[str, np.ndarray[Any, Any]]


def cast_inputs(signature: "Signature", inputs: "Arrays") -> "tuple[dict[str, np.ndarray[Any, Any]], tuple[str, ...]]":
    """Return ``inputs`` with floating-point arrays rounded to the type of their port, and a note on each of those.

    Other types are not touched: whether the bytes of an image are to be scaled first is not known here.

    Raises:
        InputError: a number does not fit the port's type, or a type is no floating-point one where the graph takes one.
    """
    import numpy as np

    ports = {port.name: port for port in signature.inputs}
    result = dict(inputs)
    notes: list[str] = []
    for name, array in inputs.items():
        port = ports.get(name)
        if port is None or port.dtype is None or array.dtype == port.dtype.numpy() or array.dtype == object:
            continue
        wanted = port.dtype.numpy()
        if not (port.dtype.is_floating_point() and array.dtype.kind == "f"):
            raise InputError(
                f"input {name}: the graph expects {wanted}, found {array.dtype}; store what the model was trained on, "
                f"in that type: {name}.astype({str(wanted)!r})."
            )
        with np.errstate(over="ignore", under="ignore"):
            result[name] = array.astype(wanted)
        if not np.isfinite(result[name].astype(np.float64)).all():
            largest = np.abs(array).max()
            raise InputError(f"input {name}: {largest:.3g} does not fit {wanted}, which the graph expects.")
        notes.append(f"{name} was converted from {array.dtype} to {wanted}, which the model takes.")
    return result, tuple(notes)
