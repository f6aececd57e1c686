"""A request to stop, noted when it comes and heeded when the training can."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import tqdm

from lstm_gen.platform import errors

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Request:
    """Whether somebody asked this program to stop.

    Attributes:
      signal: The signal that asked for it, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._said: str | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextlib.contextmanager
    def at_once(self, what: str) -> Iterator[None]:
        """Have a request end what is in the block where it stands, rather than note it.

        Args:
          what: Said to the user: what is kept, and what becomes of the rest.

        Raises:
          StoppedError: When somebody asks, or has asked already.
        """
        self._said = what
        try:
            self.heed()
            yield
        finally:
            self._said = None

    def heed(self) -> None:
        """Raise StoppedError if somebody asked to stop and nothing is to be waited for."""
        if self.signal is not None and self._said is not None:
            raise errors.StoppedError(f"stopped by {self.signal.name}; {self._said}", self.signal)


@contextlib.contextmanager
def noted() -> Iterator[Request]:
    """Yield what the first SIGTERM or SIGINT is noted in; a second one acts as it always would.

    Outside the main thread, where Python sets no handlers, nothing is noted.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _frame: Any) -> None:
        request.signal = signal.Signals(number)
        _restore(before)
        request.heed()
        tqdm.tqdm.write(f"{request.signal.name}: saving, then stopping; once more stops at once")

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
