"""The backprop microscope: one recorded step of a network, served to a browser or as a page.

`md.scope(model, batch)` opens it, so this package can be called. Read in this order:

1. record: runs one step, and keeps every operation, value and gradient of it.
2. source: finds the text of each pullback in the source.
3. expected: predicts the sizes of signals and gradients by theory.
4. film: trains step by step.
5. subject: builds the network to look at.
6. views: turns a record into data for the page.
7. desk: answers the page's requests; server: carries them over HTTP.
8. page: the HTML, with its scripts in `page/`; recorded: the same page with all answers in it, for
   use without a server.
"""

from ..called import let_be_called
from .opening import Scope, scope

let_be_called(__name__, scope)
