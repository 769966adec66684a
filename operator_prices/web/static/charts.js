// Line charts of many series, drawn by Bokeh: only as many points as there are pixels reach it.

import { dates, levels } from "./axes.js";
import { css } from "./hues.js";
import { extent, lonely, shapes, thinned } from "./points.js";

/** One x range for several charts: Bokeh ties a model to one document, so each has its own copy. */
export class Linked {
  constructor() {
    this.start = 0;
    this.end = 1;
    this.heard = () => {};
  }

  /** A copy that tells us when the user moves it; it follows us when its chart is drawn. */
  copy() {
    const range = new Bokeh.Range1d({ start: this.start, end: this.end });
    for (const property of [range.properties.start, range.properties.end]) {
      property.change.connect(() => this.setv({ start: range.start, end: range.end }));
    }
    return range;
  }

  follow(range) {
    if (range.start !== this.start || range.end !== this.end) range.setv({ start: this.start, end: this.end });
  }

  setv({ start, end }) {
    if (start === this.start && end === this.end) return;
    this.start = start;
    this.end = end;
    this.heard();
  }
}

/** Bokeh's own tab stops have no name and do nothing: leave them out of the order, and unmarked when clicked. */
function unstop(element) {
  for (const one of element.querySelectorAll("*")) {
    if (one.tabIndex >= 0 && one.hasAttribute("tabindex")) {
      one.tabIndex = -1;
      one.style.outline = "none";
    }
    if (one.shadowRoot) unstop(one.shadowRoot);
  }
}

/** How many points all series of a chart may have together: more take longer than a blink to draw. */
const POINTS = 40_000;

/** A chart whose series come from `read(id index, first, last, pixels)`, over a shared x range. */
export class Chart {
  constructor(element, range) {
    this.element = element;
    this.range = range;
    this.x = range.copy();
    this.y = new Bokeh.Range1d({ start: 0, end: 1 });
    this.lines = new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], color: [] } });
    this.means = new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], color: [] } });
    this.dots = new Bokeh.ColumnDataSource({ data: { x: [], y: [], color: [] } });
    this.marks = new Bokeh.ColumnDataSource({ data: { x: [] } });
    this.figure = Bokeh.Plotting.figure({
      x_range: this.x,
      y_range: this.y,
      sizing_mode: "stretch_both",
      toolbar_location: null,
      tools: [],
      min_border_left: 64,
      min_border_right: 12,
      min_border_top: 6,
      output_backend: "canvas",
    });
    this.spans = new Bokeh.VSpan({ x: { field: "x" }, line_dash: [2, 4], line_width: 1.5 });
    this.figure.add_glyph(this.spans, this.marks);
    this.figure.add_glyph(new Bokeh.MultiLine({ xs: { field: "xs" }, ys: { field: "ys" }, line_color: { field: "color" }, line_width: 1.6, line_join: "bevel" }), this.lines);
    this.figure.add_glyph(new Bokeh.Scatter({ x: { field: "x" }, y: { field: "y" }, fill_color: { field: "color" }, line_color: null, size: 4 }), this.dots);
    this.figure.left[0].ticker = this.ticker = new Bokeh.FixedTicker({ ticks: [] });
    this.figure.center.find((one) => one.dimension === 1).ticker = this.ticker;
    this.figure.add_glyph(new Bokeh.MultiLine({ xs: { field: "xs" }, ys: { field: "ys" }, line_color: { field: "color" }, line_width: 2, line_dash: [7, 4] }), this.means);
    this.days = new Bokeh.LinearAxis({ ticker: new Bokeh.FixedTicker({ ticks: [] }) });
    this.figure.below[0].setv({ ticker: new Bokeh.BasicTicker({ min_interval: 1 }), formatter: new Bokeh.NumeralTickFormatter({ format: "0,0" }) });
    this.figure.add_layout(this.days, "below");
    const brush = new Bokeh.BoxZoomTool({ dimensions: "width" });
    if (matchMedia("(pointer: fine)").matches) {
      this.figure.add_tools(brush);
      this.figure.toolbar.active_drag = brush;
    }
    this.cross = document.createElement("div");
    this.cross.className = "cross";
    this.cross.hidden = true;
    this.spot = document.createElement("div");
    this.spot.className = "spot";
    this.spot.hidden = true;
  }

  async show() {
    this.element.replaceChildren();
    this.view = await Bokeh.Plotting.show(this.figure, this.element);
    unstop(this.element);
    this.element.append(this.cross, this.spot);
  }

  get frame() {
    return this.view?.frame.bbox;
  }

  /** Into how many parts the width is divided for so many series. */
  parts(series) {
    const width = Math.round(this.frame?.width || this.element.clientWidth);
    return Math.max(120, Math.min(width, Math.floor(POINTS / (2 * Math.max(1, series)))));
  }

  /** The x under a pixel of the page, or null outside the frame. */
  at(clientX) {
    const left = this.element.getBoundingClientRect().left;
    const x = clientX - left;
    const box = this.frame;
    if (!box || x < box.left || x > box.right) return null;
    return this.range.start + ((x - box.left) / box.width) * (this.range.end - this.range.start);
  }

  /** How far from the left of the chart an epoch is drawn. */
  across(epoch) {
    return this.frame.left + ((epoch - this.range.start) / (this.range.end - this.range.start)) * this.frame.width;
  }

  /** How far below the top of the chart a value is drawn. */
  height(value) {
    const box = this.frame;
    return box.top + box.height * (1 - (value - this.y.start) / (this.y.end - this.y.start));
  }

  /** Mark the value of one series under the line that `point` draws. */
  single(epoch, value, tint) {
    this.spot.hidden = value === null || !this.shows(epoch);
    if (this.spot.hidden) return;
    this.spot.style.left = `${this.across(epoch)}px`;
    this.spot.style.top = `${this.height(value)}px`;
    this.spot.style.background = tint;
  }

  shows(epoch) {
    return epoch >= this.range.start && epoch <= this.range.end;
  }

  point(epoch) {
    const box = this.frame;
    this.cross.hidden = !this.shows(epoch);
    this.cross.style.left = `${this.across(epoch)}px`;
    this.cross.style.top = `${box.top}px`;
    this.cross.style.height = `${box.height}px`;
  }

  unpoint() {
    this.cross.hidden = true;
    this.spot.hidden = true;
  }

  /** Draw what `lines` of series.js gives, with dotted lines at `marks`. */
  draw({ series, means, logarithmic, short }, marks, clock) {
    const known = [...series.ys, ...means.ys];
    const { low, high } = extent(known);
    if (low <= high) {
      const room = (high - low) * 0.06 || Math.abs(high) * 1e-6 || 1;
      this.y.setv({ start: low - (!logarithmic && low >= 0 && low - room < 0 ? low : room), end: high + room });
      const { at, names } = levels(this.y.start, this.y.end, Math.max(3, Math.round((this.frame?.height || 240) / 42)), logarithmic, short);
      this.figure.left[0].major_label_overrides = new Map(at.map((one, index) => [one, names[index]]));
      this.ticker.ticks = at;
    } else this.ticker.ticks = [];
    this.range.follow(this.x);
    const days = dates(clock, this.range.start, this.range.end, this.frame?.width || this.element.clientWidth);
    this.days.major_label_overrides = new Map(days.at.map((one, index) => [one, days.names[index]]));
    this.days.ticker.ticks = days.at;
    this.lines.data = series;
    this.means.data = means;
    this.dots.data = lonely(series);
    this.marks.data = { x: marks };
  }

  paint() {
    const figure = this.figure;
    const [line, grid, soft] = [css("--line"), css("--grid"), css("--soft")];
    figure.setv({
      background_fill_color: css("--card"),
      border_fill_color: css("--card"),
      outline_line_color: null,
    });
    this.spans.line_color = css("--bad");
    for (const axis of [...figure.below, figure.left[0]]) {
      axis.setv({
        axis_line_color: line,
        major_tick_line_color: line,
        minor_tick_line_color: null,
        major_label_text_color: soft,
        major_label_text_font: "system-ui, sans-serif",
        major_label_text_font_size: "12px",
      });
    }
    for (const one of figure.center) one.setv({ grid_line_color: grid });
  }
}

/** A small chart of everything, with a window on it that moves the others. */
export class Overview {
  constructor(element, range) {
    this.element = element;
    this.whole = new Bokeh.Range1d({ start: 0, end: 1 });
    this.y = new Bokeh.Range1d({ start: 0, end: 1 });
    this.source = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
    this.solid = new Bokeh.ColumnDataSource({ data: { xs: [], ys: [] } });
    this.figure = Bokeh.Plotting.figure({
      x_range: this.whole,
      y_range: this.y,
      sizing_mode: "stretch_both",
      toolbar_location: null,
      tools: [],
      min_border_left: 64,
      min_border_right: 12,
      min_border_top: 2,
    });
    this.area = new Bokeh.Patches({ xs: { field: "xs" }, ys: { field: "ys" }, fill_alpha: 0.28, line_color: null });
    this.line = new Bokeh.Line({ x: { field: "x" }, y: { field: "y" }, line_width: 1.4 });
    this.figure.add_glyph(this.area, this.solid);
    this.figure.add_glyph(this.line, this.source);
    this.range = range;
    this.window = range.copy();
    this.tool = new Bokeh.RangeTool({ x_range: this.window });
    this.figure.add_tools(this.tool);
  }

  async show() {
    this.element.replaceChildren();
    this.view = await Bokeh.Plotting.show(this.figure, this.element);
    unstop(this.element);
  }

  follow() {
    this.range.follow(this.window);
  }

  draw(epochs, totals) {
    const pixels = Math.max(200, this.element.clientWidth);
    const [x, y] = thinned(epochs, totals, 0, 0, epochs.length - 1, pixels);
    const known = y.filter((value) => !Number.isNaN(value));
    const high = known.reduce((a, b) => Math.max(a, b), 0);
    this.y.setv({ start: 0, end: high * 1.15 || 1 });
    this.whole.setv({ start: epochs[0] - 0.5, end: epochs[epochs.length - 1] + 0.5 });
    this.source.data = { x, y };
    this.solid.data = shapes(x, y);
  }

  paint() {
    const accent = css("--accent");
    this.figure.setv({ background_fill_color: css("--card"), border_fill_color: css("--card"), outline_line_color: null });
    this.area.fill_color = accent;
    this.line.line_color = accent;
    this.tool.overlay.setv({ fill_color: accent, fill_alpha: 0.12, line_color: accent, line_alpha: 0.8 });
    const [line, soft] = [css("--line"), css("--soft")];
    this.figure.left[0].visible = false;
    this.figure.below[0].setv({ axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null, major_label_text_color: soft, major_label_text_font: "system-ui, sans-serif", major_label_text_font_size: "11px", ticker: new Bokeh.BasicTicker({ min_interval: 1 }), formatter: new Bokeh.NumeralTickFormatter({ format: "0,0" }) });
    for (const one of this.figure.center) if ("grid_line_color" in one) one.grid_line_color = null;
  }
}
