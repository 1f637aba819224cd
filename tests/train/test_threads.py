"""Each training draws its random numbers from a stream of its own."""

import threading

import numpy as np

import minidl as md
from minidl import rng


def test_trainings_in_threads_are_those_that_run_one_after_another(small):
    def weights(trainer):
        small.run(trainer, epochs=4)
        return np.concatenate([p.numpy().ravel() for p in trainer.parameters])

    alone = [weights(small.trainer(seed=s)) for s in range(3)]
    together = [None] * 3
    trainers = [small.trainer(seed=s) for s in range(3)]

    def work(i):
        together[i] = weights(trainers[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_leaves_the_shared_generator_alone(small):
    trainer = small.trainer()
    md.manual_seed(11)
    expected = rng.generator().normal(size=3)
    md.manual_seed(11)
    small.run(trainer)
    np.testing.assert_array_equal(rng.generator().normal(size=3), expected)


def test_a_stream_of_its_own():
    md.manual_seed(1)
    shared = rng.generator()
    with rng.using(np.random.default_rng(5)):
        np.testing.assert_array_equal(
            rng.generator().normal(size=2), np.random.default_rng(5).normal(size=2)
        )
        md.manual_seed(6)  # restarts the stream in use
        assert rng.generator().integers(1000) == np.random.default_rng(6).integers(1000)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(rng.generator()))
        thread.start()
        thread.join()
        assert seen[0] is shared
    assert rng.generator() is shared
