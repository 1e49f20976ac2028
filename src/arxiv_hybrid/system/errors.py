"""UserError, for mistakes that the user can fix, and how a command reports them."""

import errno
import reprlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from arxiv_hybrid.system.redaction import redact

_WRITE_ERRORS = frozenset(  # errno values that mean "this path cannot be written"
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
        errno.EFBIG,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENXIO,
        errno.ETXTBSY,
        errno.ESTALE,
        errno.EMFILE,
    }
)


_LONGEST_MESSAGE = 2000  # characters
_LONGEST_VALUE = 60


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what is allowed.

    Secrets in it, such as the password in a URL, are hidden. A message of more than 2,000
    characters loses its middle.
    """

    def __init__(self, message: str) -> None:
        message = redact(" ".join(message.split()))
        if len(message) > _LONGEST_MESSAGE:
            half = _LONGEST_MESSAGE // 2
            message = f"{message[:half]} [...] {message[-half:]}"
        super().__init__(message)


class _Short(reprlib.Repr):
    """A repr of bounded length; Python cannot print an integer of 5,000 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, _LONGEST_VALUE, _LONGEST_VALUE

    def repr_int(self, x: int, level: int) -> str:
        del level
        return (
            repr(x) if x.bit_length() < _LONGEST_VALUE else f"a number of {x.bit_length():,} bits"
        )


def shown(value: object) -> str:
    """A value for a message: like `repr`, but short, whatever the value."""
    text = _Short().repr(value)
    return text if len(text) <= 2 * _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} ... {text[-9:]}"


@contextmanager
def exit_on_user_error(interrupted: str) -> Iterator[None]:
    """Exit with one line on stderr: status 2 after a user's mistake, 130 after Ctrl-C.

    A path that cannot be written counts as a user's mistake. Every other exception passes
    through. `interrupted` is the line for Ctrl-C.
    """
    try:
        yield
    except UserError as error:
        _exit(f"error: {error}", 2)
    except KeyboardInterrupt:
        _exit(interrupted, 130)
    except OSError as error:
        if error.errno not in _WRITE_ERRORS:
            raise
        path = error.filename or "the output folder"
        _exit(f"error: {path}: cannot be written: {error.strerror}", 2)


def _exit(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    sys.exit(status)
