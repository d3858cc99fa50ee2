"""``bnfold train``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli.choices import Device, Optimizer, Schedule
from bnfold_cli.options import Force, argument, choice, data, model_names, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold train digits-cnn -o runs/digits",
    "bnfold train digits-cnn -o runs/wide --model-arg width=24 --epochs 5",
    "bnfold train net.py:build --data npz:cats.npz -o runs/cats --steps 2000",
    "bnfold train digits-cnn -o runs/digits --resume",
)

_SETTINGS = "Settings of the training (default: the model's own recipe)"


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
    resume: Annotated[bool, option("--resume", help="Go on where an interrupted training stopped.")] = False,
    force: Force = False,
    checkpoint_every: Annotated[
        int | None,
        option("--checkpoint-every", metavar="N", minimum=1, help="Steps between checkpoints, besides every epoch's."),
    ] = None,
    epochs: Annotated[
        int | None, option("--epochs", metavar="N", minimum=1, panel=_SETTINGS, help="Passes over the training data.")
    ] = None,
    steps: Annotated[
        int | None, option("--steps", metavar="N", minimum=1, panel=_SETTINGS, help="Updates, in place of --epochs.")
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
    optimizer: Annotated[
        Optimizer | None, choice("--optimizer", Optimizer, panel=_SETTINGS, help="Rule that updates the weights")
    ] = None,
    momentum: Annotated[
        float | None, option("--momentum", metavar="X", panel=_SETTINGS, help="Momentum of SGD.")
    ] = None,
    weight_decay: Annotated[
        float | None, option("--weight-decay", metavar="X", panel=_SETTINGS, help="L2 penalty (sgd) or decay (adamw).")
    ] = None,
    device: Annotated[
        Device | None,
        choice("--device", Device, panel=_SETTINGS, help="Where to train; auto takes CUDA if there is one"),
    ] = None,
) -> None:
    """Train a network and write a run folder: weights, settings, metrics and checkpoints.

    A built-in model brings its data and its settings; each option replaces one of them.
    """
    from bnfold_cli.rendering import train as rendering
    from bnfold_cli.work.train import parse_model_args, train

    settings = {
        "epochs": epochs,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "decay": decay,
        "decay_epochs": decay_epochs,
        "optimizer": optimizer,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "device": device,
    }
    trained = train(
        model,
        output,
        data=data,
        model_args=parse_model_args(model_arg or []),
        settings={name: value for name, value in settings.items() if value is not None},
        resume=resume,
        force=force,
        checkpoint_every=checkpoint_every,
        progress=out.progress,
        listener=lambda measurement: out.note(rendering.measured(measurement)),
    )
    out.result(trained.to_dict(), rendering.trained(trained))
