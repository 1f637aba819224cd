"""The options of a run, which `train` and `doctor` share: each is a field of `Config`."""

from collections.abc import Callable
from typing import Any

import click

from ..runs import NAMED, Config
from ..runs.config import AUGMENTATIONS, AUTO, GREY, MODELS, OPTIMIZERS, SCHEDULES

_DEFAULT = Config()


_SECTIONS = {
    "Data": (
        *("data", "root", "validation", "size", "gray", "skip_bad", "lazy", "cache"),
        *("standardize", "augment"),
    ),
    "Model": ("model", "depth", "width", "init"),
    "Descent": (
        *("optimizer", "lr", "schedule", "warmup", "momentum", "epochs", "patience"),
        *("batch_size", "base_batch", "seed", "device"),
    ),
    "Remedies for exploding and vanishing gradients, and for learning by heart": (
        *("clip_norm", "clip_value", "clip_adaptive", "batch_norm", "residual", "weight_norm"),
        *("weight_decay", "label_smoothing"),
    ),
    "Several processes: mpiexec -n 4 minidl train ...": ("deterministic", "sync_batch_norm"),
}


class Rate(click.ParamType):
    """A number, or "auto"."""

    name = "RATE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if value == AUTO else click.FLOAT.convert(value, param, ctx)


class InSections(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {p.name: p.get_help_record(ctx) for p in self.get_params(ctx)}
        for title, names in _SECTIONS.items():
            found = [record for name in names if (record := records.pop(name, None))]
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)
        with formatter.section("The run"):
            formatter.write_dl([record for record in records.values() if record])


def config_from(options: dict[str, Any]) -> Config:
    """The Config of these options, checked.

    Where the model or the epochs are not given, they depend on the data.
    """
    grey = options["data"] in GREY or options["gray"]
    suited = {"model": "article", "epochs": 5} if grey else {"model": "vgg_small", "epochs": 10}
    config = Config(**options | {n: v for n, v in suited.items() if options[n] is None})
    config.check()
    return config


def _option(flag: str, about: str, **details: Any) -> Callable[..., Any]:
    default = getattr(_DEFAULT, flag.partition("/")[0].strip("-").replace("-", "_"))
    shown = default is not None and not isinstance(default, bool)
    return click.option(flag, default=default, show_default=shown, help=about, **details)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that a Config holds, each under the name of its field."""
    rates = ", ".join(
        f"{name} {calm:g} or {other:g}" for name, (_, calm, other) in OPTIMIZERS.items()
    )
    options = [
        _option("--data", f"{', '.join(NAMED)}, or a folder of class folders (or with train/ and "
                "test/)."),
        _option("--root", "Folder with the files of a named data set [downloaded once].",
                type=click.Path()),
        _option("--validation", "Share of the training images to hold out [0.2 without a test "
                "part].", type=float, metavar="FRACTION"),
        _option("--size", "Stretch a folder's images to this square size.", type=int),
        _option("--gray", "Read a folder's images in grey.", is_flag=True),
        _option("--skip-bad", "Leave out files that cannot be read.", is_flag=True),
        _option("--lazy/--no-lazy", "Leave a folder's images in their files, and decode each batch "
                "when it is needed [if they would take more than half of the free memory]."),
        _option("--cache", "Decode a folder's images once, into a file that later runs use too.",
                is_flag=True),
        _option("--standardize/--no-standardize", "Mean 0, deviation 1 in each channel [for a "
                "folder: yes]."),
        _option("--augment", "Random shifts and mirroring.", type=click.Choice(AUGMENTATIONS)),
        click.option("--model", type=click.Choice(MODELS),
                     help="The network [article for the grey data sets, else vgg_small]."),
        _option("--depth", "Convolutions of deep_plain_cnn.", type=int),
        _option("--width", "Channels of deep_plain_cnn.", type=int),
        _option("--init", "Initializer: he_normal, orthogonal, normal:0.3, ...", metavar="NAME"),
        _option("--optimizer", "The rule that changes the weights [sgd for networks without "
                "normalisation on grey data sets, else adam].",
                type=click.Choice(list(OPTIMIZERS))),
        _option("--lr", f"Learning rate [{rates}; the smaller one for networks without "
                "normalisation on other than grey data sets]; auto: one that the doctor finds "
                "safe.", type=Rate()),
        _option("--schedule", "How the rate falls.", type=click.Choice(SCHEDULES)),
        _option("--warmup", "Let the rate rise first.", type=int, metavar="STEPS"),
        _option("--clip-norm", "Largest norm of all gradients together.", type=float),
        _option("--clip-value", "Largest size of one gradient value.", type=float),
        _option("--clip-adaptive", "Largest gradient of a unit, as a share of its weights' norm.",
                type=float),
        _option("--momentum", "Share of the last step that the next one keeps, from 0 to below 1; "
                "for sgd and momentum [0.9 for momentum].", type=float),
        _option("--weight-decay", "How strongly weights are drawn to 0 [0.01 for adamw].",
                type=float),
        _option("--batch-norm", "Batch normalisation behind the convolutions of article or "
                "deep_plain_cnn.", is_flag=True),
        _option("--residual", "A shortcut around the convolutions of deep_plain_cnn.",
                is_flag=True),
        _option("--weight-norm", "Write weights as a direction times a length; the length begins "
                "at this number.", type=float, metavar="LENGTH"),
        _option("--label-smoothing", "Share of the right class that is spread over all.",
                type=float),
        click.option("--epochs", type=int, help="Passes over the training images [5 for the grey "
                     "data sets, else 10]."),
        _option("--patience", "Stop when the validation loss has not fallen for so many epochs.",
                type=int, metavar="EPOCHS"),
        _option("--keep-pictures", "Keep filters, feature maps and saliency after each epoch.",
                is_flag=True),
        _option("--batch-size", "Images in a step.", type=int),
        _option("--base-batch", "The batch that the rate is meant for: it is multiplied by "
                "--batch-size over this number; give --warmup too.", type=int, metavar="IMAGES"),
        _option("--device", "Where to compute.", type=click.Choice(["cpu", "cuda"])),
        _option("--seed", "Decides weights, order and augmentation.", type=int),
        _option("--deterministic", "Cut each batch into four shards, so that one process, two and "
                "four compute the same bytes.", is_flag=True),
        _option("--sync-batch-norm/--no-sync-batch-norm", "Normalise over the images of all "
                "processes [yes], or over each one's own."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
