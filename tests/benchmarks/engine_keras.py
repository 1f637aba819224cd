"""Keras on TensorFlow, images as (N, H, W, C): `fit`, `train_on_batch`, `predict_on_batch`."""

import os
import time
from collections.abc import Callable

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf
from cases import RATE, Problem
from keras import layers as kl

VERSION = f"{keras.__version__} on TensorFlow {tf.__version__}"


class Keras:
    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem, self.variant = problem, variant
        self.images = np.ascontiguousarray(problem.images.transpose(0, 1, 3, 4, 2))
        self.to_set: list = []
        x = inputs = keras.Input(self.images.shape[2:])
        self.spatial: tuple | None = None  # (H, W, C) where a flatten changed the order
        for layer in problem.layers:
            x = self._layer(layer, x)
        self.model = keras.Model(inputs, x)
        for made, weights in self.to_set:
            made.set_weights(weights)
        self.model.compile(
            optimizer=keras.optimizers.SGD(RATE),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def _layer(self, layer: dict, x):
        kind, weights = layer["kind"], self.problem.weights
        if kind == "residual":
            y = shortcut = x
            for part in layer["branch"]:
                y = self._layer(part, y)
            for part in layer["shortcut"] or []:
                shortcut = self._layer(part, shortcut)
            return kl.Add()([shortcut, y])
        if kind == "relu":
            return kl.ReLU()(x)
        if kind == "pool":
            return kl.MaxPooling2D(layer["size"])(x)
        if kind == "mean":
            return kl.GlobalAveragePooling2D()(x)
        if kind == "flatten":
            self.spatial = x.shape[1:] if len(x.shape) == 4 else None
            return kl.Flatten()(x)
        weight = weights[f"{layer['name']}.weight"]
        bias = weights.get(f"{layer['name']}.bias")
        rest = [] if bias is None else [bias]
        if kind == "dense":
            matrix = weight.T
            if self.spatial is not None:  # its rows follow C, H, W; Keras flattens H, W, C
                h, w, c = self.spatial
                matrix = matrix.reshape(c, h, w, -1).transpose(1, 2, 0, 3).reshape(h * w * c, -1)
                self.spatial = None
            made = kl.Dense(len(weight))
            self.to_set.append((made, [matrix, *rest]))
        elif kind == "norm":
            made = kl.BatchNormalization(momentum=0.9, epsilon=1e-5)
            zeros = np.zeros_like(weight)
            self.to_set.append((made, [weight, *rest, zeros, zeros + 1]))
        else:
            pad = layer["padding"]
            padded = pad and layer["stride"] > 1  # "same" would pad one side alone
            x = kl.ZeroPadding2D(pad)(x) if padded else x
            made = kl.Conv2D(
                len(weight),
                weight.shape[2:],
                strides=layer["stride"],
                padding="same" if pad and not padded else "valid",
                use_bias=bias is not None,
            )
            self.to_set.append((made, [weight.transpose(2, 3, 1, 0), *rest]))
        return made(x)

    def step(self, i: int) -> float:
        i %= len(self.images)
        x, labels = self.images[i], self.problem.labels[i]
        if self.variant == "fit":
            return self.model.fit(x, labels, batch_size=len(x), verbose=0).history["loss"][0]
        self.model.reset_metrics()
        return float(self.model.train_on_batch(x, labels))

    def answer(self, i: int) -> np.ndarray:
        return self.model.predict_on_batch(self.images[i % len(self.images)])

    def ready(self, n: int) -> Callable[[], object]:
        if self.variant != "fit":
            act = self.step if self.problem.train else self.answer
            return lambda: [act(i) for i in range(n)]
        size, many = self.images.shape[1], -(-n // len(self.images))
        images = np.concatenate([self.images.reshape(-1, *self.images.shape[2:])] * many)
        labels = np.concatenate([self.problem.labels.reshape(-1)] * many)
        images, labels = images[: n * size], labels[: n * size]
        clock = _Clock()

        def epoch() -> float:
            """Seconds of its steps; what `fit` does before the third is done once an epoch."""
            self.model.fit(images, labels, batch_size=size, verbose=0, callbacks=[clock])
            return (clock.end - clock.third) * n / (n - 2)

        return epoch


class _Clock(keras.callbacks.Callback):
    third = end = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if batch == 2:
            self.third = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.end = time.perf_counter()


make = Keras
