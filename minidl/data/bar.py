"""A progress bar where rich is installed and someone is watching; otherwise nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, total: int, *, show: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar of `total` steps on standard error. Yields advance(count): call it after `count` steps.

    show: False shows nothing.
    """
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        show = False
    if not show or not (console := Console(stderr=True)).is_terminal:
        yield lambda count: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)
