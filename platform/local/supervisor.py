"""Keeps a set of programs and servers running, and stops them in order."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from local.errors import LocalError, StoppedError, on_stop_signals, stop_flag

WATCH_SECONDS = 0.2
LONGEST_PAUSE = 30.0  # seconds between two tries to restart
CALM_SECONDS = 60.0  # after so long alive, a death counts as the first again


class Member(Protocol):
    """What can be supervised: a `Child`, an embedded server."""

    name: str

    @property
    def running(self) -> bool: ...
    @property
    def code(self) -> int | None: ...
    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def clear(self) -> None: ...
    def tail(self, lines: int = 15) -> str: ...


@dataclass
class _Watched:
    """A member with the history of its deaths."""

    member: Member
    started_at: float = field(default_factory=time.monotonic)
    deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """Watches members from the main thread. say: prints one message for a person."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._watched: list[_Watched] = []

    def watch(self, *members: Member) -> None:
        """Take members, started or not, in the order of need: they stop the other way round."""
        self._watched += [_Watched(member) for member in members]

    def handle_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP ask for a stop; a second one kills everything at once."""
        on_stop_signals(self._on_signal)

    def check(self) -> None:
        """Raise LocalError, with the end of its log, where a member has ended."""
        for watched in self._watched:
            if watched.member.code is not None:
                raise LocalError(obituary(watched.member))

    def run(self) -> None:
        """Restart what dies, until a stop is asked for."""
        while not stop_flag.asked:
            for watched in self._watched:
                self._tend(watched)
            time.sleep(WATCH_SECONDS)

    def stop(self) -> None:
        """Stop every member that was started, the last first; each gets its own time to end."""
        for watched in reversed(self._watched):
            watched.member.stop()

    def _tend(self, watched: _Watched) -> None:
        """Notices a member's death, and restarts it when its pause is over."""
        member, now = watched.member, time.monotonic()
        if member.running or stop_flag.asked:
            return
        if watched.restart_at is None:
            if now - watched.started_at > CALM_SECONDS:
                watched.deaths = 0
            pause = min(LONGEST_PAUSE, 0.25 * 2**watched.deaths)
            watched.deaths += 1
            watched.restart_at = now + pause
            self._say(f"{obituary(member)}\n{member.name} is restarted in {pause:g} s")
            member.clear()
        elif now >= watched.restart_at:
            watched.restart_at = None
            watched.started_at = now
            try:
                member.start()
            except StoppedError:
                return
            except LocalError as error:
                self._say(str(error))
            else:
                self._say(f"{member.name} runs again")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if stop_flag.asked:
            self._say("killed: the next start recovers")
            for watched in self._watched:
                if watched.member.running:
                    os.killpg(watched.member.pid, signal.SIGKILL)
            os._exit(128 + number)
        stop_flag.asked = True


def obituary(member: Member) -> str:
    """Return how a member ended, and the end of its log."""
    code = member.code
    if code is not None and code < 0:
        reason = f"was killed by {signal.Signals(-code).name}"
    else:
        reason = f"ended with code {code}"
    tail = member.tail()
    return f"{member.name} {reason}" + (f"; its last lines:\n{tail}" if tail else "")
