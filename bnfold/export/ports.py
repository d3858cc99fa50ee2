"""Inputs and outputs as the caller wants them: their names and extents."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.errors import InputError
from bnfold.graph.quiet import quiet
from bnfold.graph.reshapes import free_batches
from bnfold.graph.shapes import Dims, dims_of
from bnfold.verify.oracle import Oracle

STEP = 32
"""By how much an extent that is to vary grows when the graph is tried: networks halve their maps five times."""


def rename_ports(model: ir.Model, names: Mapping[str, str]) -> None:
    """Rename inputs and outputs, in place.

    Raises:
        InputError: there is no such input or output, or a new name is empty or taken.
    """
    ports = {value.name: value for value in (*_inputs(model), *model.graph.outputs)}
    taken = {name for name in ir.convenience.create_value_mapping(model.graph) if name} - names.keys()
    for old, new in names.items():
        if old not in ports:
            found = ", ".join(str(name) for name in ports)
            raise InputError(f"rename {old}={new}: the graph has no such input or output; it has {found}.")
        if not new or new in taken:
            raise InputError(f"rename {old}={new}: the name is {'taken' if new else 'empty'}; choose another one.")
        taken.add(new)
    for old, new in names.items():
        ports[old].name = new


def parse_shape(text: str) -> tuple[str, Dims]:
    """Read ``NAME=EXTENT,EXTENT,…``, where an extent is a number or the name of one that varies.

    Raises:
        InputError: it is malformed.
    """
    name, _, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    dims = tuple(int(part) if part.isdecimal() else part for part in parts)
    if not name or not all(dim > 0 if isinstance(dim, int) else dim.isidentifier() for dim in dims):
        raise InputError(f"shape {text!r}: expected NAME=EXTENT,EXTENT,…, extents being positive numbers or names.")
    return name, dims


def set_shapes(model: ir.Model, shapes: Mapping[str, Dims]) -> None:
    """Declare inputs to have the given extents, in place, and infer the outputs' anew.

    Where an extent is to be another than the file says, the graph is tried: it is evaluated with extents that differ,
    and a batch is held to its samples one by one. A Reshape that stores the old batch copies it from its input instead;
    a file may hold on to an old extent in other ways.

    Raises:
        InputError: there is no such input, it has another number of axes, or the graph holds on to an old extent.
    """
    ports = {value.name: value for value in _inputs(model)}
    old: dict[str, Dims] = {name: dims_of(v.shape) for name, v in ports.items() if name and v.shape is not None}
    for name, dims in shapes.items():
        if name not in ports:
            raise InputError(f"shape of {name}: the graph has no such input; it has {', '.join(old)}.")
        if len(old.get(name, dims)) != len(dims):
            raise InputError(f"shape of {name}: expected {len(old[name])} extents, found {len(dims)}.")
    _infer_shapes(model)
    free_batches(model)
    for name, dims in shapes.items():
        ports[name].shape = ir.Shape(dims)
    for value in (*model.graph.outputs, *(v for node in model.graph for v in node.outputs)):
        value.shape = None
    _infer_shapes(model)
    symbols = {dim for value in ports.values() if value.shape is not None for dim in dims_of(value.shape)}
    for value in model.graph.outputs:  # inference makes up names for what it cannot follow
        if value.shape is not None:
            dims = dims_of(value.shape)
            value.shape = ir.Shape([dim if isinstance(dim, int) or dim in symbols else None for dim in dims])
    _try_extents(model, old)


def _infer_shapes(model: ir.Model) -> None:
    with quiet():
        passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)


def extents_for_samples(before: Dims, after: Dims) -> Dims:
    """Return extents to draw samples with: the new ones, but for other axes than the first the old where they vary."""
    pairs = zip(before[1:], after[1:], strict=True)
    return (*after[:1], *(new if isinstance(new, int) else was for was, new in pairs))


def _try_extents(model: ir.Model, old: Mapping[str, Dims]) -> None:
    """Evaluate the graph at extents that it did not declare before."""
    new = {name: dims_of(v.shape) for v in _inputs(model) if (name := v.name) and v.shape is not None}
    if new == dict(old) or any(v.dtype is None or not _drawable(v.dtype) for v in _inputs(model)):
        return
    oracle, generator = Oracle(model), np.random.default_rng(0)
    types = {v.name or "": v.dtype for v in _inputs(model)}
    for batch, grown in ((1, 0), (3, 0), (1, STEP)):
        extents = {name: _concrete(dims, old.get(name, dims), batch, grown) for name, dims in new.items()}
        if any(dims is None for dims in extents.values()):
            return  # an extent that was not known before either: nothing is claimed that the file does not claim
        feeds = {name: _drawn(generator, dims or (), types[name]) for name, dims in extents.items()}
        try:
            whole = oracle.run(feeds)
            if batch > 1 and all(dims[:1] and isinstance(dims[0], str) for dims in new.values()):
                last = oracle.run({name: array[-1:] for name, array in feeds.items()})
                agree = all(np.allclose(whole[n][-1:], last[n], rtol=1e-9, atol=1e-12) for n in last)
                if not agree:
                    raise InputError("a sample's outputs depend on the other samples of its batch")
        except (InputError, ValueError) as error:
            tried = ", ".join(f"{name} {tuple(dims or ())}" for name, dims in extents.items())
            raise InputError(f"shape: the graph cannot take {tried}: {error}") from error


def _concrete(dims: Dims, before: Dims, batch: int, grown: int) -> Sequence[int] | None:
    """Return numbers for extents: the batch, the old extent where one varies now, a little more if ``grown``."""
    result: list[int] = []
    for axis, (dim, was) in enumerate(zip(dims, before, strict=True)):
        if isinstance(dim, int):
            result.append(dim)
        elif axis == 0:
            result.append(batch)
        elif isinstance(was, int):
            result.append(was + grown)
        else:
            return None
    return result


def _drawable(dtype: ir.DataType) -> bool:
    return dtype.is_floating_point() or dtype is ir.DataType.UINT8


def _drawn(generator: np.random.Generator, extents: Sequence[int], dtype: ir.DataType | None) -> np.ndarray:
    if dtype is ir.DataType.UINT8:
        return generator.integers(0, 255, extents, dtype=np.uint8, endpoint=True)
    return generator.standard_normal(extents)


def _inputs(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if not value.is_initializer()]
