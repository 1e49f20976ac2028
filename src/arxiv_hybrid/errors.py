"""The one exception that stands for a mistake the user can mend."""

import errno


class UserError(Exception):
    """Bad input: its text is one line that says what, where and what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


# what an OSError is that says only: this place cannot be written
CANNOT_WRITE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.EIO,
    }
)
