"""Optimizers, schedules of their learning rate, and clipping of gradients.

`rules` has the formulas. `optimizer` has the part that they share: groups of parameters, and the
state that is kept between steps.
"""

from . import schedules
from .clip import clip_grad_adaptive, clip_grad_norm, clip_grad_value
from .optimizer import Optimizer
from .rules import SGD, Adam, AdamW, RMSProp
from .schedules import constant, cosine, exponential_decay, inverse_time_decay
from .schedules import one_cycle, step_decay, warmup
