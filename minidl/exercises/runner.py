"""Running the reader's own file and judging it; an error in it becomes a sentence."""

import traceback
import types
from pathlib import Path

from ..errors import DataError
from .answers import Wrong
from .registry import Exercise


def judge(exercise: Exercise, path: Path) -> str:
    """Run the reader's file and check it; a sentence that says what was checked.

    Raises: Wrong with a sentence that says what is wrong; DataError for a file that cannot be read.
    """
    answer = types.ModuleType("answer")
    answer.__file__ = str(path)
    text = _text(path)
    try:
        code = compile(text, str(path), "exec")
        exec(code, answer.__dict__)
        return exercise.check(answer)
    except Wrong:
        raise
    except SyntaxError as error:
        raise Wrong(f"Line {error.lineno} is no Python: {error.msg}.") from None
    except SystemExit:
        raise Wrong("The file ends the program (sys.exit), so nothing was checked.") from None
    except RecursionError:
        raise Wrong("A function calls itself without an end.") from None
    except Exception as error:
        raise Wrong(_told(error, path)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"exercise: cannot read {str(path)!r}: {error}") from None


def _told(error: Exception, path: Path) -> str:
    """An exception as a sentence, with the line of the reader's file in which it arose."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if not frames:  # the engine raised it, for example because a pullback returns no tensor
        return f"{type(error).__name__}: {error}"
    last = frames[-1]
    if isinstance(error, NotImplementedError):
        return (
            f"`{last.name}` is not written yet: put your own lines in the place of line "
            f"{last.lineno}."
        )
    return f"Line {last.lineno}, `{last.line}`, raised {type(error).__name__}: {error}"
