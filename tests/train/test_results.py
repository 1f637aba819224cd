"""Results of a classifier agree with scikit-learn's, and show what went wrong."""

import csv
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

import minidl as md
from minidl.train import Results


def some(seed, n, k):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(k, 0.4), n)
    return Results(random.integers(0, k, n), probabilities, [f"class {i}" for i in range(k)])


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(2, 7))
def test_counts_and_scores_are_those_of_scikit_learn(seed, n, k):
    results = some(seed, n, k)
    right, guesses, every = results.labels, results.probabilities.argmax(1), list(range(k))
    np.testing.assert_array_equal(
        results.confusion(), metrics.confusion_matrix(right, guesses, labels=every)
    )
    scores = metrics.precision_recall_fscore_support(right, guesses, labels=every, zero_division=0)
    found = [
        [row[x] for row in results.by_class()] for x in ("precision", "recall", "F1", "images")
    ]
    np.testing.assert_allclose(found, scores, rtol=1e-12)


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(2, 7))
def test_mistakes_are_sorted_by_what_the_right_class_got(seed, n, k):
    results = some(seed, n, k)
    rows = results.mistakes()
    assert sorted(rows) == [i for i in range(n) if results.guesses[i] != results.labels[i]]
    given = results.probabilities[rows, results.labels[rows]]
    assert (np.diff(given) >= 0).all()
    assert results.mistakes(3).tolist() == rows[:3].tolist()


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(2, 7))
def test_the_most_confused_are_the_largest_counts_off_the_diagonal(seed, n, k):
    results = some(seed, n, k)
    counts = results.confusion()
    off = sorted((counts[i, j] for i in range(k) for j in range(k) if i != j), reverse=True)
    found = results.most_confused(4)
    assert [count for _, _, count in found] == [c for c in off[:4] if c]
    for a, b, count in found:
        assert counts[results.classes.index(a), results.classes.index(b)] == count


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(2, 7))
def test_the_mean_is_that_of_scikit_learn_where_classes_do_not_occur(seed, n, k):
    results = some(seed, n, k)
    scores = metrics.precision_recall_fscore_support(
        results.labels, results.guesses, average="macro", zero_division=0
    )
    [line] = [line for line in results.table().splitlines() if line.startswith("mean ")]
    np.testing.assert_allclose([float(x) for x in line.split()[1:4]], scores[:3], atol=6e-5)


def three():
    """Two cats, of which one is called a dog; one dog, called a dog."""
    probabilities = np.array([[0.9, 0.1], [0.25, 0.75], [0.4, 0.6]])
    return Results([0, 0, 1], probabilities, ["cat", "dog"], ["a.png", "b, c.png", "d.png"])


def test_the_table_in_words():
    assert three().table().splitlines() == [
        "class  precision  recall      F1  images",
        "cat       1.0000  0.5000  0.6667       2",
        "dog       0.5000  1.0000  0.6667       1",
        "mean      0.7500  0.7500  0.6667       3",
        "",
        "most often confused:",
        "  cat called dog: 1",
    ]
    right = Results([0, 1], np.eye(2), ["cat", "dog"])
    assert "confused" not in right.table()
    assert "<td>cat</td><td>1.0000</td>" in three()._repr_html_()


def test_every_image_is_a_row_of_the_file(tmp_path):
    three().to_csv(tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["image", "label", "guess", "right", "p(cat)", "p(dog)"],
        ["a.png", "cat", "cat", "yes", "0.9", "0.1"],
        ["b, c.png", "cat", "dog", "no", "0.25", "0.75"],
        ["d.png", "dog", "dog", "yes", "0.4", "0.6"],
    ]
    some(0, 3, 2).to_csv(tmp_path / "p.csv")
    assert [line[:2] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]] == [
        "0,", "1,", "2,"
    ]  # fmt: skip
    with pytest.raises(md.errors.CheckpointError):
        three().to_csv(tmp_path / "p.csv" / "q.csv")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("k", [2, 25, 70])
def test_the_figures(tmp_path, channels, k):
    results = some(1, 80, k)
    images = np.random.default_rng(2).uniform(-0.5, 1.5, (80, channels, 6, 5))
    picture = results.plot(tmp_path / "c.png")
    assert picture.axes[0].get_ylabel() == "true class"
    shown = picture.axes[0].images[0].get_array()
    counts = results.confusion()
    np.testing.assert_allclose(shown * counts.sum(1, keepdims=True), counts, atol=1e-9)
    gallery = results.plot_mistakes(images, tmp_path / "m.png", most=7)
    titled = [axis for axis in gallery.axes if axis.get_title()]
    assert len(titled) == 7
    for axis, i in zip(titled, results.mistakes(7), strict=True):
        name, guess = results.classes[results.labels[i]], results.classes[results.guesses[i]]
        assert axis.get_title().startswith(f"{name}\n→ {guess}, ")
        seen = np.clip(images[i].transpose(1, 2, 0), 0, 1)
        np.testing.assert_allclose(axis.images[0].get_array(), seen[..., 0] if channels == 1
                                   else seen)  # fmt: skip
    assert (tmp_path / "c.png").stat().st_size > 1000 < (tmp_path / "m.png").stat().st_size


def test_names_of_files_keep_their_bytes(tmp_path):
    name = os.fsdecode(b"caf\xe9/katze \xe7\x8c\xab.png")
    found = Results([0, 1], np.eye(2), ["cat", "dog"], [name, "b.png"])
    found.to_csv(tmp_path / "p.csv")
    assert b"\ncaf\xe9/katze \xe7\x8c\xab.png,cat" in (tmp_path / "p.csv").read_bytes()


@pytest.mark.filterwarnings("error")
def test_names_of_classes_are_drawn_as_they_stand(tmp_path):
    names = ["$x^{$", "5$ to 6$", os.fsdecode(b"caf\xe9")]
    found = Results([0, 1, 2], np.eye(3)[::-1], names)
    figure = found.plot(tmp_path / "c.png")
    shown = [label.get_text().replace(r"\$", "$") for label in figure.axes[0].get_yticklabels()]
    assert shown == ["$x^{$", "5$ to 6$", "caf?"]
    found.plot_mistakes(np.zeros((3, 1, 4, 4)), tmp_path / "m.png")


def test_without_a_mistake_the_gallery_is_empty():
    right = Results([0, 1], np.eye(2), ["cat", "dog"])
    figure = right.plot_mistakes(np.zeros((2, 1, 3, 3)))
    assert not [axis for axis in figure.axes if axis.get_title()]


@pytest.mark.parametrize(
    ("labels", "probabilities", "paths", "said"),
    [
        ([0, 1], np.zeros((2, 3)), (), r"probabilities \(N, 2\) for the 2 classes"),
        ([0, 1], np.zeros((3, 2)), (), r"got labels \(2,\) of int64, probabilities \(3, 2\)"),
        ([0.0, 1.0], np.zeros((2, 2)), (), "of float64"),
        ([0, 1], np.zeros((2, 2)), ("a",), "1 paths"),
        ([0, 2], np.zeros((2, 2)), (), "labels from 0 to 1, got from 0 to 2"),
        ([-1, 0], np.zeros((2, 2)), (), "got from -1 to 0"),
        (0, np.zeros((1, 2)), (), r"labels \(N,\).* got labels \(\)"),
        ([0, 1], np.array([["1", "0"]] * 2), (), "probabilities .* of <U1"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.1]], (), r"from 0 to 1, got \[nan 0.1\] for example 1"),
        ([0, 1], [[0.5, np.inf], [0.9, 0.1]], (), "for example 0"),
        ([0, 1], [[0.5, 0.5], [8.0, -3.0]], (), "softmax makes them of logits"),
    ],
)
def test_what_does_not_fit_together(labels, probabilities, paths, said):
    with pytest.raises(md.errors.DataError, match=said):
        Results(labels, probabilities, ["cat", "dog"], paths)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.uint64])
def test_the_dtype_of_the_labels_changes_nothing(dtype):
    """A label times the number of classes needs more room than the label."""
    labels, probabilities = np.arange(100), np.eye(100)[::-1]
    names = [str(k) for k in labels]
    right = Results(labels, probabilities, names).confusion()
    np.testing.assert_array_equal(
        Results(labels.astype(dtype), probabilities, names).confusion(), right
    )


@pytest.mark.parametrize("most", [0, -1, 1.5, "all"])
def test_a_number_of_examples_that_is_none(most):
    for ask in (three().mistakes, three().most_confused):
        with pytest.raises(md.errors.ConfigError, match="expected most an int >= 1"):
            ask(most)


def test_images_that_are_not_those_of_the_labels():
    with pytest.raises(md.errors.DataError, match=r"expected images \(3, C, H, W\)"):
        three().plot_mistakes(np.zeros((2, 1, 3, 3)))


def test_of_a_trainer_and_its_data():
    random = np.random.default_rng(0)
    data = md.data.Dataset(random.normal(size=(40, 6)).astype("f"), np.arange(40) % 3)
    model = md.models.mlp(6, (8,), 3)
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1), seed=0)
    trainer.fit(data, epochs=2, batch_size=8, progress=False)
    results = Results(data.labels, trainer.predict(data), data.classes)
    assert np.mean(results.guesses == data.labels) == pytest.approx(
        trainer.evaluate(data)["accuracy"]
    )
