"""What changes parameters: optimizers, schedules of their rate, clipping of gradients."""

from . import schedules
from .clip import clip_grad_adaptive, clip_grad_norm, clip_grad_value
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSProp
from .schedules import constant, cosine, exponential_decay, inverse_time_decay
from .schedules import one_cycle, step_decay, warmup
