"""Calls to a storage that may never answer, given up after a time.

A read of a hung mount cannot be interrupted, by no signal either: all one can do is to stop waiting
for it. So calls are made in a thread beside, one for each thread that makes them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tasks.errors import UserError

T = TypeVar("T")

#: Environment variable with the seconds that the storage may take for a file, and what they are
#: without it.
READ_TIMEOUT = "GENERAL_LEVEL_READ_TIMEOUT"
DEFAULT_SECONDS = 60.0
#: Slowest storage that is waited for: each so many bytes of a file give it one second more.
FLOOR_RATE = 2**20


def read_timeout() -> float:
    """Seconds that the storage may take for a file, without those that its size gives it.

    Raises:
        UserError: when the environment variable holds no number of seconds up to a day.
    """
    given = os.environ.get(READ_TIMEOUT, "").strip()
    if not given:
        return DEFAULT_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise UserError(
            f"{READ_TIMEOUT} is {given!r}: no time that a file may take to read",
            "set it to a number of seconds above 0 and up to 86400, or unset it for 60",
        )
    return seconds


def within(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """The result of a call, made in a thread beside, or what it raised.

    Raises:
        TimeoutError: when it has not returned after so many seconds. It goes on, and what it
            returns in the end is dropped.
    """
    caller: _Caller | None = getattr(_beside, "caller", None)
    if caller is None:
        caller = _beside.caller = _Caller()
    try:
        returned, result = caller.call(max(seconds, 0.0), function, args)
    except BaseException:  # an interrupt too leaves the call without anybody who waits for it
        _beside.caller = None
        raise
    if returned:
        return result
    raise result


class _Caller:
    """A thread that makes the calls of another one."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        threading.Thread(
            target=_serve, args=(self._asked, self._answers), name="storage calls", daemon=True
        ).start()

    def call(
        self, seconds: float, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> tuple[bool, Any]:
        """(True, result) or (False, exception) of the call. Raises `TimeoutError`."""
        self._asked.put((function, args))
        try:
            return self._answers.get(timeout=seconds)
        except Empty:
            raise TimeoutError(f"no answer within {seconds:.3g} s") from None

    def __del__(self) -> None:
        self._asked.put(None)


def _serve(asked: SimpleQueue[Any], answers: SimpleQueue[tuple[bool, Any]]) -> None:
    # Holds no reference to its caller, whose end is its own.
    while (call := asked.get()) is not None:
        function, args = call
        try:
            answer: tuple[bool, Any] = True, function(*args)
        except BaseException as error:
            answer = False, error
        answers.put(answer)
        del call, function, args, answer  # a file is closed when nobody holds it any more


_beside = threading.local()


def _after_fork() -> None:
    global _beside
    _beside = threading.local()  # threads are not forked


os.register_at_fork(after_in_child=_after_fork)
