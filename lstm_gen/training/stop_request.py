"""Stop request: SIGTERM or Ctrl-C, recorded when it arrives and handled between calls of steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import tqdm

from lstm_gen.platform import errors

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """A request to stop this program; true once a signal has arrived.

    Attributes:
      signal: The signal, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._message: str | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextlib.contextmanager
    def immediate(self, message: str) -> Iterator[None]:
        """Stop at once when a signal arrives inside the block, for work that can be repeated.

        Args:
          message: For the user: the work that is saved, and the work that is repeated.

        Raises:
          StoppedError: When a signal arrives, or has arrived before.
        """
        self._message = message
        try:
            self.raise_if_immediate()
            yield
        finally:
            self._message = None

    def raise_if_immediate(self) -> None:
        """Raise StoppedError if a signal has arrived and the work can be interrupted."""
        if self.signal is not None and self._message is not None:
            raise errors.StoppedError(
                f"stopped by {self.signal.name}; {self._message}", self.signal
            )


@contextlib.contextmanager
def listen() -> Iterator[StopRequest]:
    """Yield a request that the first SIGTERM or SIGINT sets; a second one has its default effect.

    Outside the main thread, where Python allows no signal handlers, no signal sets it.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, _frame: Any) -> None:
        request.signal = signal.Signals(number)
        _restore(before)
        request.raise_if_immediate()
        tqdm.tqdm.write(
            f"{request.signal.name}: saving a checkpoint, then stopping; a second signal stops "
            "at once, without saving"
        )

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
