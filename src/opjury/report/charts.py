"""Charts as data: plotly figures in plain JSON, each with the table of what it shows. Nothing here imports plotly."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from opjury.cli.text import memory, seconds, times
from opjury.model.dtypes import group_dtypes
from opjury.model.records import Measurement, Recommendation, Verdict
from opjury.model.setting import Setting
from opjury.report.gather import Machine, workload_name
from opjury.report.nights import Curve

MOST_POINTS = 400  # of one series over time; more nights are put together
_COLOURS = ("#3b7dd8", "#d1662a", "#2f9e6e", "#b04fa3", "#9a8a1f", "#c8434f", "#3aa0b0", "#7a6bd0")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")


@dataclass(frozen=True)
class Chart:
    """One figure with its words and numbers.

    Parameters
    ----------
    title, caption : str
        What is shown; what to read from it.
    figure : dict
        Plotly's `data` and `layout`; colours of text, grid and paper are left to the page.
    columns : tuple of str
    rows : list of tuple
        The table: text cells, or pairs of a text and a number to sort by.
    """

    title: str
    caption: str
    figure: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class _Line:
    """The measurements over one size, all else equal.

    Parameters
    ----------
    size : str
    setting : Setting
        Of the first point.
    points : dict of int to list of Measurement
    recommendations : dict of int to Recommendation
    """

    size: str
    setting: Setting
    points: dict[int, list[Measurement]]
    recommendations: dict[int, Recommendation]

    @property
    def title(self) -> str:
        """The sizes that stay the same, and how it was measured."""
        rest = _without(self.setting, self.size)
        return workload_name(rest) if rest.sizes else ""


def chart_lines(
    contests: Mapping[Setting, list[Measurement]], chosen: Mapping[Setting, Recommendation], least: int = 3
) -> list[_Line]:
    """The settings that differ in one size alone, where there are several."""
    groups: dict[tuple[str, Setting], dict[int, Setting]] = {}
    for setting in contests:
        for name, value in setting.sizes.items():
            if value > 0:  # others have no place on a logarithmic axis
                groups.setdefault((name, _without(setting, name)), {})[value] = setting
    found = []
    for (name, _), settings in groups.items():
        if len(settings) >= least:
            values = sorted(settings)
            points = {value: contests[settings[value]] for value in values}
            told = {value: chosen[settings[value]] for value in values if settings[value] in chosen}
            found.append(_Line(name, settings[values[0]], points, told))
    return found


def _without(setting: Setting, size: str) -> Setting:
    sizes = {name: value for name, value in setting.sizes.items() if name != size}
    return msgspec.structs.replace(setting, sizes=sizes)


def crossovers(line: _Line) -> list[tuple[str, str, int, int]]:
    """Before, after, and the sizes between which it changes. What is tied does not change hands."""
    found, current, previous = [], "", 0
    for value, chosen in line.recommendations.items():
        if current and current not in chosen.tied and chosen.implementation:
            found.append((current, chosen.implementation, previous, value))
            current = chosen.implementation
        current, previous = current or chosen.implementation, value
    return found


def over_size(line: _Line) -> list[Chart]:
    """Time, and memory where it is known, over one size; both axes logarithmic."""
    names = _names(m for ms in line.points.values() for m in ms)
    changes = crossovers(line)
    by_name = {name: {v: m for v, ms in line.points.items() for m in ms if m.implementation == name} for name in names}
    traces = [
        _trace(name, i, list(ms), [m.seconds for m in ms.values()], [seconds(m.seconds) for m in ms.values()])
        for i, (name, ms) in enumerate(by_name.items())
    ]
    floor = {v: ms[0].floor_seconds for v, ms in line.points.items() if ms}
    traces.append(
        {**_trace("floor", 0, list(floor), list(floor.values()), [seconds(s) for s in floor.values()]), **_FLOOR}
    )
    said = "; ".join(
        f"from {line.size} ≈ {round(math.sqrt(low * high)):,} [{low:,}, {high:,}] {after} instead of {before}"
        for before, after, low, high in changes
    )
    caption = (
        f"Dotted upright lines: where the choice changes: {said}. " if said else "The choice is the same throughout. "
    )
    caption += "Floor: copying the least bytes that a call must read and write."
    sizes = _log(line.size, line.points, lambda value: f"{value:,.0f}")
    layout = _layout(sizes, _log("time of a call", [y for trace in traces for y in trace["y"]], seconds))
    layout["shapes"] = [_upright(math.sqrt(low * high)) for _, _, low, high in changes]
    columns = (line.size, "implementation", "time", "× best", "× floor", "memory")
    rows = [
        (
            (f"{v:,}", v),
            m.implementation,
            (seconds(m.seconds), m.seconds),
            (times(m.ratio), m.ratio),
            _of_floor(m),
            (memory(m.peak_bytes), m.peak_bytes or 0),
        )
        for v, ms in line.points.items()
        for m in ms
    ]
    of = f", {line.title}" if line.title else ""
    charts = [Chart(f"Time over {line.size}{of}", caption, dict(data=traces, layout=layout), columns, rows)]
    with_memory = {n: {v: m for v, m in ms.items() if m.peak_bytes} for n, ms in by_name.items()}
    if any(len(ms) > 1 for ms in with_memory.values()):
        traces = [
            _trace(name, i, list(ms), [m.peak_bytes for m in ms.values()], [memory(m.peak_bytes) for m in ms.values()])
            for i, (name, ms) in enumerate(with_memory.items())
        ]
        used = _log(
            "memory of a call", [y for trace in traces for y in trace["y"]], lambda b: memory(round(b)), binary=True
        )
        figure = dict(data=traces, layout=_layout(sizes, used))
        said = (
            "The most memory that a call needs beside its arguments; none where a call needs none that could be seen."
        )
        cells = [(r[0], r[1], r[5]) for r in rows]
        charts.append(
            Chart(f"Memory over {line.size}{of}", said, figure, (line.size, "implementation", "memory"), cells)
        )
    return charts


def pareto(name: str, contest: Sequence[Measurement]) -> Chart | None:
    """Speed and error of one contest; who is on the front is nowhere beaten in both."""
    shown = [m for m in contest if m.error_ulps is not None and math.isfinite(m.error_ulps)]
    if len(shown) < 2:
        return None
    front, least = [], math.inf
    for m in sorted(shown, key=lambda m: (m.seconds, m.error_ulps)):
        if m.error_ulps is not None and m.error_ulps < least:
            front.append(m)
            least = m.error_ulps
    on_front = {m.implementation for m in front}
    step = dict(
        type="scatter", mode="lines", line=dict(shape="hv", width=1, dash="dot"), hoverinfo="skip", showlegend=False,
        x=[m.seconds for m in front], y=[m.error_ulps for m in front],
    )  # fmt: skip
    dots = [
        dict(
            type="scatter",
            mode="markers+text" if m.implementation in on_front else "markers",
            name=m.implementation,
            x=[m.seconds],
            y=[m.error_ulps],
            text=[m.implementation],
            textposition=_beside(m.seconds, shown),
            cliponaxis=False,
            hovertemplate=f"%{{text}}<br>{seconds(m.seconds)}, {m.error_ulps:.3g} ulps<extra></extra>",
            marker={**_marker(i), "size": 10, "opacity": 1 if m.implementation in on_front else 0.55},
        )
        for i, m in enumerate(shown)
    ]
    layout = _layout(
        _log("time of a call", [m.seconds for m in shown], seconds), dict(title="error (ulps)", rangemode="tozero")
    )
    rows = [
        (m.implementation, (seconds(m.seconds), m.seconds), ulps(m.error_ulps), "yes" if m.implementation in on_front else "")
        for m in shown
    ]  # fmt: skip
    caption = (
        "To the left is faster, further down more exact. Named: those that no other one beats in both. "
        "The error is the largest that was seen, in units in the last place of the largest element."
    )
    columns = ("implementation", "time", "error (ulps)", "on the front")
    return Chart(f"Speed and error, {name}", caption, dict(data=[step, *dots], layout=layout), columns, rows)


def errors(verdicts: Sequence[Verdict]) -> Chart | None:
    """The largest error ever seen of each implementation as a fraction of what is allowed, by dtype."""
    worst: dict[tuple[str, str], Verdict] = {}
    for v in verdicts:
        if v.check == "agreement" and v.examples and v.dtypes:
            key = (v.implementation, next(iter(group_dtypes(v.dtypes))))
            worst[key] = max(worst.get(key, v), v, key=lambda v: v.error_of_bound)
    worst = {key: v for key, v in worst.items() if v.error_of_bound}
    if not worst:
        return None
    names = list(dict.fromkeys(name for name, _ in worst))
    traces = []
    for i, group in enumerate(dict.fromkeys(group for _, group in worst)):
        mine = {name: v for (name, g), v in worst.items() if g == group}
        traces.append(
            dict(
                type="scatter",
                mode="markers",
                name=group,
                y=list(mine),
                x=[min(v.error_of_bound, 1.2) for v in mine.values()],
                text=[fraction(v.error_of_bound)[0] for v in mine.values()],
                hovertemplate="%{y}<br>%{text} of the bound<extra>%{fullData.name}</extra>",
                marker=dict(size=9, color=_COLOURS[i % 8], symbol=_SYMBOLS[i % 6]),
                cliponaxis=False,
            )
        )
    layout = _layout(
        dict(title="error ÷ bound", range=[0, 1.25]),
        dict(autorange="reversed", automargin=True),
    )
    layout["height"] = 150 + 26 * len(names)
    layout["shapes"] = [_upright(1.0)]
    rows = [(name, group, fraction(v.error_of_bound), ulps(v.error_ulps)) for (name, group), v in worst.items()]
    caption = "Right of the dotted line an implementation is wrong; errors far beyond the bound are drawn at 1.2. Who is not here never rounded."
    columns = ("implementation", "dtype", "of the bound", "ulps")
    return Chart("Error against its bound", caption, dict(data=traces, layout=layout), columns, rows)


def over_time(machine: Machine, setting: Setting) -> Chart | None:
    """Each implementation's time as a multiple of the baseline's, night by night, with what the search found."""
    mine = {s: c for s, c in machine.curves.items() if s.setting == setting}
    mine = {s: c for s, c in mine.items() if any(ratio != 1 for ratio in c.ratios)}
    if not mine or len(machine.nights) < 2:
        return None
    width = math.ceil(len(machine.nights) / MOST_POINTS)
    dates = [night.date[:10] for night in machine.nights]
    traces, rows = [], dict[int, dict[str, float]]()
    for i, (series, curve) in enumerate(sorted(mine.items(), key=lambda item: item[1].ratios[-1])):
        thin = thinned(curve, width)
        x, y = [dates[number] for number in thin.nights], [round(ratio, 4) for ratio in thin.ratios]
        trace = dict(_trace(series.implementation, i, x, y, None), mode="lines" if len(x) > 60 else "lines+markers")
        traces.append({**trace, "hovertemplate": "%{x}<br>%{y:.3g} × baseline<extra>%{fullData.name}</extra>"})
        for number, ratio in zip(thin.nights, thin.ratios, strict=True):
            rows.setdefault(number, {})[series.implementation] = ratio
    layout = _layout(
        dict(type="date"),
        _log("time, as a multiple of the baseline's", [y for trace in traces for y in trace["y"]], times),
    )
    marked = dict.fromkeys(
        alarm.since[:10] for alarm in machine.alarms if alarm.kind == "time" and alarm.setting == setting
    )
    layout["shapes"] = [_upright(date) for date in marked]
    names = [s.implementation for s in mine]
    cells = [
        (dates[number], *((times(found[n]), float(f"{found[n]:.3g}")) if n in found else "" for n in names))
        for number, found in sorted(rows.items(), reverse=True)
    ]
    caption = (
        "Both were measured in the same rounds, so that a slow night is none; of each, the shortest block counts. "
    )
    caption += f"Each point is the median of {width} nights. " if width > 1 else ""
    caption += "Dotted upright lines: changes that the search found." if marked else ""
    title = f"{setting.operation} over the nights, {workload_name(setting)}"
    return Chart(title, caption, dict(data=traces, layout=layout), ("night", *names), cells)


def thinned(curve: Curve, width: int) -> Curve:
    """One point for so many nights: their median, at the last of them."""
    if width == 1:
        return curve
    buckets: dict[int, list[tuple[int, float]]] = {}
    for number, ratio in zip(curve.nights, curve.ratios, strict=True):
        buckets.setdefault(number // width, []).append((number, ratio))
    thin = Curve()
    for inside in buckets.values():
        thin.add(inside[-1][0], statistics.median(ratio for _, ratio in inside))
    return thin


def _beside(value: float, shown: Sequence[Measurement]) -> str:
    """On which side of a point its name has room."""
    return "top right" if value <= statistics.median(m.seconds for m in shown) else "top left"


def _names(found: Any) -> list[str]:
    return list(dict.fromkeys(m.implementation for m in found))


def _marker(i: int) -> dict[str, Any]:
    return dict(color=_COLOURS[i % len(_COLOURS)], symbol=_SYMBOLS[i // len(_COLOURS) % len(_SYMBOLS)])


_FLOOR = dict(line=dict(color="#8a8a86", dash="dash", width=1.5), mode="lines")


def _trace(name: str, i: int, x: Sequence[Any], y: Sequence[Any], text: Sequence[str] | None) -> dict[str, Any]:
    line = dict(color=_COLOURS[i % len(_COLOURS)], width=1.5, dash="solid" if i < len(_COLOURS) else "dot")
    trace = dict(type="scatter", mode="lines+markers", name=name, x=list(x), y=list(y), line=line)
    trace["marker"] = {**_marker(i), "size": 6}
    if text is not None:
        trace |= dict(text=list(text), hovertemplate="%{text}<extra>%{fullData.name}</extra>")
    return trace


def _log(
    title: str, values: Iterable[float | None], text: Callable[[float], str], binary: bool = False
) -> dict[str, Any]:
    """A logarithmic axis with ticks at powers of ten (of two, for bytes), or at 1, 2, 5 where there are few of these."""
    positive = [value for value in values if value and 0 < value < math.inf]
    low, high = (math.log10(min(positive)), math.log10(max(positive))) if positive else (0.0, 0.0)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * float(f"1e{power}") for power in powers for digit in ((1,) if high - low > 2.5 else (1, 2, 5))]
    if binary:
        ticks = [2.0**power for power in range(0, 60, 5 if high - low > 2.5 else 2)]
    pad = 0.04 * (high - low) + 0.02
    inside = [tick for tick in ticks if tick and low - pad <= math.log10(tick) <= high + pad]
    axis = dict(title=title, type="log", range=[low - pad, high + pad], hoverformat=".4~g")
    return {**axis, "tickvals": inside, "ticktext": [text(tick) for tick in inside]}


def _layout(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    axes = [{**axis, **({"title": dict(text=axis["title"])} if "title" in axis else {})} for axis in (x, y)]
    return dict(xaxis=axes[0], yaxis=axes[1], height=420)


def _upright(x: Any) -> dict[str, Any]:
    return dict(type="line", x0=x, x1=x, y0=0, y1=1, yref="paper", line=dict(width=1, dash="dot"))


def _of_floor(m: Measurement) -> Any:
    return (times(m.of_floor), m.of_floor) if m.floor_seconds else ""


def ulps(value: float | None) -> tuple[str, float | None]:
    """An error in units in the last place, as text and to sort by; blank where none was looked at."""
    return ("", None) if value is None else (_number(value), value)


def fraction(value: float) -> tuple[str, float | None]:
    """An error as a fraction of its bound, as text and to sort by; blank where nothing was rounded."""
    return ("", None) if not value else ("> 1000", value) if value > 1e3 else (_number(value), value)


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:,.3g}" if math.isfinite(value) else str(value)
