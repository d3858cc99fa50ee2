"""The format of a bundle: a model, and the evidence that it is the network that it was made from.

`bnfold.export` writes it, `bnfold.verify` judges it, and `bnfold.bundle.reader` reads it for both. Here are only the
names of its files, so that looking for a bundle imports nothing heavy.
"""

from bnfold.bundle.layout import FOLD, GOLDEN, MANIFEST, MODEL, README

__all__ = ["FOLD", "GOLDEN", "MANIFEST", "MODEL", "README"]
