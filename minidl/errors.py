"""The exceptions. Each names the call, what it expected, what it got, and what to do."""


class MinidlError(Exception):
    """Base of every error that minidl raises on purpose."""


class ShapeError(MinidlError, ValueError):
    """Shapes, axes or sizes that do not fit each other."""


class DTypeError(MinidlError, ValueError):
    """A data type that the call cannot work with."""


class GradientError(MinidlError, ValueError):
    """A gradient that does not exist, is not finite, or is wrong."""


class DataError(MinidlError, ValueError):
    """Images, labels or files that cannot be used.

    `files` lists every offending (path, reason) pair where files are to blame.
    """

    def __init__(self, message: str, files: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.files = files or []


class ConfigError(MinidlError, ValueError):
    """An option with an unknown name or a value outside its range."""


class DeviceError(MinidlError, RuntimeError):
    """A device that is missing, or arrays on different devices."""


class CheckpointError(MinidlError, RuntimeError):
    """A file of weights or a checkpoint that is damaged or does not fit the model."""
