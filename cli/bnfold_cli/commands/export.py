"""``bnfold export``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli import choices
from bnfold_cli.options import Force, Model, Objective, RunsOn, Seed, Source, choice, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold export runs/calibrated -o bundle",
    "bnfold export model.onnx -o bundle --opset 17 --samples 32",
    "bnfold export model.onnx -o bundle --data npz:cats.npz --force",
    "bnfold export model.onnx -o bundle --precision float16",
    "bnfold export model.onnx -o bundle --target ort",
    "bnfold export model.onnx -o bundle --tune 8 --provider cuda",
    "bnfold export model.onnx -o bundle --dynamic images=batch,3,h,w --rename images=x",
    "bnfold export model.onnx -o bundle --preprocess 'mean=0.485,0.456,0.406;std=0.229,0.224,0.225;uint8'",
)


def run(
    out: Output,
    source: Source,
    output: Annotated[Path, option("--output", "-o", metavar="BUNDLE", help="The bundle folder to write.")],
    opset: Annotated[
        int | None, option("--opset", metavar="N", help="Operator set to write; default: the source's own.")
    ] = None,
    data: Annotated[str | None, data(default="the run's own, random values for an ONNX file")] = None,
    samples: Annotated[
        int | None, option("--samples", metavar="N", minimum=1, help="How many golden samples; default: 64.")
    ] = None,
    seed: Seed = 0,
    objective: Objective = "latency",
    precision: Annotated[
        choices.ExportPrecision | None,
        choice(
            "--precision",
            choices.ExportPrecision,
            help="Store weights and compute in a type, rounded once from float64, with operators that would lose too "
            "much in float32; mixed narrows convolutions and matrix products alone; by default the source's own types",
        ),
    ] = None,
    target: Annotated[
        choices.Target,
        choice(
            "--target",
            choices.Target,
            help="Which runtimes load the model: all that know the ONNX standard, or ONNX Runtime alone, which has "
            "fused it beforehand, for its CPU provider",
        ),
    ] = "onnx",
    equalize: Annotated[
        bool,
        option(
            "--equalize",
            help="Even out the ranges of weights channel by channel, by powers of two, for those who quantize next; "
            "the outputs stay the same.",
        ),
    ] = False,
    preprocess: Annotated[
        str | None,
        option(
            "--preprocess",
            metavar="TEXT",
            help="Make (x / scale - mean) / std part of the model, and fold it in where that is exact. Separated by "
            "';', each optional: mean=M,M,M std=S,S,S scale=N input=NAME, and uint8, with which the model takes bytes "
            "and the scale is 255. Any --data is then what the model takes.",
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        option(
            "--shape",
            "--dynamic",
            metavar="NAME=DIMS",
            help="Extents of an input, separated by commas: a number is fixed, a name varies (images=batch,3,h,w). The "
            "graph is tried at extents that it did not declare. Can be given again.",
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        option("--rename", metavar="OLD=NEW", help="Name of an input or output in the bundle. Can be given again."),
    ] = None,
    max_shard_size: Annotated[
        str | None,
        option(
            "--max-shard-size",
            metavar="SIZE",
            help="Write weights to files beside the model, none larger than this (500MB, 2GiB), but for a single "
            "weight that is; by default they are in the model up to 2 GB.",
        ),
    ] = None,
    tune: Annotated[
        int | None,
        option(
            "--tune",
            metavar="BATCH",
            minimum=1,
            help="Decide by measuring on the --provider, with batches of this many samples, not by cost models: "
            "whether a BN is kept, a weight that two calls share is copied, and branches are merged.",
        ),
    ] = None,
    provider: RunsOn = "cpu",
    model: Model = None,
    force: Force = False,
) -> None:
    """Fold, optimize and bundle a model with golden data to verify it by.

    The bundle holds the model, inputs with the outputs of the original in float64 and float32, the fold report, and a
    manifest with the hash of every file.
    """
    from bnfold_cli.rendering import export as rendering
    from bnfold_cli.work.export import export
    from bnfold_cli.work.fold import remarks
    from bnfold_cli.work.ports import Ports
    from bnfold_cli.work.sizes import parse_size

    exported = export(
        source,
        output,
        opset=opset,
        data=data,
        samples=samples,
        seed=seed,
        objective=objective,
        precision=precision,
        target=target,
        equalize=equalize,
        max_shard_size=None if max_shard_size is None else parse_size("--max-shard-size", max_shard_size),
        ports=Ports(preprocess, tuple(shape or ()), tuple(rename or ())),
        batch=tune,
        provider=provider,
        model=model,
        force=force,
        progress=out.progress,
    )
    out.result(exported.to_dict(), rendering.exported(exported))
    for remark in remarks(objective, provider) if tune is None else ():
        out.note(remark)
