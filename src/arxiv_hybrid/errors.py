"""The one exception that stands for a mistake the user can mend."""


class UserError(Exception):
    """Bad input: its text is one line that says what, where and what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
