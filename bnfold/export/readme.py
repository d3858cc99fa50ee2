"""The page in a bundle that says what it is and how to load it."""

from bnfold.bundle.manifest import Manifest, Port

_TEXT = """\
# {model}, folded by bnfold

`{model}` is ready to serve: ONNX opset {opset}, Batch Normalization folded into the weights. The folder also holds the
evidence that it computes the same as the network that it was made from.

| | name | type | shape |
|---|---|---|---|
{ports}

## Load it in Python

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{model}", providers=["CPUExecutionProvider"])  # or "CUDAExecutionProvider"
inputs = {{
{feeds}
}}
outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))
```

## Check it

    bnfold verify .

This holds the model, on the device that will serve it, to the {samples} golden samples in `golden.safetensors`: the
inputs (`input/NAME`), the float64 outputs of the unfolded network (`output/NAME`), and its outputs in its own precision
(`baseline/NAME`). Neither the network's code nor torch is needed.

| file | what |
|---|---|
| `{model}` | the model |
| `golden.safetensors` | the evidence |
| `fold.json` | what became of every Batch Normalization, and why; merged operators, and types that changed |
| `manifest.json` | versions, provenance, and the SHA-256 of every file |
"""

_NUMPY = {"float": "float32", "double": "float64"}


def readme(manifest: Manifest, model: str) -> str:
    """Return the text, for the model file called ``model``."""
    rows = [("input", port) for port in manifest.inputs] + [("output", port) for port in manifest.outputs]
    return _TEXT.format(
        model=model,
        opset=manifest.opset,
        ports="\n".join(f"| {kind} | `{port.name}` | {port.type} | {_shape(port)} |" for kind, port in rows),
        feeds="\n".join(f'    "{port.name}": {_example(port)},' for port in manifest.inputs),
        samples=manifest.samples,
    )


def _shape(port: Port) -> str:
    return "?" if port.shape is None else f"({', '.join('?' if dim is None else str(dim) for dim in port.shape)})"


def _example(port: Port) -> str:
    extents = ", ".join(str(dim) if isinstance(dim, int) else "1" for dim in port.shape or ())
    return f'np.zeros([{extents}], "{_NUMPY.get(port.type, port.type)}")'
