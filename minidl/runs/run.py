"""A trained run and its folder: opened again, measured, asked about images."""

import base64
import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset, Normalize, Transform, load_image, normalize
from ..errors import CheckpointError, ConfigError, DataError
from ..files import check_ordinary
from ..nn import Module
from ..train import Results, Trainer, load
from ..train.session import BEST
from .config import Config
from .data import load_data

PathLike = str | os.PathLike[str]


@dataclass
class Run:
    """A trained model with all that it needs to classify an image.

    shape: of an image, (C, H, W). normalize: the transform that the model expects; None for images
    in [0, 1]. facts: the description of the run's data in its config.json.
    """

    config: Config
    model: Module
    classes: Sequence[str]
    shape: tuple[int, ...]
    normalize: Normalize | None
    facts: dict[str, Any]

    @classmethod
    def open(cls, folder: PathLike, device: str = "cpu", *, last: bool = False) -> "Run":
        """Read config.json and the weights: those of the best epoch where they were kept, else of
        the last.

        last: take those of the last epoch in any case.
        Raises: CheckpointError for a folder that is no run, or a damaged file; ConfigError for
        options that this version does not know.
        """
        config, facts = read_config(folder)
        shape = tuple(facts["image_shape"])
        model = config.build_model(shape, len(facts["classes"]))
        best = (Path(folder) / BEST).exists() and not last
        load(Path(folder) / (BEST if best else "model.safetensors"), model)
        return cls(config, model.to(device), facts["classes"], shape, facts["normalize"], facts)

    def trainer(self) -> Trainer:
        """A Trainer of the model, to measure and predict with."""
        optimizer = self.config.build_optimizer(self.model)
        return Trainer(self.model, loss=self.config.build_loss(), optimizer=optimizer)

    def test_part(
        self, progress: bool = True, say: Callable[[str], Any] = warnings.warn
    ) -> Dataset:
        """The test part of the run's data, normalised as the model expects it.

        say: called with a warning where test images are among the images trained on.
        Raises: DataError where the data has other classes than the run has learned.
        """
        splits = load_data(self.config, self.normalize, progress)
        if list(splits.test.classes) != self.classes:
            raise DataError(
                f"evaluate: the run has learned the classes {', '.join(self.classes)}, but "
                f"{self.config.data!r} has {', '.join(splits.test.classes)}; give the folders "
                "their names back"
            )
        seen = np.isin(splits.hashes["test"], self.facts["trained_on"]).sum()
        if seen and splits.digests() != self.facts["digests"]:
            say(
                f"{seen} of {len(splits.test)} test images were trained on, so the accuracy says "
                f"too much: files in {self.config.data!r} have been added, removed or changed"
            )
        return splits.test

    def evaluate(
        self, progress: bool = True, say: Callable[[str], Any] = warnings.warn
    ) -> dict[str, float]:
        """Loss and accuracy on the test part of the run's data. Arguments as for `test_part`."""
        return self.trainer().evaluate(self.test_part(progress, say))

    def results(self, test: Dataset) -> Results:
        """The model's probabilities for each image of a test part, beside the labels."""
        probabilities = self.trainer().predict(test)
        return Results(test.labels, probabilities, self.classes, test.paths)

    def as_seen(self, test: Dataset) -> Dataset:
        """A test part with its images as they were before they were normalised."""
        if self.normalize is None:
            return test
        return test.map(Transform(self.normalize.undo, "as seen"))

    def predict(self, paths: Iterable[PathLike]) -> np.ndarray:
        """The probabilities (N, K) for image files, brought to the model's size and colours."""
        channels, height, width = self.shape
        read = [load_image(path, gray=channels == 1, size=(height, width)) for path in paths]
        if not read:
            raise DataError("predict: expected at least one image file, got none")
        images = np.stack(read)
        found = self.trainer().predict(self.normalize(images) if self.normalize else images)
        if not np.isfinite(found).all():
            raise DataError(
                "predict: expected finite probabilities from the model, got NaN or infinity; its "
                "weights are too large: train it again with a smaller learning rate"
            )
        return found


def read_config(folder: PathLike) -> tuple[Config, dict[str, Any]]:
    """(options, facts about the data) from a run's config.json. The device is set to "cpu".

    Raises: CheckpointError if the file is missing or damaged; ConfigError naming it for options
    that no run can have.
    """
    path = Path(folder) / "config.json"
    check_ordinary(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config, facts = Config.from_dict(content["options"]), content["data"]
        names, shape = facts["classes"], facts["image_shape"]
        if not (_all(str, names) and names and _all(int, shape) and len(shape) == 3):
            raise ValueError(f"classes {names!r}, image_shape {shape!r}")
        norm = None if facts["normalize"] is None else normalize(**facts["normalize"])
        if norm is not None and len(norm.mean) not in (1, shape[0]):
            raise ValueError(f"normalize for {len(norm.mean)} channels, images of {shape[0]}")
        known = {
            "classes": names,
            "image_shape": shape,
            "normalize": norm,
            "digests": dict(facts.get("digests", {})),
            "trained_on": np.frombuffer(base64.b64decode(facts.get("trained_on", "")), "<u8"),
        }
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"cannot open {str(folder)!r}: it is no run folder (there is no config.json in it); "
            "give the folder that minidl train wrote"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"cannot open {str(path)!r}: it is damaged ({error})") from None
    config.device = "cpu"
    try:
        config.check()
    except ConfigError as error:
        raise ConfigError(f"cannot use the options in {str(path)!r}: {error}") from None
    return config, known


def _all(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)
