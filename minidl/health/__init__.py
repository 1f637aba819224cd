"""Gradient health: the doctor judges a network before training, the monitor watches it in training.

The doctor works in seven stages. Each is one file, and imports only from the stages before it:

1. probe: runs the network forward and backward once, and notes the size of each layer's output and
   of the gradient by it.
2. measure: also measures one real update of the optimizer and, if asked, a few trial steps.
3. theory: predicts from a layer's weights and the size of its input how large its output should be.
4. strain: adds up how much the updates change the network, and how much change it can take.
5. rules: compares each number with its bound. A number beyond its bound is a finding.
6. remedies: adds a cure to each finding.
7. report: holds the result, and shows it as text, HTML, JSON or a figure.

`doctor.py` runs the stages in this order and puts the model back as it was. `monitor.py` stands
beside them: it uses the probe's idea at every step of a training. `rate.py` chooses a learning
rate. After a NaN, `find_culprit` names the operation and the layer that made it; it stands in
`train/nonfinite.py`, because the Trainer asks it too.
"""

from ..train.nonfinite import Culprit, find_culprit

from .doctor import doctor
from .rate import RateTest, rate_test, safe_rate
from .monitor import GradientMonitor
from .report import Report
from .rules import Finding
