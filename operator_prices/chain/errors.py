"""Why a chain cannot be read, each reason with its class."""

from operator_prices.errors import ExplainedError


class ChainError(ExplainedError):
    """A chain that cannot be read, said in one sentence with the fix."""


class NodeUnreachableError(ChainError):
    """No answer came from any endpoint."""


class NodeHangsError(ChainError):
    """The endpoint is connected and does not answer."""


class NotASubstrateNodeError(ChainError):
    """The endpoint answers, but not as a Substrate node does."""


class RateLimitedError(ChainError):
    """The endpoint refuses to answer as often as it is asked."""


class ArchiveNeededError(ChainError):
    """The node has thrown away the state that is asked for."""


class NodeBehindError(ChainError):
    """The node does not know the block that is asked for, yet or any more."""


class WrongChainError(ChainError):
    """The node serves another chain than the one the data is of."""


class DomainMissingError(ChainError):
    """The domain does not exist at the block that is deep enough to be kept."""


class RefusedError(ChainError):
    """The node refused a request for a reason that will not pass."""


class TooBigError(RefusedError):
    """A request, or the answer to it, is larger than what lies before the node lets pass."""
