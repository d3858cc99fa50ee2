"""``bnfold train``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli.choices import Device, Keep, Optimizer, Precision, Schedule
from bnfold_cli.options import Force, argument, choice, data, model_names, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold train digits-cnn -o runs/digits",
    "bnfold train digits-cnn -o runs/wide --model-arg width=24 --epochs 5",
    "bnfold train net.py:build --data npz:cats.npz -o runs/cats --steps 2000",
    "bnfold train digits-cnn -o runs/digits --resume",
    "bnfold train residual -o runs/best --augment crop:1 --precision bf16 --patience 3 --keep best",
    "bnfold train net.py:build --data net.py:data -o runs/net --loss net.py:loss --metric net.py:score",
    "bnfold train net.py:build --data npz:cats.npz -o runs/mine --weights cats.pt --steps 0",
)

_SETTINGS = "Settings of the training (default: the model's own recipe)"
_OBJECTIVE = "Loss, metrics and what is kept (default: the model's own recipe)"
_EXECUTION = "How it is computed (default: the model's own recipe)"


def run(
    out: Output,
    model: Annotated[
        str,
        argument(
            metavar="MODEL",
            complete=model_names,
            help="A built-in name, FILE.py:FACTORY or PACKAGE.MODULE:FACTORY.",
        ),
    ],
    output: Annotated[Path, option("--output", "-o", metavar="RUN", help="The run folder to write.")],
    data: Annotated[str | None, data(default="what the model's recipe names")] = None,
    model_arg: Annotated[
        list[str] | None,
        option("--model-arg", metavar="KEY=JSON", help="Argument for the model's factory; can be given again."),
    ] = None,
    weights: Annotated[
        Path | None,
        option(
            "--weights",
            metavar="FILE",
            help="Start from these weights: a .safetensors file or one of torch.save; with --steps 0 take them as they "
            "are, for the commands behind this one.",
        ),
    ] = None,
    resume: Annotated[bool, option("--resume", help="Go on where an interrupted training stopped.")] = False,
    force: Force = False,
    checkpoint_every: Annotated[
        int | None,
        option("--checkpoint-every", metavar="N", minimum=1, help="Steps between checkpoints, besides every epoch's."),
    ] = None,
    tensorboard: Annotated[
        bool, option("--tensorboard", help="Also write what is measured for TensorBoard, into RUN/tensorboard.")
    ] = False,
    epochs: Annotated[
        int | None, option("--epochs", metavar="N", minimum=1, panel=_SETTINGS, help="Passes over the training data.")
    ] = None,
    steps: Annotated[
        int | None, option("--steps", metavar="N", minimum=0, panel=_SETTINGS, help="Updates, in place of --epochs.")
    ] = None,
    seed: Annotated[
        int | None,
        option(
            "--seed", metavar="N", minimum=0, panel=_SETTINGS, help="Seed of weights, order of the data and dropout."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, option("--batch-size", metavar="N", minimum=1, panel=_SETTINGS, help="Samples an update.")
    ] = None,
    shuffle: Annotated[
        bool | None,
        option(
            "--shuffle/--no-shuffle", panel=_SETTINGS, help="Draw a new order each epoch, or repeat the first one's."
        ),
    ] = None,
    augment: Annotated[
        list[str] | None,
        option(
            "--augment", metavar="A", panel=_SETTINGS, help="Change images by chance: crop:PIXELS, flip; repeatable."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        option("--learning-rate", metavar="X", panel=_SETTINGS, help="The rate that the schedule starts from."),
    ] = None,
    schedule: Annotated[
        Schedule | None, choice("--schedule", Schedule, panel=_SETTINGS, help="How the learning rate moves")
    ] = None,
    decay: Annotated[
        float | None,
        option("--decay", metavar="X", panel=_SETTINGS, help="Factor of the schedules step and exponential, 0 to 1."),
    ] = None,
    decay_epochs: Annotated[
        float | None,
        option("--decay-epochs", metavar="X", panel=_SETTINGS, help="Epochs after which the factor is reached."),
    ] = None,
    warmup_epochs: Annotated[
        float | None,
        option("--warmup-epochs", metavar="X", panel=_SETTINGS, help="Epochs in which the rate rises from 0."),
    ] = None,
    optimizer: Annotated[
        Optimizer | None, choice("--optimizer", Optimizer, panel=_SETTINGS, help="Rule that updates the weights")
    ] = None,
    momentum: Annotated[
        float | None, option("--momentum", metavar="X", panel=_SETTINGS, help="Momentum of SGD.")
    ] = None,
    weight_decay: Annotated[
        float | None, option("--weight-decay", metavar="X", panel=_SETTINGS, help="L2 penalty (sgd) or decay (adamw).")
    ] = None,
    clip_norm: Annotated[
        float | None,
        option("--clip-norm", metavar="X", panel=_SETTINGS, help="Largest Euclidean norm of the whole gradient."),
    ] = None,
    loss: Annotated[
        str | None,
        option(
            "--loss",
            metavar="LOSS",
            panel=_OBJECTIVE,
            help="cross-entropy, binary-cross-entropy, mean-squared-error, mean-absolute-error, FILE.py:FUNCTION, or "
            ":FUNCTION of the model's own file.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        option(
            "--metric",
            metavar="METRIC",
            panel=_OBJECTIVE,
            help="accuracy, top-5, mean-iou, perplexity, mean-absolute-error, or a function as for --loss; repeatable.",
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        option(
            "--evaluate-every",
            metavar="N",
            minimum=1,
            panel=_OBJECTIVE,
            help="Steps between measurements, in place of one an epoch.",
        ),
    ] = None,
    population: Annotated[
        bool | None,
        option(
            "--population/--no-population",
            panel=_OBJECTIVE,
            help="Measure with recomputed population statistics too.",
        ),
    ] = None,
    monitor: Annotated[
        str | None,
        option(
            "--monitor",
            metavar="NAME",
            panel=_OBJECTIVE,
            help="Metric that tells what is best, or loss; without it the first metric, else the loss.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        option(
            "--patience",
            metavar="N",
            minimum=1,
            panel=_OBJECTIVE,
            help="Stop after so many measurements without a better one.",
        ),
    ] = None,
    keep: Annotated[
        Keep | None, choice("--keep", Keep, panel=_OBJECTIVE, help="Measurement whose weights the run ends with")
    ] = None,
    device: Annotated[
        Device | None,
        choice("--device", Device, panel=_EXECUTION, help="Where to train; auto takes CUDA if there is one"),
    ] = None,
    precision: Annotated[
        Precision | None,
        choice("--precision", Precision, panel=_EXECUTION, help="Arithmetic of the network; weights stay float32"),
    ] = None,
    accumulate: Annotated[
        int | None,
        option(
            "--accumulate",
            metavar="N",
            minimum=1,
            panel=_EXECUTION,
            help="Parts that each minibatch is cut into to save memory; BN sees one part at a time.",
        ),
    ] = None,
    channels_last: Annotated[
        bool | None,
        option(
            "--channels-last/--no-channels-last",
            panel=_EXECUTION,
            help="Keep each pixel's channels together in memory.",
        ),
    ] = None,
    compile: Annotated[  # noqa: A002  (the option's name)
        bool | None,
        option("--compile/--no-compile", panel=_EXECUTION, help="Run the network through torch.compile."),
    ] = None,
    deterministic: Annotated[
        bool | None,
        option(
            "--deterministic/--no-deterministic",
            panel=_EXECUTION,
            help="Take only algorithms that give the same bits each time.",
        ),
    ] = None,
) -> None:
    """Train a network and write a run folder: weights, settings, metrics and checkpoints.

    A built-in model brings its data and its settings; each option replaces one of them.

    Started by torchrun (torchrun --nproc-per-node 2 -m bnfold_cli train), several processes train one network
    together, with Batch Normalization over all of them.
    """
    from bnfold_cli.rendering import train as rendering
    from bnfold_cli.work.sources import require_torch
    from bnfold_cli.work.speaking import speaking_for_all
    from bnfold_cli.work.train import parse_model_args, train

    settings = {
        "epochs": epochs,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "shuffle": shuffle,
        "augment": augment or None,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "decay": decay,
        "decay_epochs": decay_epochs,
        "warmup_epochs": warmup_epochs,
        "optimizer": optimizer,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "loss": loss,
        "metrics": metric or None,
        "evaluate_every": evaluate_every,
        "population_statistics": population,
        "monitor": monitor,
        "patience": patience,
        "keep": keep,
        "device": device,
        "precision": precision,
        "accumulate": accumulate,
        "channels_last": channels_last,
        "compile": compile,
        "deterministic": deterministic,
    }
    chosen = {name: value for name, value in settings.items() if value is not None}
    require_torch("train")
    trained = speaking_for_all(
        lambda: train(
            model,
            output,
            data=data,
            model_args=parse_model_args(model_arg or []),
            settings=chosen,
            resume=resume,
            force=force,
            checkpoint_every=checkpoint_every,
            tensorboard=tensorboard,
            weights=weights,
            progress=out.progress,
            listener=lambda measurement: out.note(rendering.measured(measurement)),
        ),
        out.note,
    )
    if trained is not None:
        out.result(trained.to_dict(), rendering.trained(trained))
