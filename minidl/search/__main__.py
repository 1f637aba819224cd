"""One worker of a search, as a process: `python -m minidl.search OUT STORAGE NAME SECONDS`."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import MinidlError
from ..train.interrupt import Stopped
from .study import open_study
from .worker import Worker


def main(out: str, storage: str, name: str, seconds: str) -> int:
    """Join the search in `out` and work; empty texts stand for None. Returns the exit code."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped("stopped", number)

    signal.signal(signal.SIGTERM, stop)
    end = time.monotonic() + float(seconds or "inf")
    try:
        study, settings = open_study(Path(out), None, storage or None, name or None)
        Worker(settings, study, Path(out), end=end).run()
    except KeyboardInterrupt:
        return 130
    except MinidlError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
