"""Requests that are not answered: why, in one sentence, and with what may be done instead."""

from pydantic import BaseModel

RETRY_SECONDS = 2
"""When whoever was sent away for others' sake should come again."""


class Sentence(BaseModel):
    """Why a request cannot be answered."""

    detail: str


class RefusedRequestError(Exception):
    """A request that cannot be answered as it is; the sentence says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence

    @property
    def headers(self) -> dict[str, str]:
        """A refusal for want of room (503) says when to come again, and closes the connection."""
        if self.status != 503:  # noqa: PLR2004
            return {}
        return {"retry-after": str(RETRY_SECONDS), "connection": "close"}
