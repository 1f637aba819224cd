"""An experiment's evidence becomes plain JSON, and tables of plain text."""

import json

import numpy as np

from minidl.lab import REGISTRY, Check, Evidence
from minidl.lab.results import entry, table


def test_an_entry_is_plain_json():
    evidence = Evidence(
        [Check("x", 1.0, np.float64(2.0), low=0.5), Check("y", None, 1, high=0.5)],
        "all well",
        [{"a": np.float32(0.5), "b": float("nan")}],
        {"lines": {"y": (np.arange(2), [1.0, float("inf")])}},
        verdict="true",
    )
    made = entry(REGISTRY["claim-clipping"], evidence, seed=3)
    made = json.loads(json.dumps(made, allow_nan=False))
    assert made["number"] == "C2" and made["seed"] == 3
    assert made["section"] == "3.2, remedy 2" and made["expected as"] == "promise"
    assert made["rows"] == [{"a": 0.5, "b": None}]
    assert made["series"]["lines"]["y"] == [[0, 1], [1.0, None]]
    assert [check["ok"] for check in made["checks"]] == [True, False]
    assert [check["predicted"] for check in made["checks"]] == [1.0, None]
    assert made["checks"][1]["allowed"] == "at most 0.5"


def test_a_table_shows_numbers_shortly():
    cells = {"a": 1234.5, "b": 10.0, "c": float("nan"), "d": None, "e": True, "f": "x", "g": 7}
    assert table([cells]).splitlines()[-1] == "| 1.23e+03 | 10 | – | – | yes | x | 7 |"
    assert table([]) == ""
