"""The geometry that convolution and pooling share: where each kernel tap falls on the input."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from bnfold.verify.oracle.types import Array, Value


@dataclass(frozen=True)
class Windows:
    """Sliding windows over the spatial axes of an array ``(N, C, *spatial)``; one entry an axis in every field.

    Output position o reads, at kernel tap k, the input position o·stride + k·dilation − before.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    overhang: tuple[int, ...]
    output: tuple[int, ...]

    @classmethod
    def of(
        cls,
        spatial: Sequence[int],
        kernel: Sequence[int],
        *,
        strides: Sequence[int] | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
        auto_pad: str | None,
        ceil_mode: int | None = 0,
    ) -> "Windows":
        """Resolve the attributes of Conv and of the pooling operators (ONNX Conv-11, MaxPool-12, AveragePool-19).

        ``overhang`` is what ceil mode needs beyond the declared padding to complete its last window.
        """
        rank = len(spatial)
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
            output = [ceil(size / stride) for size, stride in zip(spatial, strides, strict=True)]
            geometry = zip(spatial, extents, strides, output, strict=True)
            totals = [max(0, (out - 1) * stride + extent - size) for size, extent, stride, out in geometry]
            before = [total // 2 if auto_pad == "SAME_UPPER" else total - total // 2 for total in totals]
            after = [total - first for total, first in zip(totals, before, strict=True)]
        else:
            pads = [0] * (2 * rank) if auto_pad == "VALID" or not pads else pads
            before, after = list(pads[:rank]), list(pads[rank:])
            output: list[int] = []
            for axis, (size, extent, stride) in enumerate(zip(spatial, extents, strides, strict=True)):
                reach = size + before[axis] + after[axis] - extent
                count = (ceil(reach / stride) if ceil_mode else reach // stride) + 1
                # A window that starts beyond the input and its left padding does not count.
                if ceil_mode and (count - 1) * stride >= size + before[axis]:
                    count -= 1
                output.append(count)
        geometry = zip(spatial, extents, strides, before, after, output, strict=True)
        overhang = [max(0, (o - 1) * stride + e - size - b - a) for size, e, stride, b, a, o in geometry]
        fields = (kernel, strides, dilations, before, after, overhang, output)
        return cls(*(tuple(field) for field in fields))

    def pad(self, x: Array, fill: float = 0.0) -> Array:
        """Return ``x`` with its spatial axes padded by ``fill``, the overhang included."""
        return self.pad_overhang(self.pad_declared(x, fill), fill)

    def pad_declared(self, x: Array, fill: float = 0.0) -> Array:
        """Return ``x`` with its spatial axes padded by ``fill`` as the attributes say."""
        return _padded(x, self.before, self.after, fill)

    def pad_overhang(self, x: Array, fill: float = 0.0) -> Array:
        """Return ``x``, already padded as declared, with what ceil mode's last windows lack."""
        return _padded(x, [0] * len(self.overhang), self.overhang, fill)

    def pad_with(self, x: Value, fill: int) -> Value:
        """Return integers padded as `pad` pads numbers."""
        widths = [(0, 0)] * (x.ndim - len(self.before))
        widths += [(b, a + o) for b, a, o in zip(self.before, self.after, self.overhang, strict=True)]
        return np.pad(x, widths, constant_values=fill)

    def taps(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Yield every kernel tap with the slices of the padded input, one an axis, that it reads over all outputs."""
        for tap in itertools.product(*map(range, self.kernel)):
            starts = [k * dilation for k, dilation in zip(tap, self.dilations, strict=True)]
            geometry = zip(starts, self.output, self.strides, strict=True)
            yield tap, tuple(slice(start, start + (out - 1) * stride + 1, stride) for start, out, stride in geometry)


def _padded(x: Array, before: Sequence[int], after: Sequence[int], fill: float) -> Array:
    if not any(before) and not any(after):
        return x
    widths = [(0, 0)] * (x.ndim - len(before)) + list(zip(before, after, strict=True))
    return np.pad(x, widths, constant_values=fill)
