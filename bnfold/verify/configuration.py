"""What one session is asked for: a provider, and whether it may round to TF32."""

from dataclasses import dataclass

from bnfold.verify.provider import Provider


@dataclass(frozen=True)
class Configuration:
    """One way to run a model. ``tf32`` allows it, for the measurement beside the verdict."""

    provider: Provider
    tf32: bool = False

    @property
    def isolated(self) -> bool:
        """Say whether it gets a process of its own.

        Libraries of a device stay loaded, settings of theirs stay set, and what crashes takes the process along.
        """
        return self.provider is not Provider.CPU
