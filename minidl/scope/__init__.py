"""The backprop microscope: one recorded step of a network, served to a browser or as a page.

`md.scope(model, batch)` opens it, so this package can be called. Read in this order: `record`, what
happened in a step; `source`, the text of each pullback; `expected`, what theory says; `film`, a
training step by step; `subject`, which network; `views`, what the page is sent; `desk`, who answers
it; `server`, how; `page`, the page itself; `recorded`, the page with its answers in it.
"""

from ..called import let_be_called
from .opening import Scope, scope

let_be_called(__name__, scope)
