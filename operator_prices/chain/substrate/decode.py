"""Vectorised SCALE decoding: a column of values in, their fields as columns out."""

import polars as pl

from operator_prices.chain.substrate.layout import (
    NONE,
    SOME,
    Enum,
    Layout,
    Octets,
    Opaque,
    Sequence,
    Struct,
    Unsigned,
    fixed_size,
    optional,
)

FITS = "fits"
"""The column that says whether a value was consumed to its exact length."""

_UNSIGNED = {1: pl.UInt8, 2: pl.UInt16, 4: pl.UInt32, 8: pl.UInt64, 16: pl.UInt128}
_RAW = "raw value"
_AT = "offset"


def octets(hexes: pl.Expr) -> pl.Expr:
    """The bytes behind `0x` and hex digits; null where it is something else."""
    return (
        pl.when(hexes.str.starts_with("0x"))
        .then(hexes.str.slice(2).str.decode("hex", strict=False))
        .otherwise(None)
    )


def decode(layout: Layout, raw: pl.Series) -> pl.DataFrame:
    """One row per value of `raw` (Binary): a column per field, and `fits`.

    Unsigned integers keep their width, arrays of bytes come as `0x` text, an enum as the name of
    its variant, a sequence as the Binary of its entries (`entries` takes it apart) beside its
    `<name> count`. The contents of an `Option` are columns of their own, null where there are none.
    A layout without field names yields one column, `value`. Where `fits` is false
    the fields mean nothing.
    """
    cursor = _Cursor(pl.DataFrame({_RAW: raw.cast(pl.Binary)}))
    if isinstance(layout, Struct):
        cursor.take(layout, "")
    else:
        cursor.take(layout, "value")
    fits = (cursor.offset == pl.col(_RAW).bin.size()).fill_null(value=False)
    return cursor.frame.select(*cursor.read(), fits.alias(FITS))


def entries(frame: pl.DataFrame, name: str, layout: Layout) -> pl.DataFrame:
    """The entries of the sequence column `name`, one row each, beside the other columns.

    `layout` is the entry's and must be of fixed size; its fields become columns as in `decode`.
    """
    size = fixed_size(layout)
    if size is None:
        raise ValueError(f"the entries of {name!r} have no fixed size")
    rows = frame.with_columns(pl.int_ranges(0, pl.col(f"{name} count")).alias(_AT)).explode(
        _AT, empty_as_null=False, keep_nulls=False
    )
    one = rows.select(pl.col(name).bin.slice(pl.col(_AT) * size, size)).to_series()
    fields = decode(layout, one).drop(FITS)
    return rows.drop(name, f"{name} count", _AT).hstack(fields)


class _Cursor:
    """Walks a layout over all values at once, as far in each as its own bytes say."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.columns: list[str] = []
        self._new: dict[str, pl.Expr] = {}
        self._fixed = 0
        self._moving = False

    @property
    def offset(self) -> pl.Expr:
        here = pl.lit(self._fixed, pl.Int64)
        return pl.col(_AT) + here if self._moving else here

    def take(self, layout: Layout, name: str) -> None:
        match layout:
            case Unsigned(size):
                self._keep(name, self._unsigned(size))
                self._fixed += size
            case Octets(size):
                digits = pl.col(_RAW).bin.slice(self.offset, size).bin.encode("hex")
                self._keep(name, pl.concat_str(pl.lit("0x"), digits))
                self._fixed += size
            case Struct(fields):
                for field, member in fields:
                    self.take(member, f"{name}.{field}" if name else field)
            case Enum():
                self._enum(layout, name)
            case Sequence(entry):
                self._sequence(entry, name)
            case Opaque():
                self._move(pl.lit(None, pl.Int64))

    def read(self) -> list[pl.Expr]:
        """All columns, as they are to be computed from the frame."""
        return [self._new.get(name, pl.col(name)).alias(name) for name in self.columns]

    def flush(self) -> None:
        """Compute the columns of late: one after another, each would take as long as all do."""
        if self._new:
            self.frame = self.frame.with_columns(**self._new)
            self._new = {}

    def _keep(self, name: str, value: pl.Expr) -> None:
        self._new[name] = value
        self.columns.append(name)

    def _unsigned(self, size: int) -> pl.Expr:
        octets = pl.col(_RAW).bin.slice(self.offset, size)
        if size == 1:
            return octets.bin.reinterpret(dtype=pl.UInt8)
        return octets.bin.reinterpret(dtype=_UNSIGNED[size], endianness="little")

    def _move(self, by: pl.Expr) -> None:
        """Advance by a number of bytes that differs from value to value; null is a misfit."""
        self._new[_AT] = self.offset + by
        self.flush()
        self._fixed, self._moving = 0, True

    def _enum(self, layout: Enum, name: str) -> None:
        if (body := optional(layout)) is not None and fixed_size(body) is not None:
            self._option(layout, body, name)
            return
        indices = [index for index, _, _ in layout.variants]
        sizes = [fixed_size(body) for _, _, body in layout.variants]
        index = self._unsigned(1)
        names = [variant for _, variant, _ in layout.variants]
        self._keep(
            name,
            index.replace_strict(indices, names, default=None, return_dtype=pl.String),
        )
        self._move(1 + index.replace_strict(indices, sizes, default=None, return_dtype=pl.Int64))

    def _option(self, layout: Enum, body: Layout, name: str) -> None:
        """Null where there is nothing; a first byte that names no variant is a misfit."""
        indices = {variant: index for index, variant, _ in layout.variants}
        index = self._unsigned(1)
        known = [indices[NONE], indices[SOME]]
        self._keep(
            name, index.replace_strict(known, [NONE, SOME], default=None, return_dtype=pl.String)
        )
        self._fixed += 1
        start, moving, before = self._fixed, self._moving, len(self.columns)
        self.take(body, name)
        self._fixed, self._moving = start, moving
        self.flush()
        there = pl.col(name) == SOME
        contents = self.columns[before:]
        self.frame = self.frame.with_columns(
            pl.when(there).then(pl.col(column)).alias(column) for column in contents
        )
        size = fixed_size(body)
        self._move(pl.when(there).then(size).when(pl.col(name) == NONE).then(0))

    def _sequence(self, entry: Layout, name: str) -> None:
        """A compact length holds its own width in its two lowest bits."""
        size = fixed_size(entry)
        mode = self._unsigned(1) & 3
        length = (
            pl.when(mode == 0)
            .then(self._unsigned(1).cast(pl.Int64) // 4)
            .when(mode == 1)
            .then(self._unsigned(2).cast(pl.Int64) // 4)
            .when(mode == 2)  # noqa: PLR2004
            .then(self._unsigned(4).cast(pl.Int64) // 4)
        )
        self._keep(f"{name} count", length)
        self._move(
            pl.when(mode == 0)
            .then(1)
            .when(mode == 1)
            .then(2)
            .when(mode == 2)  # noqa: PLR2004
            .then(4)
        )
        if size is None:
            self._move(pl.lit(None, pl.Int64))
            return
        taken = pl.col(f"{name} count") * size
        self._keep(name, pl.col(_RAW).bin.slice(self.offset, taken))
        self._move(taken)
