"""The whole chain at a glance."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import error, figures, milliseconds, percent, texts
from bnfold_cli.rendering.verify import verdict

if TYPE_CHECKING:
    from bnfold.bench import Latency
    from bnfold.verify import VerificationReport
    from bnfold_cli.work.demo import Demo


def demonstrated(result: "Demo") -> Iterator[Table | str]:
    """Yield the statistics' effect, the two graphs side by side, the verdict, and where the files are."""
    yield statistics(result)
    yield graphs(result)
    for finding in result.verified.findings:
        yield f"! {finding.words}"
    yield verdict(result.verified)
    yield texts(("what", "where"), [(name, str(path)) for name, path in result.files.items()])


def statistics(result: "Demo") -> Table:
    """Return the model's quality with the statistics that training tracked and with those computed anew."""
    before, after = result.calibrated.before, result.calibrated.after
    assert before is not None  # digits have labels
    assert after is not None
    rows = [
        ("test accuracy", percent(before.accuracy), percent(after.accuracy)),
        ("test loss", f"{before.loss:.4f}", f"{after.loss:.4f}"),
    ]
    return figures((f"{result.trained.model} on {result.trained.data}", "moving average", "recomputed"), rows)


def graphs(result: "Demo") -> Table:
    """Return the unfolded and the folded model side by side: size, error, speed."""
    before, after = result.exported.original, result.exported.final
    unfolded, folded = (result.latency.models[name] for name in ("unfolded", "folded"))
    rows = [
        ("BatchNormalization nodes", str(before.batch_norms), str(after.batch_norms)),
        ("element-wise passes", str(before.elementwise), str(after.elementwise)),
        ("nodes", str(before.nodes), str(after.nodes)),
        *_errors(result.verified),
        (
            f"latency, batch of {result.latency.batch} (median)",
            milliseconds(unfolded.median),
            milliseconds(folded.median),
        ),
        ("latency (range)", _range(unfolded), _range(folded)),
        ("latency (ratio)", f"{unfolded.ratio:.2f}", f"{folded.ratio:.2f}"),
    ]
    return figures(("", "unfolded", "folded"), rows)


def _errors(report: "VerificationReport") -> Iterator[tuple[str, str, str]]:
    for output in report.outputs:
        before, after = output.baseline, output.candidate
        yield ("error against float64 (RMS)", error(before.rmse), error(after.rmse))
        yield ("error against float64 (largest)", error(before.max_absolute), error(after.max_absolute))


def _range(latency: "Latency") -> str:
    return f"{1000 * latency.lowest:.3g} – {milliseconds(latency.highest)}"
