"""Inputs and outputs of a bundle as its callers want them: names, preprocessing, extents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnfold.errors import InputError
from bnfold_cli.work.verify import SAMPLES, sample_inputs

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from bnfold.verify.samples import Range


@dataclass(frozen=True)
class Ports:
    """What the user asks for.

    Attributes:
        preprocess: what `bnfold.export.preprocess.Preprocessing.parse` reads.
        shapes: what `bnfold.export.ports.parse_shape` reads, for names as in the source.
        names: ``OLD=NEW``.
    """

    preprocess: str | None = None
    shapes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return what was asked for, for the provenance of a bundle; nothing where it is nothing."""
        asked = {"preprocess": self.preprocess, "shapes": list(self.shapes), "names": list(self.names)}
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True)
class Sampling:
    """How golden inputs are drawn: from a twin of the graph, whose extents are known, and from ranges."""

    graph: "ir.Model"
    ranges: "Mapping[str, Range]"

    def draw(self, *, data: str | None, samples: int | None, seed: int) -> "dict[str, npt.NDArray[Any]]":
        """Return golden inputs.

        Raises:
            InputError: as `sample_inputs`.
        """
        ranges = self.ranges if data is None else None
        return sample_inputs(self.graph, data=data, samples=samples, seed=seed, at_most=SAMPLES, ranges=ranges)


def prepare(graph: "ir.Model", ports: Ports) -> Sampling:
    """Preprocess, reshape and rename ``graph`` in place, in this order, and return how to draw inputs for it.

    Raises:
        InputError: what was asked for is malformed, or the graph cannot follow.
    """
    import onnx_ir as ir

    from bnfold.export.ports import extents_for_samples, parse_shape, rename_ports, set_shapes
    from bnfold.export.preprocess import BYTES, Preprocessing, add_preprocessing
    from bnfold.graph.shapes import Dims, dims_of
    from bnfold.verify.samples import Range

    names = _pairs(ports.names)
    ranges: dict[str, Range] = {}
    if ports.preprocess is not None:
        preprocessing = Preprocessing.parse(ports.preprocess)
        name = add_preprocessing(graph, preprocessing)
        if preprocessing.uint8:
            ranges[names.get(name, name)] = Range(0, BYTES)
    twin = graph.clone()
    shapes: dict[str, Dims] = {}
    for text in ports.shapes:
        port, dims = parse_shape(text)
        if port in shapes:
            raise InputError(f"--shape, --dynamic {text}: {port} has been given extents already; give them once.")
        shapes[port] = dims
    if shapes:
        set_shapes(graph, shapes)
        for value in twin.graph.inputs:
            wanted = shapes.get(value.name or "")
            if wanted is not None:
                value.shape = ir.Shape(
                    wanted if value.shape is None else extents_for_samples(dims_of(value.shape), wanted)
                )
    for each in (graph, twin):
        rename_ports(each, names)
    return Sampling(twin, ranges)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return ``OLD=NEW`` as a mapping."""
    pairs: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals):
            raise InputError(f"--rename {text}: expected OLD=NEW.")
        if old in pairs:
            raise InputError(f"--rename {text}: {old} has been renamed already; give it one name.")
        pairs[old] = new
    return pairs
