"""The channel-gauge engine: Batch Normalization out of a graph, exactly.

`affine` and `gauges` are the algebra; `labels` and `site` put it on a graph; `rules` say what each operator does to it;
`plan` solves and only reads; `apply` edits and only follows the plan.
"""

from bnfold.folding.apply import apply_plan
from bnfold.folding.costs import COSTS
from bnfold.folding.counts import Counts, count_nodes
from bnfold.folding.fold import fold, inspect
from bnfold.folding.plan import Objective, Plan, make_plan
from bnfold.folding.report import Change, FoldReport, Outcome, Reason

__all__ = [
    "COSTS",
    "Change",
    "Counts",
    "FoldReport",
    "Objective",
    "Outcome",
    "Plan",
    "Reason",
    "apply_plan",
    "count_nodes",
    "fold",
    "inspect",
    "make_plan",
]
