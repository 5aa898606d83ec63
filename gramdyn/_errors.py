"""What gramdyn raises when a user's input cannot be used."""


class InputError(ValueError):
    """A value, array, file or folder that a user gave and that cannot be used.

    The message is one line: what is wrong, what is allowed, what came. The command line prints it
    and exits with status 2; anything else that is raised is a defect of gramdyn.
    """


class ConfigError(InputError):
    """Everything wrong with a configuration, one line a mistake.

    Args:
        mistakes: One finished line a mistake: `file:line: key: what is wrong`.
    """

    def __init__(self, mistakes: list[str]):
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class IncompleteError(RuntimeError):
    """A sweep that ended with chunks not computed; the same command computes those.

    The message is one line: how many, which, why. The command line prints it and exits with
    status 1.
    """
