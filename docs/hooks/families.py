"""Small graphs of every family, folded when the site is built: what a page says is what the engine does now.

A page holds one graph as a block of ONNX's own text, in which every weight is declared and none has values, and behind
it the line ``<!-- fold: kept N, with no-bn M -->``.
"""

import re

import numpy as np
import onnx
import onnx_ir as ir

from bnfold.folding import Objective, fold
from bnfold.folding.report import FoldReport

_GRAPH = re.compile(r"(```text\n(<ir_version.*?)```\n\n)<!-- fold: (.+?) -->", flags=re.DOTALL)


def folded(markdown: str) -> str:
    """Return the page with each claim behind a graph replaced by what becomes of every normalization in it.

    Raises:
        ValueError: the page claims another number of normalizations that stay.
    """
    return _GRAPH.sub(lambda found: found[1] + _outcomes(found[2], found[3]), markdown)


def with_weights(text: str) -> ir.Model:
    """Return the graph with random numbers for the weights that it declares; variances and γ are positive."""
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    made = {name for node in proto.graph.node for name in node.output}
    for value in list(proto.graph.value_info):
        if value.name not in made:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            drawn = rng.uniform(0.5, 2.0, shape) if len(shape) == 1 else rng.normal(size=shape)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(drawn.astype(np.float32), value.name))
    onnx.checker.check_model(proto)
    return ir.from_proto(proto)


def _outcomes(text: str, claim: str) -> str:
    free, all_ = (fold(with_weights(text), objective) for objective in (Objective.LATENCY, Objective.NO_BN))
    found = f"kept {free.kept_count}, with no-bn {all_.kept_count}"
    if found != claim:
        raise ValueError(f"the page says {claim!r}, the engine {found!r}: {_table(free, all_)}")
    return _table(free, all_)


def _table(free: FoldReport, all_: FoldReport) -> str:
    rows = [
        f"| `{one.name}` | {_outcome(one.into, one.detail)} | {_outcome(other.into, other.detail)} |"
        for one, other in zip(free.batch_norms, all_.batch_norms, strict=True)
    ]
    return "\n".join(["| BN | `--objective latency` | `--objective no-bn` |", "|---|---|---|", *rows])


def _outcome(into: tuple[str, ...], detail: str) -> str:
    return f"folded into {', '.join(f'`{name}`' for name in into)}" if into else f"kept: {detail}"
