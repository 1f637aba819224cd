"""A training run for others to kill: python -m tests.faults.victim OUT [FILE_EVENTS].

Goes on with the run in OUT. With FILE_EVENTS it kills itself at that file operation in OUT, before
the operation is done, because no clock hits those moments.
"""

import os
import signal
import sys
from pathlib import Path

from minidl.train import Checkpoints
from tests.train.conftest import make_trainer, run

OPTIONS = {"epochs": 4, "checkpoint_every": 1}


class Ready:
    """Tells whoever waits that the training has begun."""

    def start(self, trainer):
        print("ready", flush=True)


def die_at(folder, count):
    """Kill this process at the `count`-th file operation below `folder`."""
    left = count

    def hook(event, arguments):
        nonlocal left
        if event.startswith(("open", "os.", "shutil.")) and any(
            isinstance(a, str | Path) and str(a).startswith(folder) for a in arguments
        ):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    out = sys.argv[1]
    if len(sys.argv) > 2:
        die_at(out, int(sys.argv[2]))
    # What goes on must come from the checkpoint, not from the same initial weights.
    init_seed = 99 if Checkpoints(Path(out) / "checkpoint").paths() else 1
    run(make_trainer([Ready()], init_seed=init_seed), out, resume=True, **OPTIONS)
    print("done", flush=True)
