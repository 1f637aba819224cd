"""The exercises of the book: a blank file for each chapter, and a check of the reader's own file.

    minidl exercise 7        # writes exercise_07.py; once it is there, says what is wrong in it

A chapter's exercise is two files. `chapterNN.py` holds the check. `blank/chapterNN.py` is the file
that the reader starts from, with the question as its docstring. `answers.py` holds the functions
that the checks share.
"""

from .answers import Wrong
from .registry import Exercise, exercise, exercises
from .runner import judge

__all__ = ["Exercise", "Wrong", "exercise", "exercises", "judge"]
