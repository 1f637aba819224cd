"""A worker for others to kill: python -m tests.search.victim OUT FILE_EVENTS.

It kills itself at that file operation in OUT, before the operation is done.
"""

import sys

from minidl.search.__main__ import main
from tests.faults.victim import die_at

if __name__ == "__main__":
    die_at(sys.argv[1], int(sys.argv[2]))
    raise SystemExit(main(sys.argv[1], "", "", ""))
