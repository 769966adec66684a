"""The root of all errors that are meant for the person at the terminal."""


class ExplainedError(Exception):
    """Its text is one sentence: what is the case, and what to do about it."""
