"""Batch Normalization out of torch modules: the plan is made on the captured graph, and written back to a copy.

`fold` is the call; `batch_norms` says which module stands behind a node of the graph, `places` where the module keeps
what the graph reads, `limits` what follows from that for the plan, and `write` carries the plan over to the module.
"""

from bnfold.modules.fold import ExampleInputs, ModuleT, fold_module, inspect_module

__all__ = ["ExampleInputs", "ModuleT", "fold_module", "inspect_module"]
