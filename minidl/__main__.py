"""`python -m minidl`."""

from .cli import main

main()
