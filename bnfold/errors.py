"""What can go wrong for a user, each with the exit code that a command ends with."""

from typing import ClassVar


class BnfoldError(Exception):
    """Base of all errors that bnfold raises on purpose; the message is one line a user can act on."""

    exit_code: ClassVar[int] = 5


class InputError(BnfoldError):
    """Bad input: names the file, node or option, what was expected, what was found and what to do."""

    exit_code: ClassVar[int] = 2


class NeitherGraphNorModuleError(InputError):
    """What was given in place of a model is none."""

    def __init__(self, found: object) -> None:
        super().__init__(f"expected an ONNX model (bnfold.load) or a torch module, found {type(found).__name__}.")


class MissingDependencyError(InputError):
    """A command needs a distribution that is not installed; the message says how to install it."""


class NoKernelError(InputError):
    """A runtime has no implementation of ``operator`` in the type that a graph holds it in."""

    def __init__(self, message: str, operator: str) -> None:
        super().__init__(message)
        self.operator = operator


class AttestationError(BnfoldError):
    """The work did not, or could not, run on the provider that was asked for."""

    exit_code: ClassVar[int] = 3
