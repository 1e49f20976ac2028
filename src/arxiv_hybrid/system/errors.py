"""The one exception that stands for a mistake the user can mend, and how it is told."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def exit_on_user_error(stopped: str) -> Iterator[None]:
    """End the process with one line and status 2 on a user's mistake, 130 on Ctrl-C.

    stopped: what Ctrl-C says.
    """
    try:
        yield
    except UserError as error:
        sys.exit(_say(f"error: {error}", 2))
    except KeyboardInterrupt:
        sys.exit(_say(stopped, 130))
    except OSError as error:
        if error.errno in CANNOT_WRITE:
            where = error.filename or "the output folder"
            sys.exit(_say(f"error: {where}: cannot be written: {error.strerror}", 2))
        raise


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code
