"""Linear operators that are one: parallel and sequential convolutions of an ONNX graph, merged exactly.

`geometry` and `convolution` are the algebra, `operators` says which operators are convolutions, `plan` finds what is
worth merging and only reads, `apply` writes it. RepVGG, MobileOne, RepGhost and other networks made of branches that
merge are found in the graph, by what they compute; no class is known here.
"""

from bnfold.merging.merge import merge
from bnfold.merging.report import Hindrance, Merge, MergeReport, Rule, Unmerged

__all__ = ["Hindrance", "Merge", "MergeReport", "Rule", "Unmerged", "merge"]
