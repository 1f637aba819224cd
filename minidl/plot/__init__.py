"""Every figure, drawn from plain numbers. matplotlib is imported in this folder and nowhere else.

Each function takes `path`, a file to write the figure to, and returns the matplotlib figure.
"""

from .figures import COLORS, new_figure, write_figure
from .graphs import graph
from .health import monitor, report
from .images import confusion, gallery
from .learning import feature_maps, filters, saliency, strip, take_pictures
from .search import pyplot_kept, refusals
from .training import compared, curves, gradients, rates
