"""What can go wrong by the user's hand. Everything else is a bug of ours and keeps its traceback."""


class TmorError(Exception):
    """The user's input was at fault. The message names the thing, the value and the expectation."""


class FormatError(TmorError):
    """A file is not what it should be: says what was found, what was expected, and where."""


class NobodyError(TmorError):
    """Nobody is seen in a video or pose file."""


class LayoutError(TmorError):
    """A joint layout is unknown, inconsistent, or lacks joints that are needed."""


class CheckpointError(TmorError):
    """A checkpoint can't be read, or does not fit the model or teacher it is used with."""


class ConfigError(TmorError):
    """A configuration file has an unknown key or a value out of range."""
