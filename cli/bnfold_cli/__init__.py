"""The command line of bnfold: parsing in ``commands``, the steps in ``work``, tables in ``rendering``.

Nothing here imports NumPy, ONNX, ONNX Runtime or torch at import time: ``bnfold --help`` answers at once, and
``bnfold fold`` works where torch is not installed.
"""
