"""What to try next, read from the history of a run and its result on the test part."""

from math import isnan

from ..train import History
from .config import Config

GAP = 0.1  # of the accuracies in training and test: more is learning by heart
FALLS = 0.02  # share by which a loss that still falls fell in the last epoch
FAR = 0.9  # training accuracy below which a network of one convolution may be too small
HARDLY = 1.5  # times the accuracy of a guess


def next_steps(config: Config, history: History, test: dict[str, float], classes: int) -> list[str]:
    """Sentences of advice, each with its reason in numbers and the options to try.

    test: {"loss", "accuracy"} on the test part. classes: how many there are.
    """
    last, accuracy = history.last, test.get("accuracy", float("nan"))
    if not last or isnan(accuracy):
        return []
    if accuracy < HARDLY / classes:
        return [
            f"hardly better than a guess ({1 / classes:.0%}): `minidl doctor` with the same "
            "options says why"
        ]
    advice = []
    gap = last["train_accuracy"] - accuracy
    if gap > GAP:
        missing = [
            ("--augment crop-flip", config.augment == "none"),
            ("--label-smoothing 0.1", not config.label_smoothing),
            ("--weight-decay 0.0005", config.weight_decay is None and config.method != "adamw"),
        ]
        options = " ".join(option for option, absent in missing if absent)
        advice.append(
            f"it learns by heart (accuracy {last['train_accuracy']:.2f} in training, "
            f"{accuracy:.2f} in the test): {options or 'more images'}"
        )
    losses = history.epochs.get("validation_loss", history.epochs["train_loss"])
    falling = len(losses) > 1 and losses[-1] < (1 - FALLS) * losses[:-1].min()
    if falling or len(losses) == 1:
        advice.append(f"the loss was still falling: --epochs {2 * config.epochs}")
    if config.model in ("article", "mlp") and last["train_accuracy"] < FAR:
        advice.append(
            f"the network may be too small (accuracy {last['train_accuracy']:.2f} in training): "
            "--model vgg_small or --model resnet_small"
        )
    return advice
