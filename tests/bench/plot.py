"""Draws what the bench measured of cost against density and width: cost_by_density.svg, cost_by_width.svg."""
import math
from fractions import Fraction

COLORS = {"forward": "#1b7f79", "step on the support": "#c8553d", "step with dense gradients": "#5b5f97"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 190, 44, 56


class Axis:
    """Logarithmic, from the least to the largest value, with some room."""

    def __init__(self, values, start, end):
        low, high = math.log(min(values)), math.log(max(values))
        room = 0.06 * (high - low)
        self.low, self.high, self.start, self.end = low - room, high + room, start, end

    def at(self, value):
        share = (math.log(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def text(x, y, what, anchor="middle", **style):
    style = " ".join(f'{key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{what}</text>'


def line(x1, y1, x2, y2, color, extra=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" {extra}/>'


def round_times(low, high):
    """1, 2, 5 x powers of ten of milliseconds within the range."""
    every = [m * 10.0**e for e in range(-2, 6) for m in (1, 2, 5)]
    return [value for value in every if low * 0.9 <= value <= high * 1.1]


def curve(x, y, points, name):
    color = COLORS[name]
    path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>']
    parts += [f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3.5" fill="{color}"/>'
              for a, b in points]
    last = max(points, key=lambda point: x.at(point[0]))
    parts.append(text(x.at(last[0]) + 9, y.at(last[1]) + 4, name, "start", fill=color))
    return parts


def figure(title, below, series, x_labels, guide=None):
    """series: {name: [(x, milliseconds)]}; x_labels: {x: text}; guide: (points, name) drawn dashed."""
    times = [b for points in series.values() for _, b in points] + [b for _, b in (guide or ([], ""))[0]]
    backwards = x_labels[min(x_labels)] == "1/1000"
    ends = (WIDTH - RIGHT, LEFT) if backwards else (LEFT, WIDTH - RIGHT)
    x, y = Axis(list(x_labels), *ends), Axis(times, HEIGHT - BOTTOM, TOP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" '
             'font-family="Helvetica, Arial, sans-serif" fill="#333">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fdfdfb"/>',
             text(LEFT, 24, title, "start", font_size=15, font_weight="bold")]
    for value in round_times(min(times), max(times)):
        parts.append(line(LEFT, y.at(value), WIDTH - RIGHT, y.at(value), "#e4e4de"))
        parts.append(text(LEFT - 8, y.at(value) + 4, f"{value:g} ms", "end"))
    for value, label in x_labels.items():
        parts.append(line(x.at(value), HEIGHT - BOTTOM, x.at(value), HEIGHT - BOTTOM + 5, "#999"))
        parts.append(text(x.at(value), HEIGHT - BOTTOM + 20, label))
    parts.append(line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#999"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, below))
    if guide:
        (a, b), (c, d) = guide[0]
        parts.append(line(x.at(a), y.at(b), x.at(c), y.at(d), "#999", 'stroke-dasharray="5 4"'))
        parts.append(text(x.at(c) + 9, y.at(d) - 8, guide[1], "start", fill="#777"))
    for name, points in series.items():
        parts += curve(x, y, points, name)
    return "\n".join(parts) + "\n</svg>\n"


def collect(rows, group, read):
    """{series: [(x, milliseconds)]} of a group; read(row) -> (series, x)."""
    series = {}
    for row in rows:
        if row["group"] == group:
            name, x = read(row)
            series.setdefault(name, []).append((x, 1e3 * row["ours"]))
    return series


def write(folder, result):
    share = lambda row: float(Fraction(row["name"]))
    density = collect(result["rows"], "cost by density", lambda row: (row["side"], share(row)))
    if density:
        rows = [row for row in result["rows"] if row["group"] == "cost by density"]
        labels = {share(row): row["name"] for row in rows}
        with open(f"{folder}/cost_by_density.svg", "w") as file:
            file.write(figure("Time by density, at one width", "share of weights that are not zero",
                              density, labels))
    width = collect(result["rows"], "cost by width",
                    lambda row: (row["side"].split(",")[0], int(row["side"].split("width ")[1])))
    if width:
        labels = {x: str(x) for x, _ in width["forward"]}
        (first, time), last = width["forward"][0], max(labels)
        guide = ([(first, time), (last, time * last / first)], "in proportion to width")
        with open(f"{folder}/cost_by_width.svg", "w") as file:
            file.write(figure("Time by width, at one number of nonzeros", "d_model", width, labels,
                              guide))
