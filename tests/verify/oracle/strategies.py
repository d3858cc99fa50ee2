"""Random geometries of sliding windows, for convolutions and pooling alike."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Geometry:
    """Extents of an input and the attributes of a window that slides over it; at least one window fits."""

    spatial: tuple[int, ...]
    attributes: dict[str, Any]

    @property
    def kernel(self) -> list[int]:
        """Return the window's extents."""
        return self.attributes["kernel_shape"]


@st.composite
def geometries(draw: st.DrawFn, *, auto: bool = True, dilated_same: bool = True) -> Geometry:
    """Draw rank, kernel, strides, dilations, and pads or auto_pad; pads stay below the kernel, as pooling demands.

    ONNX Runtime pools with auto_pad=SAME_* as if nothing were dilated, and not at all where strides exceed the kernel;
    without ``dilated_same`` neither occurs.
    """
    rank = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel, strides = per_axis(1, 3), per_axis(1, 3)
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"] if auto else ["NOTSET"]))
    dilations = per_axis(1, 2) if dilated_same or not auto_pad.startswith("SAME") else [1] * rank
    if auto_pad.startswith("SAME") and not dilated_same:
        strides = [min(stride, size) for stride, size in zip(strides, kernel, strict=True)]
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    spatial = tuple(extent + more for extent, more in zip(extents, per_axis(0, 4), strict=True))
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    if auto_pad != "NOTSET":
        return Geometry(spatial, {**attributes, "auto_pad": auto_pad})
    return Geometry(spatial, {**attributes, "pads": [draw(st.integers(0, size - 1)) for size in kernel + kernel]})
