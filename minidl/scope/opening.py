"""Opening the microscope: from Python or a notebook, or on the lab's network."""

import threading
import webbrowser
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from ..checks import check
from ..device import to_host
from ..errors import ConfigError, DataError
from ..nn import Module
from ..ops import cross_entropy
from ..tensor import ArrayLike, as_tensor
from .server import Server
from .subject import GivenModel, Subject, class_names, same_batch


class Scope:
    """A microscope that is open: its address, and how to close it.

    url: the address of its page. A notebook shows the page itself. The microscope stays open until
    `close()`, or as long as Python runs; used in a `with` statement, until that ends.
    """

    def __init__(self, subject: Subject, port: int = 0) -> None:
        self._server = Server(subject, port)
        self.url = self._server.url
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until somebody interrupts or closes it."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def close(self) -> None:
        """Stop the server. A second call does nothing."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Scope":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Scope at {self.url}>"

    def _repr_html_(self) -> str:
        address = escape(self.url)
        return (
            f'<iframe src="{address}" width="100%" height="860" style="border:0" '
            f'title="backprop microscope"></iframe><a href="{address}">{address}</a>'
        )


def scope(
    model: Module,
    batch: tuple[ArrayLike, ArrayLike],
    *,
    loss: Callable[[Any, Any], Any] = cross_entropy,
    classes: Sequence[str] | None = None,
    port: int = 0,
    browser: bool = False,
) -> Scope:
    """Open the backprop microscope on a model: a page that shows one step of it, op by op.

    The model is copied and stays as it is. Trainings on the page use this batch alone.
    batch: (images, labels) as training would see them; the images finite floats. loss: a function
    of (outputs, labels). classes: the labels' names. port: of the local page; 0 takes a free one.
    browser: whether to open the page in a browser.
    Returns the open microscope, which a notebook shows; `.url` is its address, `.close()` ends it.
    Raises: ConfigError for a model that is no Module or has no parameters, or a port that is taken;
    DataError for an unusable batch; any error of the model or the loss on this batch.
    """
    check("scope", "an int >= 0", port=port)
    if not isinstance(model, Module):
        raise ConfigError(f"scope: expected an nn.Module, got {type(model).__name__}")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise DataError(f"scope: expected a batch (images, labels), got {type(batch).__name__}")
    images, labels = (to_host(as_tensor(part).data) for part in batch)
    if not model.parameters():
        raise ConfigError("scope: expected a model with parameters, got one without any")
    if not images.size or len(images) != len(labels):
        raise DataError(
            f"scope: expected as many images as labels, at least one, got shapes {images.shape} "
            f"and {labels.shape}"
        )
    if images.dtype.kind != "f" or not np.isfinite(images).all():
        raise DataError(f"scope: expected finite images of floats, got {images.dtype}")
    images = images.astype(model.parameters()[0].dtype, copy=False)
    subject = GivenModel(
        model,
        same_batch(images, labels),
        class_names(classes, labels),
        type(model).__name__,
        loss,
    )
    opened = Scope(subject, port)
    try:
        opened._server.desk.step({"parts": ["network"]})  # an error comes here, not on the page
    except BaseException:
        opened.close()
        raise
    if browser:
        webbrowser.open(opened.url)
    return opened
