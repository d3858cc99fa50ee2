"""A few nodes of a graph as a picture: producers above consumers, one layer a step."""

from collections.abc import Mapping, Sequence
from typing import Any

from bnfold.verify.reports.html.markup import Markup, element, joined

_WIDTH, _HEIGHT, _APART, _BELOW = 166, 40, 10, 26
_LETTERS = 24
"""Letters of a name that fit into a box; the whole name is its tooltip."""


def graph(picture: Mapping[str, Any], caption: str) -> Markup:
    """Draw ``nodes`` and ``edges`` of a picture as ``bnfold.verify.reports.folds`` makes it."""
    nodes = picture["nodes"]
    # A report may come from anywhere: what joins no two nodes of the picture is left out.
    edges = [edge for edge in picture["edges"] if len(edge) == 2 and max(edge) < len(nodes)]
    layers = _layers(len(nodes), edges)
    corners = _corners(layers)
    width = max(x for x, _ in corners) + _WIDTH + 2
    height = max(y for _, y in corners) + _HEIGHT + 2
    told = f"{caption}: {', '.join(node['op_type'] + ' ' + node['name'] for node in nodes)}"
    drawing = element(
        "svg",
        *(_edge(corners[a], corners[b]) for a, b in edges),
        *(_box(node, corner) for node, corner in zip(nodes, corners, strict=True)),
        viewBox=f"0 0 {width} {height}",
        width=width,
        role="img",
        aria_label=told,
        class_="graph",
    )
    return element("figure", element("figcaption", caption), drawing)


def _layers(number: int, edges: Sequence[Sequence[int]]) -> list[int]:
    """Return for each node the length of the longest path to it; nodes are in topological order or nearly so."""
    layers = [0] * number
    for _ in range(number):
        for producer, consumer in edges:
            layers[consumer] = min(max(layers[consumer], layers[producer] + 1), number - 1)
    return layers


def _corners(layers: Sequence[int]) -> list[tuple[int, int]]:
    filled: dict[int, int] = {}
    corners: list[tuple[int, int]] = []
    for layer in layers:
        column = filled.get(layer, 0)
        filled[layer] = column + 1
        corners.append((1 + column * (_WIDTH + _APART), 1 + layer * (_HEIGHT + _BELOW)))
    return corners


def _edge(above: tuple[int, int], below: tuple[int, int]) -> Markup:
    x1, y1 = above[0] + _WIDTH // 2, above[1] + _HEIGHT
    x2, y2 = below[0] + _WIDTH // 2, below[1]
    head = f"M{x2 - 4} {y2 - 7} L{x2} {y2 - 1} L{x2 + 4} {y2 - 7}"
    return joined(
        element("path", d=f"M{x1} {y1} C{x1} {y1 + 14} {x2} {y2 - 14} {x2} {y2 - 1}", class_="edge"),
        element("path", d=head, class_="edge"),
    )


def _box(node: Mapping[str, str], corner: tuple[int, int]) -> Markup:
    x, y = corner
    name = node["name"] if len(node["name"]) <= _LETTERS else f"…{node['name'][1 - _LETTERS :]}"
    return element(
        "g",
        element("title", f"{node['op_type']} {node['name']} ({node['role']})"),
        element("rect", x=x, y=y, width=_WIDTH, height=_HEIGHT, rx=5),
        element("text", node["op_type"], x=x + 8, y=y + 16, class_="operator"),
        element("text", name, x=x + 8, y=y + 32, class_="name"),
        class_=f"node {node['role']}",
    )
