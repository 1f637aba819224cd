"""minidl: the bare step, the Trainer, and the step with a GradientMonitor."""

from collections.abc import Callable

import numpy as np
from cases import RATE, Problem

import minidl as md

VERSION = md.__version__


class Minidl:
    """Forward, backward, update: the loop as the README writes it."""

    def __init__(self, problem: Problem, variant: str) -> None:
        self.model = getattr(md.models, problem.network)(**problem.options)
        self.model.load_state_dict(problem.weights)
        self.model.train(problem.train)
        self.problem = problem
        self.optimizer = md.optim.SGD(self.model.parameters(), RATE)
        self.batches = [
            (md.tensor(x), y) for x, y in zip(problem.images, problem.labels, strict=True)
        ]

    def step(self, i: int) -> float:
        x, labels = self.batches[i % len(self.batches)]
        self.optimizer.zero_grad()
        loss = md.ops.cross_entropy(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def answer(self, i: int) -> np.ndarray:
        with md.no_grad():
            return self.model(self.batches[i % len(self.batches)][0]).numpy()

    def ready(self, n: int) -> Callable[[], object]:
        act = self.step if self.problem.train else self.answer
        return lambda: [act(i) for i in range(n)]


class Fit(Minidl):
    """One epoch of Trainer.fit."""

    def ready(self, n: int) -> Callable[[], object]:
        many = -(-n // len(self.batches))
        shape = self.problem.images.shape[1:]
        images = np.concatenate([self.problem.images.reshape(-1, *shape[1:])] * many)
        labels = np.concatenate([self.problem.labels.reshape(-1)] * many)
        data = md.data.Dataset(images[: n * shape[0]], labels[: n * shape[0]])
        trainer = md.Trainer(self.model, optimizer=self.optimizer, seed=0)
        return lambda: trainer.fit(data, epochs=1, batch_size=shape[0], progress=False)


class Unfused(Minidl):
    """The step with a hook at every layer that does nothing: each layer runs by itself."""

    def __init__(self, problem: Problem, variant: str) -> None:
        super().__init__(problem, variant)
        for _, module in self.model.named_modules():
            module.register_forward_hook(lambda module, inputs, output: None)


class Monitored(Minidl):
    """The step with every layer watched."""

    def __init__(self, problem: Problem, variant: str) -> None:
        super().__init__(problem, variant)
        self.monitor = md.health.GradientMonitor(self.model)

    def step(self, i: int) -> float:
        x, labels = self.batches[i % len(self.batches)]
        self.optimizer.zero_grad()
        loss = md.ops.cross_entropy(self.model(x), labels)
        loss.backward()
        self.monitor.before_update()
        self.optimizer.step()
        self.monitor.after_update()
        return loss.item()


def make(problem: Problem, variant: str) -> Minidl:
    return {"": Minidl, "fit": Fit, "unfused": Unfused, "monitor": Monitored}[variant](
        problem, variant
    )
