"""JSON lines to and from a child process, without ever blocking the caller."""

from __future__ import annotations

import json
import queue
import threading
from typing import IO, Any

_LONGEST_LINE = 16 * 2**20
_MOST_NOISE = 200  # lines that are no message; libraries may print a few


class ChannelClosedError(Exception):
    """Nothing more will come: the process closed its end, or talks nonsense."""


class Channel:
    """One thread reads, one writes; both end with the process."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._noise: list[str] = []
        self._noise_count = 0
        self._threads = [
            threading.Thread(target=self._read, name="rasterfuse-read", daemon=True),
            threading.Thread(target=self._write, name="rasterfuse-write", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_noisy(self) -> bool:
        """More lines than can be overlooked were no messages."""
        return self._noise_count > _MOST_NOISE

    @property
    def noise(self) -> list[str]:
        """The first lines that were no messages, shortened."""
        return list(self._noise)

    def forget_noise(self) -> None:
        """Begin to count anew, so a long life with few prints each job is no fault."""
        if not self.is_noisy:
            self._noise_count = 0
            self._noise.clear()

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; to a process that is gone it is lost."""
        # Pure ASCII, since it carries even those file names that are no valid Unicode.
        self._outbox.put(json.dumps(message, allow_nan=False).encode("ascii") + b"\n")

    def hang_up(self) -> None:
        """Close the process's standard input after what was sent."""
        self._outbox.put(None)

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, None when none comes in time.

        Raises:
            ChannelClosedError: All messages were received and no other will come.
        """
        try:
            message = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is None:
            self._inbox.put(None)
            raise ChannelClosedError
        return message

    def join(self, timeout_s: float) -> None:
        """Wait for both threads; call it when the process is dead."""
        self.hang_up()
        for thread in self._threads:
            thread.join(timeout_s)

    def _read(self) -> None:
        try:
            while not self.is_noisy:
                line = self._stdout.readline(_LONGEST_LINE)
                if not line:
                    break
                self._take(line)
        except (OSError, ValueError) as error:
            self._noise.append(f"The pipe broke: {error}")
        finally:
            self._inbox.put(None)
            _close(self._stdout)

    def _take(self, line: bytes) -> None:
        message = parse(line)
        if message is not None:
            self._inbox.put(message)
        elif line.strip():
            self._noise_count += 1
            if len(self._noise) < 5:
                self._noise.append(line[:200].decode("utf-8", "replace").strip())

    def _write(self) -> None:
        line = self._outbox.get()
        while line is not None and self._deliver(line):
            line = self._outbox.get()
        _close(self._stdin)

    def _deliver(self, line: bytes) -> bool:
        try:
            self._stdin.write(line)
            self._stdin.flush()
        except (OSError, ValueError):
            return False  # the reading end notices that the process is gone and says why
        return True


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:  # what was still in the buffer can no longer be delivered
        return


def parse(line: bytes) -> dict[str, Any] | None:
    """A line as a message, None when it is none."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    return message
