"""The capture: threads that read a source, and bring it back when it is lost.

One thread watches; each connection is read in a thread of its own, because a driver
may block without end and must then be left behind, never interrupted from outside.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from streamtrack.errors import ConfigError, SourceError, SourceUnavailable, StreamtrackError
from streamtrack.media.frame import Frame
from streamtrack.media.sources import Source

logger = logging.getLogger(__name__)

CaptureState = Literal["connecting", "live", "lost", "ended", "failed"]

_MOST_STUCK = 3
"""Threads left behind in a driver before no further attempt is made (guess)."""


@dataclass(frozen=True, slots=True)
class CaptureTimes:
    """How patient a capture is, in seconds."""

    silence_s: float = 5.0
    """A live source that gives no frame for so long is closed and opened again."""
    opening_s: float = 20.0
    """The same for its first frame: RTSP may be tried twice, each within 5 s."""
    first_retry_s: float = 0.5
    """The pause before the first retry; it doubles with each failure."""
    longest_retry_s: float = 30.0
    """The longest pause, and the one after a refusal: cameras lock accounts."""
    jitter: float = 0.2
    """Share by which pauses vary, so that many cameras do not come back at once."""
    healthy_s: float = 10.0
    """A connection that lasted so long makes the next pause the first again."""
    close_s: float = 2.0
    """Longest wait for the threads when the capture is closed."""


class Backoff:
    """The pauses between attempts: they double, vary, and begin anew after success."""

    def __init__(self, times: CaptureTimes, rng: random.Random) -> None:
        """Start with the shortest pause."""
        self._times = times
        self._rng = rng
        self._failures = 0

    def pause_s(self, healthy_s: float, *, refused: bool = False) -> float:
        """Return how long to wait before the next attempt.

        Args:
            healthy_s: seconds for which the last attempt gave frames.
            refused: whether the source said that asking again is pointless.
        """
        times = self._times
        if healthy_s >= times.healthy_s:
            self._failures = 0
        longest = times.longest_retry_s
        pause_s = min(longest, times.first_retry_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        vary = 1 + times.jitter * (2 * self._rng.random() - 1)
        return (longest if refused else pause_s) * vary


@dataclass(eq=False)
class _Attempt:
    """One connection: a source, the thread that reads it, and what came of it."""

    source: Source
    first: float | None = None
    """When its first frame came."""
    latest: float = 0.0
    """When it began, then when its newest frame came."""
    done: bool = False
    abandoned: bool = False
    error: SourceError | None = None


class _Outcome(NamedTuple):
    """How an attempt ended."""

    error: StreamtrackError | None
    live: bool = True
    healthy_s: float = 0.0
    """From its first frame to its last."""


class Capture:
    """Reads a source and delivers its frames until it ends or the capture is closed.

    Live sources are brought back for ever; recordings end.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        deliver: Callable[[Frame], None],
        *,
        on_state: Callable[[CaptureState, str], None] = lambda state, reason: None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
        times: CaptureTimes | None = None,
    ) -> None:
        """Prepare a capture; start() begins it.

        Args:
            open_source: makes the source anew for each attempt.
            deliver: takes each frame, in the reading thread; must not wait.
            on_state: told each new state and its reason, in one of the capture's threads.
            clock: monotonic seconds.
            rng: varies the pauses.
            wait: waits for the event at most so many seconds, for the pauses.
            times: how patient to be.
        """
        self.state: CaptureState = "connecting"
        self.reason = ""
        """Why the state is as it is, for people; empty while all is well."""
        self.captured = 0
        """Frames delivered."""
        self.reconnects = 0
        """How often frames came back after they had stopped."""
        self._open_source = open_source
        self._deliver = deliver
        self._on_state = on_state
        self._clock = clock
        self._wait = wait
        self._times = times or CaptureTimes()
        self._backoff = Backoff(self._times, rng or random.Random())
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._attempt: _Attempt | None = None
        self._stuck: list[threading.Thread] = []
        self._epoch = -1
        self._seen: tuple[object, ...] = ()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self) -> None:
        """Stop; waits a bounded time for the threads. Closing again does nothing."""
        self._closed.set()
        with self._changed:
            if self._attempt:
                self._attempt.abandoned = True
                self._attempt.source.close()
            self._changed.notify_all()
        started = self._thread.ident is not None
        if started and threading.current_thread() is not self._thread:
            self._thread.join(self._times.close_s)

    def _run(self) -> None:
        """Connect, watch, and connect again until there is nothing left to do."""
        while not self._closed.is_set():
            outcome = self._connect()
            if self._closed.is_set():
                return
            if outcome.error is None and not outcome.live:
                self._set_state("ended", "The source has ended.")
                return
            refused = isinstance(outcome.error, ConfigError | SourceError)
            refused = refused and not isinstance(outcome.error, SourceUnavailable)
            hopeless = not outcome.live or isinstance(outcome.error, ConfigError)
            reason = str(outcome.error or "The source has stopped.")
            self._set_state("failed" if refused or hopeless else "lost", reason)
            if hopeless:
                return
            self._wait(self._closed, self._backoff.pause_s(outcome.healthy_s, refused=refused))

    def _connect(self) -> _Outcome:
        """Make one attempt and say, when it is over, what came of it."""
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if len(self._stuck) >= _MOST_STUCK:
            return _Outcome(
                SourceUnavailable("The camera's driver does not return; unplug the camera.")
            )
        try:
            source = self._open_source()
        except (ConfigError, SourceError) as exc:
            return _Outcome(exc)
        attempt = _Attempt(source, latest=self._clock())
        with self._changed:
            if self._closed.is_set():
                return _Outcome(None)
            self._attempt = attempt
        thread = threading.Thread(
            target=self._read, args=(attempt,), name="capture-reader", daemon=True
        )
        thread.start()
        self._watch(attempt, thread)
        healthy_s = 0.0 if attempt.first is None else attempt.latest - attempt.first
        return _Outcome(attempt.error, source.live, healthy_s)

    def _watch(self, attempt: _Attempt, thread: threading.Thread) -> None:
        """Wait until an attempt is over; give up a live one that has fallen silent."""
        with self._changed:
            while not attempt.done and not self._closed.is_set():
                begun = attempt.first is not None
                limit_s = self._times.silence_s if begun else self._times.opening_s
                left_s = attempt.latest + limit_s - self._clock()
                if not attempt.source.live:
                    self._changed.wait()
                elif left_s > 0:
                    self._changed.wait(left_s)
                else:
                    attempt.abandoned = True
                    attempt.error = SourceUnavailable(
                        f"No picture came from {attempt.source.description} for {limit_s:g} s; "
                        "it is opened again."
                    )
                    break
        if not attempt.done:
            attempt.source.close()
            thread.join(self._times.close_s / 2)
            self._stuck.append(thread)

    def _read(self, attempt: _Attempt) -> None:
        """Deliver a source's frames; the reading thread."""
        error: SourceError | None = None
        try:
            for frame in attempt.source.frames():
                if not self._accept(attempt, frame):
                    break
        except SourceError as exc:
            error = exc
        except Exception as exc:  # a bug must not leave the stream dark without a word
            logger.exception("Reading %s failed", attempt.source.description)
            error = SourceUnavailable(
                f"Reading {attempt.source.description} failed ({type(exc).__name__})."
            )
        with self._changed:
            attempt.error = attempt.error or error
            attempt.done = True
            self._changed.notify_all()

    def _accept(self, attempt: _Attempt, frame: Frame) -> bool:
        """Deliver a frame; False when its attempt was given up."""
        with self._changed:
            if attempt.abandoned:
                return False
            attempt.latest = self._clock()
            if attempt.first is None:
                attempt.first = attempt.latest
                self.reconnects += self.captured > 0
            seen = (id(attempt), frame.epoch, frame.size)
            self._epoch += seen != self._seen
            self._seen = seen
            self.captured += 1
        self._set_state("live", "")
        self._deliver(replace(frame, epoch=self._epoch))
        return True

    def _set_state(self, state: CaptureState, reason: str) -> None:
        """Note and announce a new state; an old one again says nothing."""
        if (state, reason) == (self.state, self.reason) or self._closed.is_set():
            return
        level = logging.WARNING if state in ("lost", "failed") else logging.INFO
        logger.log(level, "Source is %s%s", state, f": {reason}" if reason else "")
        self.state, self.reason = state, reason
        self._on_state(state, reason)
