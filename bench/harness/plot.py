"""Curves in panels with logarithmic axes, as an SVG that is readable on light and on dark."""

import math
from xml.sax.saxutils import escape

PANEL, GAP, LEFT, TOP, HEIGHT, BOTTOM = 380, 90, 70, 60, 320, 90

# Distinguished by dashes as well as by colour; the colours suit most colour-blind people.
STYLES = ["c0", "c1", "c2", "c3"]
STYLE = """
  text { font: 13px sans-serif; fill: #24292f; }
  .title { font-weight: bold; font-size: 15px; }
  .axis { stroke: #57606a; fill: none; }
  .grid { stroke: #d0d7de; }
  .curve { fill: none; stroke-width: 2; }
  .c0 { stroke: #b35900; } .dot.c0 { fill: #b35900; }
  .c1 { stroke: #7b3fa0; stroke-dasharray: 8 3; } .dot.c1 { fill: #7b3fa0; }
  .c2 { stroke: #0060b0; } .dot.c2 { fill: #0060b0; }
  .c3 { stroke: #57606a; stroke-dasharray: 2 3; } .dot.c3 { fill: #57606a; }
  .dot { stroke-dasharray: none; }
  .paper { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .axis { stroke: #9198a1; }
    .grid { stroke: #30363d; }
    .c0 { stroke: #f0883e; } .dot.c0 { fill: #f0883e; }
    .c1 { stroke: #d2a8ff; } .dot.c1 { fill: #d2a8ff; }
    .c2 { stroke: #58a6ff; } .dot.c2 { fill: #58a6ff; }
    .c3 { stroke: #9198a1; } .dot.c3 { fill: #9198a1; }
    .paper { fill: #0d1117; }
  }
"""


class Scale:
    """Values to places along an axis, by their logarithm, from one power of ten to another."""

    def __init__(self, values, start, end):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.start, self.end = start, end

    def place(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def powers(self):
        return [10.0**power for power in range(self.low, self.high + 1)]


def text(x, y, words, anchor="middle", more=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (x, y, anchor, more, escape(words))


def axes(x, y, left, name):
    parts = []
    bottom, right, top = TOP + HEIGHT, left + PANEL, TOP
    for power in x.powers():
        at = x.place(power)
        parts.append('<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>' % (at, top, at, bottom))
        parts.append(text(at, bottom + 20, format(int(power), ",")))
    for power in y.powers():
        at = y.place(power)
        parts.append('<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>' % (left, at, right, at))
        label = "%g ms" % power if power < 1000 else "%g s" % (power / 1000)
        parts.append(text(left - 8, at + 4, label, "end"))
    parts.append('<path class="axis" d="M%d %d V%d H%d"/>' % (left, top, bottom, right))
    parts.append(text((left + right) / 2, bottom + 42, name))
    return parts


def curve(points, style, x, y):
    places = [(x.place(count), y.place(value)) for count, value in points]
    line = " ".join("%.1f,%.1f" % place for place in places)
    dots = ['<circle class="dot %s" cx="%.1f" cy="%.1f" r="3"/>' % (style, *place) for place in places]
    return ['<polyline class="curve %s" points="%s"/>' % (style, line)] + dots


def legend(names):
    parts, at, y = [], LEFT, TOP + HEIGHT + 72
    for name, style in zip(names, STYLES):
        parts.append('<line class="curve %s" x1="%d" y1="%d" x2="%d" y2="%d"/>' % (style, at, y, at + 34, y))
        parts.append(text(at + 42, y + 4, name, "start"))
        at += 42 + 8 * len(name) + 30
    return parts


def svg(title, panels):
    """`panels`: for each the name of its counts, and curves as (name, points of (count, ms))."""
    width = LEFT + len(panels) * PANEL + (len(panels) - 1) * GAP + 30
    values = [value for _, curves in panels for _, points in curves for _, value in points]
    y = Scale(values, TOP + HEIGHT, TOP)
    parts = [text(width / 2, 28, title, more=' class="title"')]
    for number, (name, curves) in enumerate(panels):
        left = LEFT + number * (PANEL + GAP)
        x = Scale([count for _, points in curves for count, _ in points], left, left + PANEL)
        parts += axes(x, y, left, name)
        for (_, points), style in zip(curves, STYLES):
            parts += curve(points, style, x, y)
    parts += legend([name for name, _ in panels[0][1]])
    height = TOP + HEIGHT + BOTTOM
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">' % (width, height)
    paper = '<rect class="paper" width="%d" height="%d"/>' % (width, height)
    whole = [head, "<title>%s</title>" % escape(title), "<style>%s</style>" % STYLE, paper]
    return "\n".join(whole + parts + ["</svg>"]) + "\n"
