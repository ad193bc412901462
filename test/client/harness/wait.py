"""Waiting for an event, never for time.

Every wait ends with the event or with an error that says what was awaited. The limit is generous, as it is only ever
reached by a test that fails; STOPGO_TEST_TIMEOUT (seconds) makes it larger for slow machines.
"""
import os
import time

LIMIT = float(os.environ.get("STOPGO_TEST_TIMEOUT", "30"))


class TimedOut(AssertionError):
    """Something that had to happen did not."""


def until(condition, what, limit=None):
    """Poll a condition that no descriptor announces (the state of a process in /proc); return its first true value."""
    limit = LIMIT if limit is None else limit
    end = time.monotonic() + limit
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimedOut(f"waited {limit:g} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def for_text_in_fifo(path):
    """What is written to a named pipe until its writer closes it."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    text = b""

    def read():
        nonlocal text
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return False
        text += data
        return text and not data
    try:
        until(read, f"somebody to write to {path}")
    finally:
        os.close(fd)
    return text.decode()
