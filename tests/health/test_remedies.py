"""Findings in the order of their causes, each cause with one cure, in the words of the place."""

import pytest

import minidl as md
from minidl.errors import ConfigError
from minidl.health import doctor
from minidl.lab import cnn


def asked(init="he_normal", rate=0.01, factor=1.0, **options):
    """The report on a CNN of six layers whose images are multiplied by a factor."""
    md.manual_seed(0)
    model = md.models.deep_plain_cnn(6, 8, init)
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    return doctor(model, (images * factor, labels), md.optim.SGD(model.parameters(), rate))


def test_where_the_signal_explodes_the_weights_come_before_the_rate():
    report = asked(md.nn.init.normal(0.5), 0.5)
    assert (report.verdict, report.regime) == ("will diverge", "signal explodes")
    regimes = [f.regime for f in report.findings]
    assert regimes.count("rate too high") and regimes == sorted(
        regimes, key=lambda regime: regime != "signal explodes"
    )
    assert report.findings[0].code == "forward-growth"
    cures = [f.cure for f in report.findings if f.regime == report.regime]
    assert (
        cures == [report.remedy] * len(cures) == [{"init": "he_normal", "bias": 0.0}] * len(cures)
    )
    (rate,) = [f for f in report.findings if f.code == "update-ratio"]
    assert "signal explodes" in rate.prescription and "0.5" not in rate.prescription


def test_where_the_rate_is_at_fault_it_comes_first():
    report = asked(rate=5.0)
    assert report.regime == "rate too high" and report.findings[0].code == "update-ratio"
    assert report.findings[0].cure == report.remedy and report.remedy["lr"] < 5


def test_large_images_before_good_weights_are_the_only_cause():
    assert asked(factor=100.0).remedy == {"input": "standardize"}
    both = asked(md.nn.init.normal(0.5), factor=100.0).remedy
    assert both == {"input": "standardize", "init": "he_normal", "bias": 0.0}


def test_weights_of_the_right_size_are_not_prescribed_again():
    """Residual branches add up: the signal grows, whatever the initializer."""
    md.manual_seed(0)
    branches = [md.nn.Residual(md.nn.Sequential(md.nn.Dense(64, 64))) for _ in range(4)]
    model = md.nn.Sequential(md.nn.Flatten(), md.nn.Dense(784, 64), *branches, md.nn.Dense(64, 10))
    report = doctor(model, cnn.first_batch(cnn.HEALTHY, 0))
    (growth,) = [f for f in report.findings if f.code == "forward-growth"]
    assert report.regime == "none" and "init=" not in growth.prescription
    assert "he_normal already" in growth.prescription


def test_cures_are_told_in_the_words_of_the_place():
    report = asked(md.nn.init.normal(0.5), factor=100.0)
    code, line = report.table(), report.table("command line")
    assert code.count('init="he_normal"') == 1  # one cause, one cure
    assert "md.data.standardize" in code and "--" not in code[-400:]
    assert "--standardize, set --init he_normal" in line and "md.data" not in line
    assert "--lr 0.0" in asked(rate=5.0).advice("command line")
    with pytest.raises(ConfigError, match="place to be one of code, command line, got 'shell'"):
        report.table("shell")
