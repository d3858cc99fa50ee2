"""What a model is run under, besides its own file."""

from dataclasses import dataclass

from bnfold.verify.provider import Provider


@dataclass(frozen=True)
class Setting:
    """A provider, the threads that one operator's work is divided among (None: the runtime decides), and a batch."""

    provider: Provider
    threads: int | None
    batch: int

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.provider}{threads}, batch of {self.batch}"


@dataclass(frozen=True)
class Mode:
    """How the runtime is called, in every setting.

    Attributes:
        io_binding: inputs and outputs lie in the provider's memory before and after the call, so that copies to a
            device and back are left out of the time.
        cuda_graph: the device records a run and plays it again; needs ``io_binding``. Written from the documentation,
            not run on a GPU yet.
        tf32: the provider may round the operands of matrix products to TF32.
    """

    io_binding: bool = False
    cuda_graph: bool = False
    tf32: bool = False
