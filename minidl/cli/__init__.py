"""The command line: `minidl` or `python -m minidl`. One file for each group of commands."""

import sys

try:
    import click
except ImportError:
    sys.stderr.write(
        "error: the minidl command needs click: run `pip install 'minidl[demos]'`, or in a "
        "checkout of the project `pip install -e '.[demos]'`\n"
    )
    raise SystemExit(2) from None

from .group import cli, main
from . import train, search, results, diagnose, datasets, exercise, scope  # each adds its commands
