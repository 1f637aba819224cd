"""docs/doctor.md says what the code does: every constant that it quotes, and every word."""

import re
from pathlib import Path

import pytest

from minidl.health import measure, rules, strain

PAGE = " ".join((Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8").split())
CRITICAL = {
    "convolutions, ReLU": "relu",
    "convolutions; units that cannot die, or residual branches": "open",
    "convolutions; tanh or sigmoid": "bounded",
    "Dense layers, ReLU": "dense relu",
    "Dense layers; units that cannot die, or residual branches": "dense open",
}


def test_every_kind_of_network_is_on_the_page():
    assert set(CRITICAL.values()) == set(strain.CRITICAL_STRAIN)


@pytest.mark.parametrize("kind", CRITICAL)
def test_the_critical_strains_on_the_page_are_those_of_the_code(kind):
    row = re.search(rf"\| {re.escape(kind)} \| ([^|]+) \| ([^|]+) \|", PAGE)
    narrow = f"·(1 + {strain.NARROW_RELU:g}·Σ 1/width)" if "ReLU" in kind else ""
    quoted = [
        f"{value:.1f}{narrow}" if narrow else f"{value:g}"
        for value in strain.CRITICAL_STRAIN[CRITICAL[kind]]
    ]
    assert [cell.strip() for cell in row.groups()] == quoted


@pytest.mark.parametrize(
    "sentence",
    [
        f"1/√(RMS of the logits / {strain.TRAINED_LOGITS:g})",
        f"at most {strain.CLIPPED_STEPS:g} times the largest step",
        f"far the last layer moves. The critical strain is {strain.CRITICAL_BOUNDED:g}.",
        f"The critical strain is {strain.CRITICAL_NORMALISED:g}, and "
        f"{strain.CRITICAL_NORMALISED_DENSE:g} for Dense layers alone",
        f"below {strain.SAFE_STRAIN:g} of the critical one",
        f"the batch has {strain.SAFE_BATCH} images or more",
    ],
)
def test_the_constants_on_the_page_are_those_of_the_code(sentence):
    assert sentence in PAGE


def test_what_the_page_says_in_words():
    assert strain.SAFE_LOSS == 2 and "the loss never doubled" in PAGE
    assert measure.UNKNOWN_LOSS_STEPS == 2 and "two steps are always made" in PAGE
    assert all(f"| {regime} |" in PAGE for regime in set(rules.SIGNS) - {"none"})
    assert "`minidl/health/strain.py`" in PAGE
