"""Curves as an SVG picture, with nothing but the standard library."""

from __future__ import annotations

import math

_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#000000", "#56b4e9"]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 400, 70, 110, 40, 50


def _ticks(low: float, high: float) -> list[float]:
    return [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def line_plot(
    curves: dict[str, list[tuple[float, float]]], title: str, x_name: str, y_name: str
) -> str:
    """Both axes logarithmic; points that are not positive are left out.

    Args:
        curves: points by name.
        title, x_name, y_name: words beside the axes.

    Returns:
        the text of an SVG file.
    """
    curves = {n: [p for p in c if p[0] > 0 and p[1] > 0] for n, c in curves.items()}
    points = [p for c in curves.values() for p in c] or [(1.0, 1.0)]
    xs = sorted({p[0] for p in points})
    ticks = _ticks(min(p[1] for p in points), max(p[1] for p in points))
    low, high = ticks[0], max(ticks[-1], ticks[0] * 10)

    def at(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / xs[0]) / (math.log(xs[-1] / xs[0]) or 1)
        up = math.log(y / low) / math.log(high / low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{title}</text>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{x_name}</text>',
        f'<text x="15" y="{_HEIGHT / 2}" transform="rotate(-90 15 {_HEIGHT / 2})" '
        f'text-anchor="middle">{y_name}</text>',
    ]
    for tick in ticks:
        x, y = at(xs[0], tick)
        parts.append(f'<path d="M{x} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in xs:
        x, y = at(tick, low)
        parts.append(f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{tick:g}</text>')
    for (name, curve), colour in zip(curves.items(), _COLOURS * 9, strict=False):
        if not curve:
            continue
        places = [at(*p) for p in sorted(curve)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        x, y = places[-1]
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def bar_plot(bars: dict[str, tuple[float, float]], title: str, units: tuple[str, str]) -> str:
    """Two columns of horizontal bars with their numbers, one row for each name.

    Args:
        bars: both values by name.
        title: above; units: of the columns.

    Returns:
        the text of an SVG file.
    """
    row, names, width = 26, 330, 190
    height = 70 + row * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {names + 2 * (width + 70)} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="14">{title}</text>',
    ]
    for column, (unit, colour) in enumerate(zip(units, _COLOURS, strict=False)):
        left = names + column * (width + 70)
        most = max((values[column] for values in bars.values()), default=1.0) or 1.0
        parts.append(f'<text x="{left}" y="48">{unit}</text>')
        for i, (name, values) in enumerate(bars.items()):
            y, long = 58 + row * i, width * values[column] / most
            if column == 0:
                parts.append(f'<text x="{names - 10}" y="{y + 14}" text-anchor="end">{name}</text>')
            parts.append(
                f'<rect x="{left}" y="{y}" width="{long:.1f}" height="18" fill="{colour}"/>'
                f'<text x="{left + long + 5:.1f}" y="{y + 14}">{values[column]:.3g}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"
