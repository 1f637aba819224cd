"""What a trial draws follows from the trials before it, in whatever process it is drawn."""

import optuna
import pytest
from optuna.storages import InMemoryStorage

from minidl.runs import Config
from minidl.search import Space
from minidl.search.sampling import Placed, make_pruner, number_from

SPACE = Space(
    {
        "optimizer": ["sgd", "adam"],
        "lr": {"low": 1e-4, "high": 1.0, "log": True},
        "batch-size": {"low": 1, "high": 64},
        "clip": ["none", "norm"],
        "clip-norm": {"low": 0.1, "high": 10.0},
    }
)
SAMPLERS = ("tpe", "random", "cma-es")


def value(options):
    return -abs(options["lr"] - 0.1) + (options["optimizer"] == "adam")


def search(name, seed, count, split=()):
    """The draws of trials; the sampler is made anew before those in `split`, as after a kill."""
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, direction="maximize", study_name="s")
    study.sampler, found = Placed(name, seed), []
    for i in range(count):
        if i in split:
            study = optuna.load_study(study_name="s", storage=storage, sampler=Placed(name, seed))
        trial = study.ask()
        if i in split:  # killed when some options were drawn, and taken up
            trial.suggest_categorical("optimizer", ("sgd", "adam"))
            study = optuna.load_study(study_name="s", storage=storage, sampler=Placed(name, seed))
            trial = optuna.Trial(study, trial._trial_id)
        found.append(SPACE.draw(trial, Config()))
        study.tell(trial, value(found[-1]))
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_new_process_draws_what_the_old_one_would_have_drawn(name):
    whole = search(name, 3, 18)
    assert search(name, 3, 18, split=range(1, 18)) == whole
    assert search(name, 4, 18) != whole
    assert len({options["lr"] for options in whole}) == 18


def test_samplers_differ_once_they_have_learned():
    random, tpe, cma = (search(name, 0, 25) for name in ("random", "tpe", "cma-es"))
    assert random[-5:] != tpe[-5:] != cma[-5:] != random[-5:]


def test_tpe_learns():
    found = search("tpe", 0, 40)
    adam = [options["optimizer"] == "adam" for options in found]
    assert sum(adam[-15:]) > sum(adam[:15]) and sum(adam[-15:]) >= 12


def test_numbers_depend_on_every_part():
    parts = [(0, 1), (1, 0), (0, 1, "lr"), (0, 1, "l"), ("0\0", 1), (0, "1lr")]
    assert len({number_from(*part) for part in parts}) == len(parts)
    assert number_from(0, 1) == number_from("0", 1) < 2**32


@pytest.mark.parametrize("name", ["median", "hyperband"])
def test_a_bad_trial_is_pruned(name):
    study = optuna.create_study(direction="maximize", pruner=make_pruner(name, 9), study_name="s")
    pruned = 0
    for i in range(20):
        trial = study.ask()
        good = i < 12
        for epoch in range(1, 10):
            trial.report(0.9 + epoch / 100 if good else 0.1, epoch)
            if trial.should_prune():
                pruned += not good
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, 0.99 if good else 0.1)
    assert pruned >= 6


def test_no_pruner_prunes_nothing():
    study = optuna.create_study(direction="maximize", pruner=make_pruner("none", 9))
    for i in range(10):
        trial = study.ask()
        trial.report(-float(i), 3)
        assert not trial.should_prune()
        study.tell(trial, -float(i))
