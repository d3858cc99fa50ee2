"""The execution providers that a model can be verified on, and the options that the verdict pins."""

from enum import StrEnum


class Provider(StrEnum):
    """Where a model runs: the names of the command line."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"

    @property
    def runtime_name(self) -> str:
        """Return ONNX Runtime's name for the provider."""
        return _RUNTIME_NAMES[self]

    @property
    def memory(self) -> str:
        """Return ONNX Runtime's name of the memory that inputs and outputs are bound in."""
        return "cpu" if self is Provider.CPU else "cuda"

    def options(self, *, tf32: bool = False, cuda_graph: bool = False) -> list[tuple[str, dict[str, str]]]:
        """Return the providers to ask ONNX Runtime for, in its order of preference, with their options.

        TF32 rounds the operands of matrix products to 10 bits and is on by default: it is off for the verdict.
        ``cuda_graph`` has the provider record the first run on the device and play it again from then on.
        """
        asked = [(_RUNTIME_NAMES[provider], dict(_OPTIONS[provider])) for provider in _ASKED[self]]
        for _, options in asked:
            options |= {"use_tf32": "1"} if tf32 and "use_tf32" in options else {}
        if cuda_graph and self in _CUDA_GRAPH:
            asked[0][1][_CUDA_GRAPH[self]] = "1"
        return asked


_RUNTIME_NAMES = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
}

_OPTIONS: dict[Provider, dict[str, str]] = {
    Provider.CPU: {},
    Provider.CUDA: {"use_tf32": "0"},
    Provider.TENSORRT: {"trt_fp16_enable": "0", "trt_bf16_enable": "0", "trt_int8_enable": "0"},
}

_CUDA_GRAPH = {Provider.CUDA: "enable_cuda_graph", Provider.TENSORRT: "trt_cuda_graph_enable"}

_ASKED = {
    Provider.CPU: (Provider.CPU,),
    Provider.CUDA: (Provider.CUDA,),
    Provider.TENSORRT: (Provider.TENSORRT, Provider.CUDA),
}
"""TensorRT hands the nodes it cannot take to CUDA, by name; ONNX Runtime adds its CPU provider at the end by itself."""
