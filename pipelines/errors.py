"""What can go wrong, by who has to act: the user, the model that missed a gate, or the program."""


class UserError(Exception):
    """A mistake that the user can fix. The message is one line: what, where, what to do. Exit code 2."""


class GateError(Exception):
    """A gate of the recipe was missed. The message names the gate, its value and its limit. Exit code 1."""


class StageError(Exception):
    """A stage ended unexpectedly: an exception of a library, a crash. Exit code 3."""
