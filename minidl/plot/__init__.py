"""Every figure, drawn from plain numbers. matplotlib is imported here and nowhere else."""

from .figures import COLORS, new_figure, write_figure
from .graphs import graph
from .health import monitor, report
from .images import confusion, gallery
from .learning import feature_maps, filters, saliency, strip, take_pictures
from .search import pyplot_kept, refusals
from .training import compared, curves, gradients, rates
