"""Follow what nominators have from epoch to epoch, reading only what may have changed.

Nothing is concluded from events or from what is usual: what is believed of all nominators of an
operator is held against what its own entry says of them together, and where the two differ its
accounts are read and listed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from operator_prices.chain.entries import NOTHING, Entry, Pair, Prices, entries_of, frame
from operator_prices.chain.port import NOMINATOR_EPOCHS, Listing, Nominators
from operator_prices.chain.rpc.rounds import both
from operator_prices.chain.substrate import listing
from operator_prices.chain.substrate.asking import Asked
from operator_prices.chain.substrate.halving import Ends, Halving
from operator_prices.chain.substrate.histories import (
    BEFORE,
    Followed,
    Histories,
    Rest,
    ToRead,
    Totals,
    nominators_at,
    totals_of,
)
from operator_prices.chain.substrate.node import Node
from operator_prices.chain.substrate.stakes import ITEMS, Decoder, keys_of, pools
from operator_prices.chain.substrate.storage import Boundary, State
from operator_prices.chain.substrate.values import Values

LISTED_EVERY = 1000
"""Epochs after which all keys are listed, to see whether anything was missed."""


def follow(
    node: Node,
    values: Values,
    asked: Asked,
    *,
    boundaries: Sequence[Boundary],
    operators: pl.DataFrame,
    before: Nominators | Listing,
) -> Followed:
    """Find every change of an entry at the end blocks of some epochs (`NOMINATORS`)."""
    for end in (boundary.end for boundary in boundaries):
        node.runtimes.get(end.spec_version, end.block_hash)
    following = _Following(node, values, asked, boundaries, operators=operators)
    following.begin(before)
    return following.followed()


class _Following:
    def __init__(
        self,
        node: Node,
        values: Values,
        asked: Asked,
        boundaries: Sequence[Boundary],
        *,
        operators: pl.DataFrame,
    ) -> None:
        self._node = node
        self._values = values
        self._decoder = Decoder(values, pools(operators))
        self._asked = asked
        self._ends = [boundary.end for boundary in boundaries]
        self._transitions = [boundary.transition for boundary in boundaries]
        self._epochs = [boundary.epoch for boundary in boundaries]
        self._told = Ends.of(self._ends, asked)
        self._totals = totals_of(operators, self._epochs)
        self._listed: set[int] = set()
        self._known: Mapping[Pair, Entry] = {}
        self._first: Mapping[Pair, Entry] = {}
        """All there is at the first epoch, where nobody knows what there was before."""
        self._histories = Histories(self._epochs, {}, BEFORE)
        self._before: dict[int, tuple[Rest, Totals | None]] = {}
        """What was left of each operator's totals before the first epoch, and the totals."""
        self._acted: dict[int, list[int]] = {}
        self._prices: Prices = {}
        self._began_here = False

    def begin(self, before: Nominators | Listing) -> None:
        """Learn what there was before, by a full listing of the first epoch if need be."""
        told: dict[int, Totals | None]
        if isinstance(before, Listing):
            self._began_here = True
            since = self._epochs[0]
            found = self._list_all(0)
            self._prices = listing.prices(self._node, self._asked.domain_id, self._ends[0], found)
            self._known = {pair: entry for pair, entry in found.items() if entry is not None}
            self._first = self._known
            told = {operator: totals[0] for operator, totals in self._totals.items()}
        else:
            since = before.epoch
            self._told = replace(self._told, version_before=before.spec_version)
            self._known = entries_of(before.entries)
            told = {
                operator: Totals(fees, deposited, withdrawn, status)
                for operator, deposited, withdrawn, fees, status in before.totals.rows()
            }
        self._histories = Histories(self._epochs, self._known, since)
        operators = {*self._totals, *(operator for operator, _ in self._known)}
        for operator in operators:
            totals = told.get(operator)
            rest = self._histories.rest_before(operator, totals)
            self._before[operator] = (rest, totals)

    def followed(self) -> Followed:
        self._note_asked()
        self._read_upgraded()
        acting = self._acting()
        candidates = sorted({position for found in acting.values() for position in found})
        if candidates:
            self._read_last(acting, candidates)
            self._read_new(candidates)
            self._read_everything(candidates)
            self._read_upgraded()
        self._read_unlocked()
        for position, epoch in enumerate(self._epochs):
            if epoch % LISTED_EVERY == 0 and position not in self._listed:
                self._compare(position)
        return self._result()

    def _note_asked(self) -> None:
        """What came along with the end blocks, but for operators of another domain."""
        read = []
        for position, transition in enumerate(self._transitions):
            pairs = self._asked.pairs(self._epochs[position], transition)
            own = [pair for pair in pairs if pair[0] in self._totals or pair in self._known]
            read.append((position, self._ends[position], own))
        self._decode(read)

    def _read_upgraded(self) -> None:
        """All that is known where another runtime has come, which may change it without anybody.

        Totals do not tell, and nor do entries. What is another one there is read just before, too.
        """
        for position in self._told.upgrades:
            self._read({position: self._histories.pairs})
            if position:
                self._read({position - 1: self._histories.changed_at(position)})

    def _read_last(self, acting: Mapping[int, list[int]], candidates: Sequence[int]) -> None:
        """All accounts that are there where somebody has acted last, then back to each change.

        Listing keys along with what is known costs no message more. Where that is not taken it is
        left for later, if it costs more of them than epochs have seen action.
        """
        pages = len(listing.spans("", acting, self._histories.by_operator))
        if self._node.rpc.takes_batches or pages <= len(candidates):
            self._read_listed(acting, candidates)
        else:
            self._read({candidates[-1]: self._pairs_of(acting)})
            self._settle_between(self._pairs_of(acting), candidates)

    def _read_new(self, candidates: Sequence[int]) -> None:
        """Accounts that nobody has known so far, where totals are still not explained."""
        if acting := self._acting():
            self._read_listed(acting, candidates)

    def _read_listed(self, operators: Iterable[int], candidates: Sequence[int]) -> None:
        """List operators' keys, and read all at the last of the candidates, and new ones there.

        An operator that is gone by then has no keys any more: where it was there last.
        """
        last = candidates[-1]
        there: defaultdict[int, list[int]] = defaultdict(list)
        for operator in operators:
            totals = self._totals.get(operator, [])
            at = [one for one in candidates if totals and totals[one] is not None]
            there[at[-1] if at else last].append(operator)
        wanted = self._listed_of(there, known={last: self._pairs_of(operators)})
        found = {pair for pairs in wanted.values() for pair in pairs}
        wanted[last] = [*found, *self._pairs_of(operators)]
        self._read(wanted)
        self._settle_between([*found, *self._pairs_of(operators)], candidates)

    def _read_everything(self, candidates: Sequence[int]) -> None:
        """Where that does not explain it either: somebody may have come and gone meanwhile.

        The operator's keys are listed where it begins; if nobody new is found, all its accounts are
        read there.
        """
        everywhere = set(candidates)
        while acting := self._acting():
            first: defaultdict[int, list[int]] = defaultdict(list)
            for operator, positions in acting.items():
                first[positions[0]].append(operator)
            everywhere |= first.keys()
            new: dict[int, list[Pair]] = {}
            for position, pairs in self._listed_of(first, known={}).items():
                new[position] = [
                    one
                    for one in pairs
                    if not (self._histories.knows(one) or self._histories.was_read(position, one))
                ]
                found = {operator for operator, _ in new[position]}
                for operator in first[position]:
                    if operator not in found:
                        new[position] += self._histories.of_operator(operator)
                        self._histories.settle(operator, position)
            self._read(new)
            self._settle_between(self._pairs_of(acting), sorted(everywhere))

    def _read_unlocked(self) -> None:
        """Accounts of which something became due that was not known before: totals do not tell."""
        newest = self._told.heads[-1]
        due = [pair for pair, entry in self._histories.newest() if entry.is_due(newest)]
        self._read({len(self._ends) - 1: due})

        def may_change(before: Entry, after: Entry, until: int) -> bool:
            return before.is_due(self._told.heads[until]) and after.has_unlocked(before)

        everywhere = range(len(self._ends))
        self._halve(self._histories.pairs, Halving(self._histories, everywhere, may_change))

    def _compare(self, position: int) -> None:
        """Hold what has been followed against a full listing; the listing is right."""
        listed = self._list_all(position)
        lost = []
        for pair in {*listed, *self._histories.pairs}:
            entry, followed = listed.get(pair, NOTHING), self._histories.at(pair, position)
            if entry in (None, followed):
                continue
            lost.append((pair, followed, entry))
            self._histories.note(position, pair, entry)
        if lost:
            epoch, end = self._epochs[position], self._ends[position]
            self._values.quarantine(listing.LISTED, listing.differing(epoch, end, lost))

    def _acting(self) -> dict[int, list[int]]:
        """The operators somebody has acted on of whom that is not known, and where."""
        nowhere: list[Totals | None] = [None] * len(self._epochs)
        touched, self._histories.touched = self._histories.touched, set()
        for operator, before in self._before.items():
            if operator in touched or operator not in self._acted:
                totals = self._totals.get(operator, nowhere)
                self._acted[operator] = self._histories.acting(operator, totals, before)
        return {operator: positions for operator, positions in self._acted.items() if positions}

    def _settle_between(self, pairs: Iterable[Pair], candidates: Sequence[int]) -> None:
        """Find out where pairs have changed, by what their entries say or else by halves.

        What is believed by that is read where totals contradict it.
        """
        self._halve(pairs, Halving(self._histories, candidates, ends=self._told))
        while doubtful := self._histories.doubtful(self._acting()):
            self._read(doubtful)
            doubted = [pair for pairs in doubtful.values() for pair in pairs]
            self._halve(doubted, Halving(self._histories, candidates, ends=self._told))

    def _halve(self, pairs: Iterable[Pair], halving: Halving) -> None:
        halving.look_at(dict.fromkeys(pairs))
        while wanted := halving.wanted():
            self._read(wanted)

    def _read(self, wanted: Mapping[int, Iterable[Pair]]) -> None:
        """Read what pairs have at some positions, where that has not been read yet."""
        asked = self._histories.to_read(wanted)
        together = self._histories.keys_at_once
        self._take(asked, self._node.states(self._keys_of(asked), together=together))

    def _keys_of(self, asked: ToRead) -> list[tuple[int, list[str]]]:
        return [
            (self._ends[position].block, [key for pair in pairs for key in keys_of(pair)])
            for position, pairs in asked
        ]

    def _take(self, asked: ToRead, states: Sequence[State]) -> None:
        self._decode(
            [
                (position, self._as_executed(state, position), pairs)
                for (position, pairs), state in zip(asked, states, strict=True)
            ]
        )

    def _as_executed(self, state: State, position: int) -> State:
        return replace(state, spec_version=self._ends[position].spec_version)

    def _decode(self, read: Sequence[tuple[int, State, Sequence[Pair]]]) -> None:
        found = self._decoder.decoded(
            [(self._epochs[position], state, pairs) for position, state, pairs in read]
        )
        for position, _, pairs in read:
            of_epoch = found[self._epochs[position]]
            for pair in pairs:
                self._histories.note(position, pair, of_epoch[pair])

    def _pairs_of(self, operators: Iterable[int]) -> list[Pair]:
        return [pair for operator in operators for pair in self._histories.of_operator(operator)]

    def _listed_of(
        self, wanted: Mapping[int, Iterable[int]], known: Mapping[int, Iterable[Pair]]
    ) -> dict[int, list[Pair]]:
        """Whoever has a deposit with some operators at some positions; `known` is read along."""
        asked = [(self._ends[position].block_hash, set(of)) for position, of in wanted.items()]
        along = self._histories.to_read(known)
        found, states = both(
            self._node.rpc,
            listing.of_operators(self._node, asked, self._histories.by_operator),
            self._node.reading(self._keys_of(along)),
            together=self._histories.keys_at_once,
        )
        self._take(along, states)
        return dict(zip(wanted, found, strict=True))

    def _list_all(self, position: int) -> dict[Pair, Entry | None]:
        """What everybody has with the operators of the domain, page by page."""
        end = self._ends[position]
        own = {one for one, totals in self._totals.items() if totals[position] is not None}
        pairs = [
            pair
            for pair in listing.of_all(self._node, end.block_hash)
            if pair[0] in own or pair in self._known
        ]
        found: dict[Pair, Entry | None] = {}
        for at in range(0, len(pairs), self._histories.at_once):
            some = pairs[at : at + self._histories.at_once]
            (state,) = self._node.states(self._keys_of([(position, some)]))
            read = (self._epochs[position], self._as_executed(state, position), some)
            found |= self._decoder.decoded([read])[self._epochs[position]]
        self._listed.add(position)
        return found

    def _result(self) -> Followed:
        rows = [(self._epochs[0], pair, entry) for pair, entry in self._first.items()]
        rows += [
            (self._epochs[position], pair, entry)
            for position, pair, entry in self._histories.changes()
        ]
        incomplete = self._values.epochs_with_misfits(ITEMS)
        epochs = [
            (
                *(epoch, end.block_hash, position in self._listed, epoch not in incomplete),
                self._told.heads[position],
                position == 0 and self._began_here,
            )
            for position, (epoch, end) in enumerate(zip(self._epochs, self._ends, strict=True))
        ]
        return Followed(
            nominators=frame(rows, self._prices),
            epochs=pl.DataFrame(epochs, schema=NOMINATOR_EPOCHS, orient="row"),
            after=nominators_at(
                self._epochs[-1], self._told.versions[-1], self._histories.last(), self._totals
            ),
        )
