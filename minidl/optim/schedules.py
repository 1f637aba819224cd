"""Schedules: functions of the step t, counted from 0, that return the learning rate.

All raise ConfigError for a rate, factor or decay below 0, and for a number of steps that is no
int >= 1.
"""

from collections.abc import Callable
from math import cos, pi

from ..checks import check, check_function

Schedule = Callable[[float], float]


def constant(rate: float) -> Schedule:
    """The same rate at every step."""
    check("constant", ">= 0", rate=rate)
    return lambda step: rate


def step_decay(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """rate·factor^⌊t/every⌋: the rate is multiplied by `factor` once in `every` steps."""
    check("step_decay", ">= 0", rate=rate, factor=factor)
    check("step_decay", "an int >= 1", every=every)
    return lambda step: rate * factor ** (step // every)


def exponential_decay(rate: float, factor: float, steps: int = 1) -> Schedule:
    """rate·factor^(t/steps): the rate changes evenly, by `factor` in `steps` steps."""
    check("exponential_decay", ">= 0", rate=rate, factor=factor)
    check("exponential_decay", "an int >= 1", steps=steps)
    return lambda step: rate * factor ** (step / steps)


def inverse_time_decay(rate: float, decay: float) -> Schedule:
    """rate/(1 + decay·t)."""
    check("inverse_time_decay", ">= 0", rate=rate, decay=decay)
    return lambda step: rate / (1 + decay * step)


def cosine(rate: float, steps: int, final: float = 0.0) -> Schedule:
    """Half a cosine, from `rate` at step 0 to `final` at step `steps` and after it.

    Formula: final + (rate - final)·(1 + cos(π·min(t/steps, 1)))/2.
    Source: Loshchilov, Hutter 2017, eq. 5.
    """
    check("cosine", ">= 0", rate=rate, final=final)
    check("cosine", "an int >= 1", steps=steps)
    return lambda step: final + (rate - final) * (1 + cos(pi * min(step / steps, 1))) / 2


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """schedule(t)·(t + 1)/steps in the first `steps` steps, then schedule(t).

    Source: Goyal et al. 2017, section 2.2.
    """
    check("warmup", "an int >= 1", steps=steps)
    check_function("warmup", schedule=schedule)
    return lambda step: schedule(step) * min((step + 1) / steps, 1)


def one_cycle(peak: float, steps: int, up: float = 0.3, low: float = 0.04) -> Schedule:
    """Half a cosine from low·peak up to peak, then half a cosine down to low·peak/10,000.

    up: the share of the steps in which the rate rises.
    Source: Smith, Topin 2018; the formula is PyTorch's.
    """
    check("one_cycle", ">= 0", peak=peak, low=low)
    check("one_cycle", "in [0, 1)", up=up)
    check("one_cycle", "an int >= 1", steps=steps)
    top, rise, fall = up * steps - 1, cosine(low * peak, 1, peak), cosine(peak, 1, low * peak / 1e4)
    return lambda step: rise(step / top) if step < top else fall((step - top) / (steps - 1 - top))
