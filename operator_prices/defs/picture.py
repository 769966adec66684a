"""A small picture of share prices over a window, for the page of a materialization."""

from io import BytesIO

import polars as pl
from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 480, 150, 12

COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
)


def share_prices(prices: pl.DataFrame) -> bytes:
    """A PNG with one line per operator: its share price, lowest to highest, by epoch.

    Takes the columns epoch, operator_id and share_price_perq. Nobody reads figures off it, so here
    and only here amounts may be floats.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH - 1, HEIGHT - 1), outline="#cccccc")
    across = _placed(prices["epoch"], WIDTH)
    down = _placed(prices["share_price_perq"], HEIGHT)
    placed = prices.select("operator_id", x=across, y=HEIGHT - down).sort("x")
    for (operator,), points in placed.group_by("operator_id", maintain_order=True):
        colour = COLOURS[int(str(operator)) % len(COLOURS)]
        line = [(float(x), float(y)) for x, y in points.select("x", "y").iter_rows()]
        draw.line(line, fill=colour, width=2)
        draw.ellipse((line[-1][0] - 2, line[-1][1] - 2, line[-1][0] + 2, line[-1][1] + 2), colour)
    png = BytesIO()
    image.quantize(32).save(png, "PNG", optimize=True)
    return png.getvalue()


def _placed(values: pl.Series, size: int) -> pl.Series:
    """Where values are drawn, as pixels from the edge where the smallest is."""
    numbers = values.cast(pl.Float64)
    low, high = numbers.min(), numbers.max()
    if not isinstance(low, float) or not isinstance(high, float) or low == high:
        return numbers * 0 + size / 2
    return MARGIN + (numbers - low) / (high - low) * (size - 2 * MARGIN)
