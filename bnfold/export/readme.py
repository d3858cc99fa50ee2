"""The page in a bundle that says what it is and how to load it."""

import json
import math
from collections.abc import Iterator

from bnfold.bundle.manifest import Manifest, Port
from bnfold.export.target import TargetReport

_TEXT = """\
# {model}, folded by bnfold

`{model}` is ready to serve: ONNX opset {opset}, Batch Normalization folded into the weights. The folder also holds the
evidence that it computes the same as the network that it was made from.{target}

| | name | type | shape |
|---|---|---|---|
{ports}

## Load it in Python

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{model}", providers=["CPUExecutionProvider"]){device}
inputs = {{
{feeds}
}}
outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))
```

## Load it in C++

```cpp
{cpp}
```

## Serve it with Triton

`config.pbtxt` is the model's configuration for NVIDIA's Triton Inference Server, whose repository has a folder for
every version of a model:

    mkdir -p models/NAME/1
    cp model*.onnx* models/NAME/1/
    cp config.pbtxt models/NAME/
    tritonserver --model-repository models

## Check it

    bnfold verify .

This holds the model, on the device that will serve it, to the {samples} golden samples in `golden.safetensors`: the
inputs (`input/NAME`), the float64 outputs of the unfolded network (`output/NAME`), and its outputs in its own precision
(`baseline/NAME`). Neither the network's code nor torch is needed.{trace}

| file | what |
|---|---|
| `{model}` | the model |
| `golden.safetensors` | the evidence |{trace_row}
| `fold.json` | what became of every Batch Normalization, and why; merged operators, and types that changed |
| `config.pbtxt` | for Triton |
| `manifest.json` | versions, provenance, and the SHA-256 of every file |
"""

_NUMPY = {"float": "float32", "double": "float64"}

_CPP = {
    "float16": "Ort::Float16_t",
    "bfloat16": "Ort::BFloat16_t",
    "float": "float",
    "double": "double",
    "bool": "bool",
}
"""What C++ calls the types of ONNX, where that is not ONNX's word with ``_t`` behind it."""


_TARGET = """

ONNX Runtime {version} has fused it for its CPU provider{operators}. Only ONNX Runtime loads it, of that version or a
newer one."""

_DEVICE = '  # or "CUDAExecutionProvider"'

_TRACE = """

`trace.safetensors` says, in a few hundred numbers each, what the values inside the model have to be on the first golden
sample, so that a model that does not agree is told at which node that begins."""

_TRACE_ROW = """
| `trace.safetensors` | values inside the model: sums of their parts under random signs, in float64 |"""


def readme(manifest: Manifest, model: str, *, traced: bool = False, target: TargetReport | None = None) -> str:
    """Return the text, for the model file called ``model``; ``traced`` if there is a trace, ``target`` if fused."""
    rows = [("input", port) for port in manifest.inputs] + [("output", port) for port in manifest.outputs]
    return _TEXT.format(
        model=model,
        opset=manifest.opset,
        ports="\n".join(f"| {kind} | `{port.name}` | {port.type} | {_shape(port)} |" for kind, port in rows),
        feeds="\n".join(f'    "{port.name}": {_example(port)},' for port in manifest.inputs),
        samples=manifest.samples,
        target="" if target is None else _target(target),
        device=_DEVICE if target is None else "",
        trace=_TRACE if traced else "",
        trace_row=_TRACE_ROW if traced else "",
        cpp="\n".join(_cpp(manifest, model, cpu_only=target is not None)),
    )


def _target(target: TargetReport) -> str:
    own = ", ".join(target.operators)
    return _TARGET.format(version=target.onnxruntime, operators=own and f" ({own})")


def _shape(port: Port) -> str:
    return "?" if port.shape is None else f"({', '.join('?' if dim is None else str(dim) for dim in port.shape)})"


def _example(port: Port) -> str:
    return f'np.zeros({_extents(port)}, "{_NUMPY.get(port.type, port.type)}")'


def _extents(port: Port) -> list[int]:
    """Return extents to try the model with: 1 for one that varies."""
    return [dim if isinstance(dim, int) else 1 for dim in port.shape or ()]


def _cpp(manifest: Manifest, model: str, *, cpu_only: bool) -> Iterator[str]:
    """Yield the lines of a program that feeds zeros."""
    yield from (f"#include <{header}>" for header in ("algorithm", "cstdint", "vector"))
    yield from ("", "#include <onnxruntime_cxx_api.h>", "", "int main() {", "  Ort::Env env;")
    gpu = "" if cpu_only else "  // for a GPU: options.AppendExecutionProvider_CUDA_V2(...)"
    yield f"  Ort::SessionOptions options;{gpu}"
    yield f'  Ort::Session session(env, ORT_TSTR("{model}"), options);'
    yield "  Ort::AllocatorWithDefaultOptions allocator;"
    yield "  std::vector<Ort::Value> inputs;"
    for index, port in enumerate(manifest.inputs):
        extents, kind = _extents(port), _CPP.get(port.type, f"{port.type}_t")
        yield f"  const std::vector<std::int64_t> shape{index} = {{{', '.join(map(str, extents))}}};  // {port.name}"
        yield (
            f"  inputs.push_back(Ort::Value::CreateTensor<{kind}>("
            f"allocator, shape{index}.data(), shape{index}.size()));"
        )
        yield f"  std::fill_n(inputs[{index}].GetTensorMutableData<{kind}>(), {math.prod(extents)}, {kind}{{}});"
    for kind, ports in (("input", manifest.inputs), ("output", manifest.outputs)):
        names = ", ".join(json.dumps(port.name) for port in ports)
        yield f"  const std::vector<const char*> {kind}_names = {{{names}}};"
    yield "  auto outputs = session.Run(Ort::RunOptions{nullptr}, input_names.data(), inputs.data(), inputs.size(),"
    yield "                             output_names.data(), output_names.size());"
    yield "}"
