"""What changed from one verification to the next: the same model after an upgrade of its runtime, say.

Errors of two runs differ by chance, so "worse" needs a measure. One rung's error got worse beyond noise if, in either
norm,

    error_new > NOISE · max(error_old, floor_old / k)

NOISE = 4·√2 holds what `bnfold.verify.tolerance` derives for two right evaluations of one graph: 4, the sums run in
another order (other kernels: up to 3.5 was measured), and √2, each error is one draw, judged against another. An old
error that is small by luck, or 0, is no yardstick: floor/k is what one more rounding of every weight does, and no
smaller error is a promise. An error that passes may be worse, and one that got worse may pass: the verdict asks for
the former, a comparison for the latter.

Worse is also a graver verdict, a top-1 decision that was right before, nodes that left the provider that was asked
for, and an output or a rung that is no longer there. Everything else that changed is told and is not worse.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from bnfold.errors import InputError
from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document

SCHEMA = "bnfold.difference/1"

NOISE = 4 * sqrt(2)
"""Factor by which the errors of two right runs may differ; see above."""

_GRAVITY = ("equivalent", "inconclusive", "not-attested", "not-equivalent")


@dataclass(frozen=True)
class Change:
    """One thing that is not what it was; ``old`` or ``new`` is None where it was not there."""

    what: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class RungChange:
    """The error of one rung of one output in both reports, and by how much it grew: new / max(old, floor / k)."""

    output: str
    rung: str
    old: Mapping[str, float | None]
    new: Mapping[str, float | None]
    growth: float | None
    judged: bool
    worse: bool


@dataclass(frozen=True)
class Difference:
    """Two reports compared.

    Attributes:
        verdict: the old and the new one.
        worse: what got worse beyond noise, in words; empty if nothing did.
        rungs: every rung that both reports have.
        versions: distributions, devices and provider options that are not the same.
        placement: kernels and nodes that moved.
        caveats: why the two may not be comparable.
        noise: the factor that an error may grow by.
    """

    verdict: tuple[str, str]
    worse: tuple[str, ...]
    rungs: tuple[RungChange, ...]
    versions: tuple[Change, ...]
    placement: tuple[Change, ...]
    caveats: tuple[str, ...]
    noise: float = NOISE

    @property
    def exit_code(self) -> int:
        """Return 1 if anything got worse beyond noise, else 0."""
        return 1 if self.worse else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-able data."""
        return {
            "schema": SCHEMA,
            "exit_code": self.exit_code,
            "worse": list(self.worse),
            "noise": self.noise,
            "verdict": {"old": self.verdict[0], "new": self.verdict[1]},
            "rungs": [asdict(rung) for rung in self.rungs],
            "versions": [asdict(change) for change in self.versions],
            "placement": [asdict(change) for change in self.placement],
            "caveats": list(self.caveats),
        }


def difference(old: Document, new: Document, *, noise: float = NOISE) -> Difference:
    """Compare two reports.

    Raises:
        InputError: they have no output in common, or ``noise`` is below 1.
    """
    if not noise >= 1:
        raise InputError(f"--noise {noise}: expected a factor, 1 or above.")
    rungs = tuple(_rungs(old, new, noise))
    if old["outputs"] and new["outputs"] and not rungs:
        ours, theirs = (", ".join(output["name"] for output in report["outputs"]) for report in (old, new))
        raise InputError(f"the reports have no output in common: {ours} in the old one, {theirs} in the new one.")
    return Difference(
        verdict=(old["verdict"], new["verdict"]),
        worse=tuple(_worse(old, new, rungs)),
        rungs=rungs,
        versions=tuple(_versions(old, new)),
        placement=tuple(_placement(old["placement"], new["placement"])),
        caveats=tuple(_caveats(old, new)),
        noise=noise,
    )


def _rungs(old: Document, new: Document, noise: float) -> Iterator[RungChange]:
    before = {(output["name"], rung["name"]): rung for output in old["outputs"] for rung in output["ladder"]}
    for output in new["outputs"]:
        for rung in output["ladder"]:
            earlier = before.get((output["name"], rung["name"]))
            if earlier is not None:
                growth = _growth(earlier, rung, old["criterion"]["k"])
                worse = earlier["error"]["rms"] is not None and (growth is None or growth > noise)
                judged = words.judged(rung)
                yield RungChange(
                    output["name"], rung["name"], earlier["error"], rung["error"], growth, judged, worse and judged
                )


def _growth(old: Document, new: Document, k: float) -> float | None:
    """Return new / max(old, floor / k), the larger of both norms; None where an error is not finite."""
    quotients: list[float] = []
    for norm in ("rms", "largest"):
        error, before, floor = new["error"][norm], old["error"][norm], old["floor"][norm]
        if error is None or before is None:
            return None
        least = max(before, (floor or 0.0) / k if k else 0.0)
        if error and not least:
            return None
        quotients.append(error / least if error else 0.0)
    return max(quotients)


def _worse(old: Document, new: Document, rungs: tuple[RungChange, ...]) -> Iterator[str]:
    if _GRAVITY.index(new["verdict"]) > _GRAVITY.index(old["verdict"]):
        yield f"the verdict was {words.verdict(old)} and is {words.verdict(new)}"
    for rung in rungs:
        if rung.worse:
            errors = f"{words.figure(rung.old['rms'])} to {words.figure(rung.new['rms'])} (RMS)"
            times = f", {words.ratio(rung.growth)} times" if rung.growth is not None else ""
            yield f"output {rung.output}, {words.rung(rung.rung)}: the error went from {errors}{times}"
    yield from _lost(old, new)
    yield from _top1(old, new)
    strays = sorted(set(new["placement"]["elsewhere"]) - set(old["placement"]["elsewhere"]))
    if strays and old["provider"] == new["provider"]:
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        yield f"nodes left {new['provider']}: {', '.join(strays[:3])}{more}"


def _lost(old: Document, new: Document) -> Iterator[str]:
    present = {output["name"]: {rung["name"] for rung in output["ladder"]} for output in new["outputs"]}
    for output in old["outputs"]:
        if output["name"] not in present:
            yield f"output {output['name']} is no longer compared"
            continue
        for rung in output["ladder"]:
            if words.judged(rung) and rung["name"] not in present[output["name"]]:
                yield f"output {output['name']}: {words.rung(rung['name'])} is no longer evaluated"


def _top1(old: Document, new: Document) -> Iterator[str]:
    before = {output["name"]: output["candidate"]["top1"] for output in old["outputs"]}
    for output in new["outputs"]:
        ours, theirs = before.get(output["name"]), output["candidate"]["top1"]
        if ours and theirs and theirs["counted"] - theirs["agreeing"] > ours["counted"] - ours["agreeing"]:
            yield f"output {output['name']}: {theirs['counted'] - theirs['agreeing']} clear top-1 decisions are wrong"


def _versions(old: Document, new: Document) -> Iterator[Change]:
    yield from _changes(old["environment"], new["environment"])
    options = [
        {f"option: {provider}": options for provider, options in report["placement"]["options"].items()}
        for report in (old, new)
    ]
    yield from _changes(*options)


def _placement(old: Document, new: Document) -> Iterator[Change]:
    yield from _changes(*({f"kernels on {name}": n for name, n in each["executed"].items()} for each in (old, new)))
    yield from _changes({"assigned nodes": old["assigned"]}, {"assigned nodes": new["assigned"]})
    if "kernels" in old and "kernels" in new:
        yield from _changes(*(_kernels(each) for each in (old, new)))
    left, joined = Counter(old["elsewhere"]), Counter(new["elsewhere"])
    yield from (Change(f"node {name}", "elsewhere", None) for name in sorted((left - joined).elements()))
    yield from (Change(f"node {name}", None, "elsewhere") for name in sorted((joined - left).elements()))


def _kernels(placement: Document) -> dict[str, int]:
    return {
        f"{op_type} on {provider}": number
        for provider, kinds in placement["kernels"].items()
        for op_type, number in kinds.items()
    }


def _changes(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        ours, theirs = old.get(name), new.get(name)
        if ours != theirs:
            yield Change(name, *(None if each is None else str(each) for each in (ours, theirs)))


def _caveats(old: Document, new: Document) -> Iterator[str]:
    if old["provider"] != new["provider"]:
        yield f"the provider was {old['provider']} and is {new['provider']}"
    if old["samples"] != new["samples"]:
        yield f"there were {old['samples']} samples and are {new['samples']}: other inputs"
    elif old.get("inputs") != new.get("inputs"):
        yield "the inputs are not the same"
    for role in old["files"].keys() & new["files"].keys():
        if old["files"][role].get("sha256") != new["files"][role].get("sha256"):
            yield f"the {role} is another file: {new['files'][role].get('path', '')}"
