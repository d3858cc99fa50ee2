"""The supported operators: the table of rules, with what each rule says of itself."""

import re
from inspect import getdoc, getmodule

from bnfold.folding.rules import RULES, Rule


def table(column: str) -> str:
    """Return a table for every module of rules, one row a rule; ``column`` heads what a rule says."""
    modules: dict[str, dict[Rule, list[str]]] = {}
    for operator, rule in RULES.items():
        modules.setdefault(rule.__module__, {}).setdefault(rule, []).append(operator)
    return "\n\n".join(_module(rules, column) for rules in modules.values())


def _module(rules: dict[Rule, list[str]], column: str) -> str:
    heading = _first_line(getmodule(next(iter(rules)))).rstrip(".")
    rows = [f"| {', '.join(map(_link, operators))} | {_cell(rule)} |" for rule, operators in rules.items()]
    return "\n".join([f"## {heading}", "", f"| operators | {column} |", "|---|---|", *rows])


def _link(operator: str) -> str:
    return f"[{operator}](https://onnx.ai/onnx/operators/onnx__{operator}.html)"


def _cell(rule: Rule) -> str:
    says = _first_line(rule).partition(": ")[2] or _first_line(rule)
    return _INDEXED.sub(r"\1<sub>\2</sub>", says.replace("*", r"\*").replace("|", r"\|"))


_INDEXED = re.compile(r"\b([sσ])_([a-z])\b")
"""A gauge's scale or shift, of which value."""


def _first_line(thing: object) -> str:
    return (getdoc(thing) or "").partition("\n")[0]
