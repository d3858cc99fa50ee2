"""Rules broken on purpose, one at a time: what the tests of the folding engine have to notice.

`python -m tests.folding.mutants` breaks each and runs the tests; ``BNFOLD_MUTANT`` names the one that is broken in a
test process (see conftest.py). A mutant is an operator and what its rule does wrong.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from rich.console import Console
from rich.progress import track

from bnfold.folding import plan
from bnfold.folding.gauges import Gauges, Ids
from bnfold.folding.network import Opaque
from bnfold.folding.report import Reason
from bnfold.folding.rules import RULES, Rule
from bnfold.folding.site import Site

MUTANT, TRACE = "BNFOLD_MUTANT", "BNFOLD_MUTANT_TRACE"

STATEMENTS = ("relate_scales", "relate_shifts", "require_positive", "forbid_shift")
UNKNOWN, HOLDS_NOTHING, REVERSES = "is unknown", "holds nothing", "reverses channels"

HARMLESS = {
    "Reshape: holds nothing": "its other input is a shape, of integers, which have no gauge but the identity",
}
"""Mutants that change nothing, and why."""


class Mutant(NamedTuple):
    """An operator and what its rule does wrong."""

    operator: str
    fault: str

    def __str__(self) -> str:
        """Return the name, as `BNFOLD_MUTANT` has it."""
        return f"{self.operator}: {self.fault}"


class _Forgetful:
    """Gauges as one rule sees them: one kind of statement changes nothing."""

    def __init__(self, gauges: Gauges, commits: Callable[[str], bool]) -> None:
        self._gauges, self._commits = gauges, commits

    def __getattr__(self, name: str) -> Any:
        forgotten = name in STATEMENTS and self._commits(f"forgets {name}")
        return (lambda *_: None) if forgotten else getattr(self._gauges, name)


class _BrokenSite(Site):
    """A site at which a rule commits faults.

    ``commits`` says of a fault whether it is committed, and is asked wherever one could be.
    """

    def __init__(self, site: Site, commits: Callable[[str], bool]) -> None:
        super().__init__(site.network, site.index)
        self.gauges = _Forgetful(site.gauges, commits)  # pyright: ignore[reportAttributeAccessIssue]  # a stand-in
        self._commits = commits

    def emit(self, label: Ids, output: int = 0) -> None:
        """Give an output its label, or the channels in reverse."""
        super().emit(np.flip(label) if label.size > 1 and self._commits(REVERSES) else label, output)

    def hold(self, slot: int) -> None:
        """Keep an input as it is, or forget to; of one whose gauge is known already nothing is forgotten."""
        known = not self.has(slot) or self.network.label(self.value(slot)) is None
        if known or not self._commits(HOLDS_NOTHING):
            super().hold(slot)


def _broken(rule: Rule, commits: Callable[[str], bool]) -> Rule:
    def run(site: Site) -> None:
        if commits(UNKNOWN):
            raise Opaque(Reason.UNSUPPORTED, "broken on purpose")
        broken = _BrokenSite(site, commits)
        rule(broken)
        broken.hold_others()
        site._labelled |= set(range(len(site.node.inputs)))

    return run


def infect(patch: pytest.MonkeyPatch) -> None:
    """Break the rule that `BNFOLD_MUTANT` names; add to the file `BNFOLD_MUTANT_TRACE` which mutants there could be."""
    name, trace, seen = os.environ.get(MUTANT), os.environ.get(TRACE), set[str]()
    if name is None and trace is None:
        return

    def commits(operator: str) -> Callable[[str], bool]:
        def commit(fault: str) -> bool:
            mutant = str(Mutant(operator, fault))
            if trace and mutant not in seen:
                seen.add(mutant)
                with Path(trace).open("a") as file:
                    file.write(f"{mutant}\n")
            return mutant == name

        return commit

    patch.setattr(plan, "RULES", {operator: _broken(rule, commits(operator)) for operator, rule in RULES.items()})


def sort_by_operator(items: list[pytest.Item]) -> None:
    """Put the tests that name the operator whose rule is broken before the others."""
    name = os.environ.get(MUTANT)
    if name is not None:
        operator, _, _ = name.partition(": ")
        items.sort(key=lambda item: operator not in item.nodeid)


def _tests(**environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the tests of the folding engine in a process of their own, up to the first that fails."""
    # What is quick first: a fault that is noticed there need not wait for random graphs.
    names = ["test_every_operator.py", "test_coverage.py", "test_linear_operators.py", "test_reported.py", ""]
    tests = [f"tests/folding/{name}" for name in names]
    command = [sys.executable, "-m", "pytest", *tests, "--exitfirst", "--quiet", "-p", "no:cacheprovider"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)


def _possible() -> Iterator[Mutant]:
    """Yield every mutant that the tests come by, in order."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        healthy = _tests(**{TRACE: str(trace)})
        if healthy.returncode:
            raise SystemExit(f"{healthy.stdout.decode()}\nthe tests fail with no rule broken")
        for line in sorted(set(trace.read_text().splitlines())):
            operator, _, fault = line.partition(": ")
            yield Mutant(operator, fault)


def _survives(mutant: Mutant) -> bool:
    return _tests(**{MUTANT: str(mutant)}).returncode == 0


def main() -> None:
    """Break the rules one at a time; end with 1 if the tests pass with any of them broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operators", nargs="*", help="whose rules to break; default: all")
    operators = parser.parse_args().operators
    console = Console()
    mutants = [mutant for mutant in _possible() if not operators or mutant.operator in operators]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fates = track(pool.map(_survives, mutants), total=len(mutants), description="mutants", console=console)
        survivors = [mutant for mutant, survives in zip(mutants, fates, strict=True) if survives]
    for mutant in survivors:
        console.print(f"survived: {mutant}", HARMLESS.get(str(mutant), ""))
    console.print(f"{len(mutants) - len(survivors)} of {len(mutants)} broken rules noticed")
    raise SystemExit(any(str(mutant) not in HARMLESS for mutant in survivors))


if __name__ == "__main__":
    main()
