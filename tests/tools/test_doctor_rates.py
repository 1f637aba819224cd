"""The table of the doctor's error rates, from what the study printed."""

from tools.doctor_rates import rates, table
from tools.doctor_study import AGAIN, OUTCOMES, matrix


def log(seed, warned):
    """What the study prints for 10 networks that diverged, 20 that learned, 5 neither."""
    sizes = dict(zip(OUTCOMES, (10, 20, 5), strict=True))
    rows = [
        {"outcome": o, "said": {"x": "will diverge" if i < warned[o] else "healthy"}}
        for o in OUTCOMES
        for i in range(sizes[o])
    ]
    judges = ("0 trial steps", "3 trial steps", AGAIN)
    text = "".join(f"\nplain, 35 networks, {judge}\n{matrix(rows, 'x')}\n" for judge in judges)
    return f"seed {seed}\nplain: 35 of 35\n{text}"


def test_rates_of_each_draw_and_of_all_together():
    logs = [
        log(7, {"diverged": 9, "learned": 1, "neither": 2}),
        log(8, {"diverged": 6, "learned": 0, "neither": 0}),
    ]
    lines = table(logs).splitlines()
    one, other, both = (line.split(" | ") for line in lines)
    assert one[:3] == ["| plain", "7", "0.900 / 0.750 / 5.0 %"]
    assert other[1:3] == ["8", "0.600 / 1.000 / 0.0 %"]
    assert both[:3] == ["| **plain**", "all", "**0.750 / 0.833 / 2.5 %**"]
    found = rates("300 networks each\n" + table(logs))
    assert found["plain"]["recall"] == 0.75
    assert found["plain"]["networks"] == 600
