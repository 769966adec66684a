"""What snapshots tell of the domain's staking as a whole: the summary; pure, no I/O."""

from dataclasses import dataclass, field
from typing import Any

from operator_prices.legacy import plain
from operator_prices.legacy.decoding import require_exact, shown
from operator_prices.legacy.numbers import NotANumberError, amount
from operator_prices.legacy.operators import ByOperator
from operator_prices.legacy.snapshots import Offender

ITEM = "DomainStakingSummary"

SUMMED = ("currentTotalStake", "currentOperators", "currentEpochRewards")
"""What of the summary is read by itself."""


@dataclass(slots=True)
class Summaries:
    """Understands one summary after the other."""

    offenders: list[Offender]
    """Where what could not be understood is added."""
    _ids: dict[str, int] = field(default_factory=dict)
    """Operators by their plain decimal text, as far as they were met."""

    def read(
        self, epoch: int, summary: object
    ) -> tuple[dict[str, Any] | None, ByOperator | None, ByOperator | None]:
        """The summary in its normal form, and by operator the active stakes and the rewards."""
        if not isinstance(summary, dict):
            reason = "is missing" if summary is None else "is no object"
            self.offenders.append(
                Offender(epoch, ITEM, "data.domainStakingSummary", shown(summary), reason)
            )
            return None, None, None
        require_exact(summary, SUMMED)
        stakes, active = self._amounts(epoch, summary, "currentOperators")
        rewarded, rewards = self._amounts(epoch, summary, "currentEpochRewards")
        return (
            {
                **summary,
                "currentEpochIndex": str(epoch),
                "currentTotalStake": self._total(epoch, summary.get("currentTotalStake")),
                "currentOperators": stakes,
                "currentEpochRewards": rewarded,
            },
            active,
            rewards,
        )

    def _total(self, epoch: int, value: object) -> object:
        try:
            return str(amount(value))
        except NotANumberError as error:
            path = "data.domainStakingSummary.currentTotalStake"
            self.offenders.append(Offender(epoch, ITEM, path, shown(value), str(error)))
            return None

    def _amounts(
        self, epoch: int, summary: dict[str, Any], name: str
    ) -> tuple[dict[str, object] | None, ByOperator | None]:
        """The map in its normal form, and by operator; None is what could not be understood.

        What is no number stays in the document as it is: left out it would read as none at all.
        """
        told = summary.get(name)
        path = f"data.domainStakingSummary.{name}"
        if not isinstance(told, dict):
            reason = "is missing" if told is None else "is no object"
            self.offenders.append(Offender(epoch, ITEM, path, shown(told), reason))
            return None, None
        normal: dict[str, object] = {}
        known: ByOperator = {}
        ids = self._ids
        if told.keys() <= ids.keys() and (texts := plain.amounts_of(told)) is not None:
            known.update(zip(map(ids.__getitem__, told), texts, strict=True))
            return dict(zip(told, texts, strict=True)), known
        for key, value in told.items():
            operator = None
            try:
                operator = ids[key] if key in ids else amount(key)
                text = str(amount(value))
            except NotANumberError as error:
                where = f"{path}.{key}"
                self.offenders.append(
                    Offender(epoch, ITEM, where, shown(value), str(error), operator)
                )
                normal[key] = value
                if operator is not None:
                    known[operator] = None
            else:
                if key not in ids and key == str(operator):
                    ids[key] = operator
                normal[str(operator)] = text
                known[operator] = text
        return normal, known
