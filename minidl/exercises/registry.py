"""The exercises, found by their files."""

import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, resources
from types import ModuleType

from ..errors import ConfigError

CHAPTER = re.compile(r"chapter(\d\d)")


@dataclass(frozen=True)
class Exercise:
    """The exercise of a chapter.

    title: the question in a few words. check: gets the reader's file as a module; returns what is
    right, or raises Wrong. blank: the text of the file that the reader starts from.
    """

    number: int
    title: str
    check: Callable[[ModuleType], str]
    blank: str

    @property
    def file(self) -> str:
        """The name of the reader's file."""
        return f"exercise_{self.number:02}.py"


def numbers() -> list[int]:
    """The chapters that have an exercise."""
    package = resources.files(__package__)
    names = (module.name for module in pkgutil.iter_modules([str(package)]))
    return sorted(int(match[1]) for name in names if (match := CHAPTER.fullmatch(name)))


def exercise(number: int) -> Exercise:
    """The exercise of a chapter. Raises: ConfigError for a chapter that has none."""
    known = numbers()
    if number not in known:
        raise ConfigError(
            f"exercise: expected the number of a chapter, {known[0]} to {known[-1]}, got {number}"
        )
    module = import_module(f".chapter{number:02}", __package__)
    blank = resources.files(__package__).joinpath("blank", f"chapter{number:02}.py")
    title = (module.__doc__ or "").partition("\n")[0]
    return Exercise(number, title, module.check, blank.read_text(encoding="utf-8"))


def exercises() -> list[Exercise]:
    """All exercises, in the order of the book."""
    return [exercise(number) for number in numbers()]
