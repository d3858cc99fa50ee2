import pytest

from bnfold.verify.provider import Provider


def test_providers_by_their_names_on_the_command_line() -> None:
    """The three names, and what ONNX Runtime calls them."""
    assert {provider.value: provider.runtime_name for provider in Provider} == {
        "cpu": "CPUExecutionProvider",
        "cuda": "CUDAExecutionProvider",
        "tensorrt": "TensorrtExecutionProvider",
    }


def test_reduced_precision_is_off_for_the_verdict() -> None:
    """TF32, half precision and int8 are pinned off by name, wherever CUDA takes part."""
    cuda, tensorrt = (dict(provider.options()) for provider in (Provider.CUDA, Provider.TENSORRT))
    assert cuda["CUDAExecutionProvider"]["use_tf32"] == "0"
    assert tensorrt["CUDAExecutionProvider"]["use_tf32"] == "0"
    assert set(tensorrt["TensorrtExecutionProvider"].values()) == {"0"}


@pytest.mark.parametrize("provider", Provider)
def test_options_are_not_shared(provider: Provider) -> None:
    """Who changes the options that were handed out changes nobody else's."""
    provider.options()[0][1]["use_tf32"] = "1"
    assert provider.options()[0][1].get("use_tf32") != "1"


def test_a_cuda_graph_is_an_option_of_the_device() -> None:
    """Under the name that each provider has for it, and nowhere else."""
    assert Provider.CUDA.options(cuda_graph=True) == [
        ("CUDAExecutionProvider", {"use_tf32": "0", "enable_cuda_graph": "1"})
    ]
    assert Provider.TENSORRT.options(cuda_graph=True)[0][1]["trt_cuda_graph_enable"] == "1"
    assert Provider.CPU.options(cuda_graph=True) == Provider.CPU.options()
