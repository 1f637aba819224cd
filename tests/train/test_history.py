import csv
import math

import numpy as np
import pytest

from minidl.errors import DataError
from minidl.train import History


def made():
    history = History(["0", "3.body.1"], ["loss", "accuracy"])
    for step in range(4):
        history.add_step([step, step // 2 + 1, 0.1 / 3, math.pi * step, 0.5, 1e-30, 1e300, 2.0])
        if step % 2:
            history.add_epoch([step // 2 + 1, 1 / 3, 0.25, 2 / 3, 0.125, 1.5])
    return history


def same(a, b):
    for left, right in ((a.steps, b.steps), (a.epochs, b.epochs)):
        assert list(left) == list(right)
        for name in left:
            assert left[name].dtype == right[name].dtype
            np.testing.assert_array_equal(left[name], right[name])


def test_columns():
    history = made()
    assert len(history) == 4
    np.testing.assert_array_equal(history.steps["epoch"], [1, 1, 2, 2])
    np.testing.assert_array_equal(history.steps["gradient_norm/3.body.1"], [2.0] * 4)
    np.testing.assert_array_equal(history.epochs["validation_accuracy"], [0.125] * 2)
    assert history.last["train_loss"] == 1 / 3
    assert history.steps["step"].dtype == np.int64
    np.testing.assert_array_equal(history.column("loss", 2), [2 * math.pi, 3 * math.pi])
    assert "4 steps, 2 epochs" in repr(history)


def test_nothing_recorded():
    assert len(History()) == 0
    assert History().last == {}
    assert History().steps["loss"].shape == (0,)


def test_csv_gives_the_same_floats_back(tmp_path):
    history = made()
    history.add_step([4, 3, 0.1, math.nan, 0.5, math.inf, math.inf, math.nan])
    history.to_csv(tmp_path / "history.csv")
    same(History.from_csv(tmp_path / "history.csv"), history)


def test_csv_is_one_table_with_one_header(tmp_path):
    made().to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["validation_loss"] for row in rows] == ["", repr(2 / 3), "", repr(2 / 3)]
    assert float(rows[3]["loss"]) == 3 * math.pi


def test_pandas_reads_it(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: nothing reads the file")
    history = made()
    history.to_csv(tmp_path / "history.csv")
    table = pandas.read_csv(tmp_path / "history.csv")
    for name, column in history.steps.items():
        assert table[name].dtype == column.dtype
        np.testing.assert_allclose(table[name], column, rtol=4e-15)  # its parser's last bit
    ends = table.dropna()
    for name in history.epochs:
        np.testing.assert_allclose(ends[name], history.epochs[name], rtol=4e-15)


def test_rows_can_be_appended():
    history = made()
    assert history.csv(0, header=True) == "\n".join(
        [*history.csv(0, header=True).splitlines()[:3], history.csv(2)]
    )


def test_arrays_come_back():
    other = History(["0", "3.body.1"], ["loss", "accuracy"])
    other.set_arrays(made().to_arrays())
    same(other, made())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("gradient_norm,", "norm,"), "expected the columns"),
        (lambda text: text + "4,3,0.1\n", "line 6"),
        (lambda text: text.replace("0.125", "much"), "line 3"),
        (lambda text: "", "expected the columns .*, got none"),
        (lambda text: text + "x" * 200_000, "cannot read .*field larger"),
    ],
)
def test_another_file_is_refused(tmp_path, change, message):
    path = tmp_path / "history.csv"
    made().to_csv(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        History.from_csv(path)
    with pytest.raises(DataError, match="cannot read"):
        History.from_csv(tmp_path / "none.csv")
