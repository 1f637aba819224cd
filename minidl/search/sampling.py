"""Optuna's samplers, which propose the next settings, and pruners, which end bad trials early."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from optuna import Study, pruners, samplers
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

_SAMPLERS: dict[str, Callable[[int], samplers.BaseSampler]] = {
    "tpe": lambda seed: samplers.TPESampler(seed=seed),
    "random": lambda seed: samplers.RandomSampler(seed=seed),
    "cma-es": lambda seed: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
}


def number_from(*parts: Any) -> int:
    """A hash of these values: a whole number below 2³², the same in every process."""
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


class Placed(samplers.BaseSampler):
    """A sampler whose random numbers follow from the seed, the trial and the option.

    A sampler of Optuna's draws from one stream of random numbers, which a killed process loses.
    Here each trial, and each option that is drawn by itself, begins a stream of its own, seeded by
    (seed, number of the trial, name of the option). So the draw of a trial depends on the trials
    before it and on nothing else.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._make, self._seed = _SAMPLERS[name], seed
        self._of_trial: tuple[int, samplers.BaseSampler] | None = None

    def _sampler(self, trial: FrozenTrial) -> samplers.BaseSampler:
        """The sampler of a trial: the same one for all its calls, because it keeps state."""
        if self._of_trial is None or self._of_trial[0] != trial.number:
            self._of_trial = trial.number, self._make(number_from(self._seed, trial.number))
        return self._of_trial[1]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self._make(number_from(self._seed, trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._sampler(trial).after_trial(study, trial, state, values)


def make_pruner(name: str, epochs: int) -> pruners.BasePruner:
    """The pruner of a name, for trials of so many epochs.

    "median" ends a trial that is worse than the median of the others at its epoch. "hyperband" ends
    the worse two thirds of a bracket of trials at the epochs 1, 3, 9, ... "none" ends none.
    Source: Li et al. 2018, "Hyperband".
    """
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    return pruners.NopPruner()
