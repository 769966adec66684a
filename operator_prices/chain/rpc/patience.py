"""How long answers are waited for: on while they come, and not for ever."""

import asyncio


class Patience:
    """Gives up `silence` seconds after the last answer, and `within` seconds after it was made."""

    def __init__(self, silence: float, within: float | None) -> None:
        self.silence = silence
        self.within = within
        self._deadline = float("inf") if within is None else now() + within
        self._heard = now()

    def begin(self) -> None:
        """Count the silence from now on: something came, or is asked after nothing had been."""
        self._heard = now()

    @property
    def silent(self) -> float:
        """Seconds since the last answer."""
        return now() - self._heard

    @property
    def left(self) -> float:
        """Seconds until nobody is to wait any longer, if no answer comes."""
        return min(self._heard + self.silence, self._deadline) - now()


def now() -> float:
    """The running event loop's time."""
    return asyncio.get_running_loop().time()
