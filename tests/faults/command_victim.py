"""`minidl train` for others to kill: python -m tests.faults.command_victim FILE_EVENTS train ..."""

import sys

from minidl.cli import main
from tests.faults.victim import die_at

if __name__ == "__main__":
    out = sys.argv[sys.argv.index("--out") + 1]
    die_at(out, int(sys.argv.pop(1)))
    main()
