"""What a request may set."""

import math

import pytest

from minidl.errors import ConfigError
from minidl.scope.settings import CONTROLS, checked, defaults


def test_the_defaults_are_settings():
    assert checked({}) == defaults()
    assert checked(defaults()) == defaults()


@pytest.mark.parametrize(
    "bad",
    [
        {"depth": 10**9}, {"depth": 10**400}, {"depth": 2.5}, {"depth": True}, {"depth": "8"},
        {"scale": math.nan}, {"scale": math.inf}, {"scale": 0}, {"scale": -1}, {"scale": [1]},
        {"width": 0}, {"rate": None}, {"activation": "nothing"}, {"activation": None},
        {"body": {}}, {"clip": 2.0}, {"clip": True}, {"seed": -1}, {"seed": 1.0}, {"layers": 3},
        {"optimizer": "x" * 10_000},
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_its_name(bad):
    with pytest.raises(ConfigError) as error:
        checked(bad)
    assert next(iter(bad)) in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("bad", [None, [], "settings", 3])
def test_settings_are_an_object(bad):
    with pytest.raises(ConfigError, match="an object"):
        checked(bad)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_the_bounds_themselves_are_allowed(control):
    for value in control.choices or (control.low, control.high):
        value = value if control.kind in ("log", "choice") else int(value)
        assert checked({control.name: value})[control.name] == value
