"""The trace of a bundle: what every value inside its model has to be on one batch of golden samples, in few numbers.

`bnfold.verify.trace` makes it and holds models to it; here is its form as a file, in safetensors:

| tensor | shape | what |
|---|---|---|
| ``sketch`` | (V, P) | of each of V values, by `bnfold.verify.sketch`; behind that of a value of few elements zeros |
| ``size`` | (V, 2) | root mean square and largest magnitude of the sketch |
| ``rounding`` | (V, 2) | the same of how far roundings of all weights move the sketch |
| ``gauge`` | (V, 4) | smallest and largest scale, smallest and largest shift; NaN where it could not be measured |

All are float64. The file's metadata hold one entry, ``trace``, a JSON object: ``names`` and ``shapes`` of the values,
in order of execution, ``reference``, the words for what they come from, and ``samples``, how many golden samples the
batch has.
"""

import json
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from bnfold.json_text import strict_json

Array = npt.NDArray[np.float64]

_COLUMNS = {"sketch": None, "size": 2, "rounding": 2, "gauge": 4}
"""The tensors of the file, and how many columns each has; None: as many as it likes."""


class MalformedTraceError(ValueError):
    """What is wrong with a trace, as the second half of a sentence."""


@dataclass(frozen=True)
class Trace:
    """The values inside a model on its first golden samples; rows and columns as above.

    Attributes:
        reference: what the values come from, in words.
        samples: how many golden samples they were computed on, the first ones.
        names: of the values, in order of execution.
        shapes: of the values.
        sketch: (V, P).
        size: (V, 2).
        rounding: (V, 2).
        gauge: (V, 4).
    """

    reference: str
    samples: int
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    sketch: Array
    size: Array
    rounding: Array
    gauge: Array

    def to_bytes(self) -> bytes:
        """Return the content of the file; equal traces give equal bytes."""
        about = {key: getattr(self, key) for key in ("names", "shapes", "reference", "samples")}
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _COLUMNS}
        # One entry: safetensors writes several in an order of its own, every time another one.
        return safetensors.numpy.save(tensors, {"trace": json.dumps(about)})

    @classmethod
    def from_file(cls, path: str) -> Self:
        """Read what `to_bytes` returned.

        Raises:
            MalformedTraceError: it is not that.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = strict_json((file.metadata() or {})["trace"])
                tensors = {name: file.get_tensor(name) for name in _COLUMNS}
            names, shapes = tuple(about["names"]), tuple(map(tuple, about["shapes"]))
            samples, reference = int(about["samples"]), str(about["reference"])
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise MalformedTraceError(f"not a trace: {error}") from error
        whole = all(isinstance(dim, int) and dim >= 0 for shape in shapes for dim in shape)
        if len(shapes) != len(names) or not whole or not all(isinstance(name, str) for name in names) or samples < 1:
            raise MalformedTraceError("names, shapes and samples do not fit each other")
        for name, columns in _COLUMNS.items():
            array = tensors[name]
            expected = (len(names), columns or array.shape[-1])
            if array.dtype != np.float64 or array.shape != expected:
                raise MalformedTraceError(f"{name}: expected float64{expected}, found {array.dtype}{array.shape}")
            if name != "gauge" and not np.isfinite(array).all():
                raise MalformedTraceError(f"{name} is not finite")
        return cls(reference, samples, names, shapes, **tensors)
