"""Charts as data: plotly figures in plain JSON, each with a table of the same numbers. Nothing here imports plotly."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from opjury.cli.text import memory, seconds, times
from opjury.model.dtypes import group_dtypes
from opjury.model.records import Measurement, Recommendation, Verdict
from opjury.model.setting import Setting
from opjury.report.gather import Curve, Machine, workload_name

MOST_POINTS = 400  # of one curve; longer histories are shown by medians of several nights
_COLOURS = ("#3b7dd8", "#d1662a", "#2f9e6e", "#b04fa3", "#9a8a1f", "#c8434f", "#3aa0b0", "#7a6bd0")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
Cell = tuple[str, float | None]  # a number as text, and the number to sort by


class Chart(NamedTuple):
    """One figure: plotly's `data` and `layout`, to which the page adds colours. The table has texts and `Cell`s."""

    title: str
    caption: str
    figure: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class _Sweep(NamedTuple):
    """Contests that differ in one size alone, and their recommendations, by that size in rising order."""

    size: str
    rest: Setting  # without that size
    points: dict[int, list[Measurement]]
    recommendations: dict[int, Recommendation]


def sweeps_of(contests: Mapping[Setting, list[Measurement]], chosen: Mapping[Setting, Recommendation]) -> list[_Sweep]:
    """The sweeps among contests: three or more settings that differ in one size alone."""
    groups: dict[tuple[str, Setting], dict[int, Setting]] = {}
    for setting in contests:
        for name, value in setting.sizes.items():
            if value > 0:  # others have no place on a logarithmic axis
                sizes = {other: size for other, size in setting.sizes.items() if other != name}
                rest = msgspec.structs.replace(setting, sizes=sizes)
                groups.setdefault((name, rest), {})[value] = setting
    found = []
    for (name, rest), unordered in groups.items():
        if len(unordered) >= 3:
            settings = dict(sorted(unordered.items()))
            points = {value: contests[s] for value, s in settings.items()}
            recommendations = {value: chosen[s] for value, s in settings.items() if s in chosen}
            found.append(_Sweep(name, rest, points, recommendations))
    return found


def crossovers(sweep: _Sweep) -> list[tuple[str, str, int, int]]:
    """Where the recommendation changes: before, after, and the two sizes between which it does.

    A recommended implementation stays while it is tied with the fastest one.
    """
    found, current, previous = [], "", 0
    for value, chosen in sweep.recommendations.items():
        if current and current not in chosen.tied and chosen.implementation:
            found.append((current, chosen.implementation, previous, value))
            current = chosen.implementation
        current, previous = current or chosen.implementation, value
    return found


def over_size(sweep: _Sweep) -> list[Chart]:
    """Time, and memory where it is known, over one size, on two logarithmic axes."""
    measured = [(value, m) for value, ms in sweep.points.items() for m in ms]
    names = list(dict.fromkeys(m.implementation for _, m in measured))

    def traces(field: str, text: Callable[[Any], str]) -> list[dict[str, Any]]:
        found = []
        for i, name in enumerate(names):
            mine = {value: y for value, m in measured if m.implementation == name and (y := getattr(m, field))}
            found.append(_trace(name, i, mine, mine.values(), map(text, mine.values())))
        return found

    floor = {value: ms[0].floor_seconds for value, ms in sweep.points.items()}
    floor_trace = _trace("floor", 0, floor, floor.values(), map(seconds, floor.values()))
    floor_trace |= dict(line=dict(color="#8a8a86", dash="dash", width=1.5), mode="lines")
    changes = crossovers(sweep)
    told = "; ".join(
        f"from {sweep.size} ≈ {math.sqrt(low * high):,.0f} (between {low:,} and {high:,}), {after} instead of {before}"
        for before, after, low, high in changes
    )
    caption = (
        f"The recommendation changes at the dotted vertical lines: {told}. "
        if told
        else "The recommendation is the same throughout. "
    )
    caption += "Floor: the time to copy the fewest bytes that a call must read and write."
    size_axis = _log_axis(sweep.size, _decimal(sweep.points), "{:,.0f}".format)
    time_axis = _log_axis("time of a call", _decimal([*floor.values(), *(m.seconds for _, m in measured)]), seconds)
    uprights = [math.sqrt(low * high) for _, _, low, high in changes]
    figure = _figure([*traces("seconds", seconds), floor_trace], size_axis, time_axis, uprights)
    columns = (sweep.size, "implementation", "time", "× best", "× floor", "memory")
    rows = [((f"{value:,}", value), m.implementation, *costs(m)) for value, m in measured]
    where = f"over {sweep.size}" + (f", {workload_name(sweep.rest)}" if sweep.rest.sizes else "")
    charts = [Chart(f"Time {where}", caption, figure, columns, rows)]
    used = traces("peak_bytes", memory)
    if any(len(trace["x"]) > 1 for trace in used):
        caption = "The peak memory of a call beside its arguments. No point is drawn where no memory use was seen."
        memory_axis = _log_axis("memory of a call", [4**power for power in range(30)], memory)
        figure = _figure(used, size_axis, memory_axis)
        cells = [(size, name, peak) for size, name, *_, peak in rows]
        charts.append(Chart(f"Memory {where}", caption, figure, (sweep.size, "implementation", "memory"), cells))
    return charts


def pareto(name: str, contest: Sequence[Measurement]) -> Chart | None:
    """Speed and error of one contest, and the Pareto front of the two."""
    shown = [m for m in contest if m.error_ulps is not None and math.isfinite(m.error_ulps)]
    if len(shown) < 2:
        return None
    front: dict[str, Measurement] = {}
    least = math.inf
    for m in sorted(shown, key=lambda m: (m.seconds, m.error_ulps)):
        if m.error_ulps is not None and m.error_ulps < least:
            front[m.implementation], least = m, m.error_ulps
    middle = statistics.median(m.seconds for m in shown)
    traces: list[dict[str, Any]] = [
        dict(
            mode="markers+text" if m.implementation in front else "markers",
            name=m.implementation,
            x=[m.seconds],
            y=[m.error_ulps],
            text=[m.implementation],
            textposition="top right" if m.seconds <= middle else "top left",  # where the plot has room for the name
            cliponaxis=False,
            hovertemplate=f"%{{text}}<br>{seconds(m.seconds)}, {m.error_ulps:.3g} ulps<extra></extra>",
            marker=dict(size=10, symbol=_symbol(i), opacity=1 if m.implementation in front else 0.55),
        )
        for i, m in enumerate(shown)
    ]
    steps = dict(x=[m.seconds for m in front.values()], y=[m.error_ulps for m in front.values()])
    line = dict(color=_COLOURS[0], shape="hv", width=1, dash="dot")
    traces.append(dict(mode="lines", line=line, hoverinfo="skip", showlegend=False, **steps))
    time_axis = _log_axis("time of a call", _decimal(m.seconds for m in shown), seconds)
    figure = _figure(traces, time_axis, dict(title=dict(text="error (ulps)"), rangemode="tozero"))
    columns = ("implementation", "time", "error (ulps)", "on the front")
    rows = []
    for m in shown:
        on_front = "yes" if m.implementation in front else ""
        rows.append((m.implementation, (seconds(m.seconds), m.seconds), ulps(m.error_ulps), on_front))
    caption = (
        "Faster implementations are further left, more exact ones further down. "
        "The names are of those that no other implementation beats in both. "
        "The error is the largest that was seen, in units in the last place of the largest element."
    )
    return Chart(f"Speed and error, {name}", caption, figure, columns, rows)


def errors(verdicts: Sequence[Verdict]) -> Chart | None:
    """The largest error of each implementation as a fraction of its bound, by dtype."""
    worst: dict[tuple[str, str], Verdict] = {}
    for v in verdicts:
        if v.check == "agreement" and v.examples and v.dtypes and v.error_of_bound:
            key = (v.implementation, next(iter(group_dtypes(v.dtypes))))
            worst[key] = max(worst.get(key, v), v, key=lambda v: v.error_of_bound)
    if not worst:
        return None
    traces = []
    for i, group in enumerate(dict.fromkeys(group for _, group in worst)):
        mine = {name: v.error_of_bound for (name, g), v in worst.items() if g == group}
        traces.append(
            dict(
                mode="markers",
                name=group,
                y=list(mine),
                x=[min(error, 1.2) for error in mine.values()],
                text=[fraction(error)[0] for error in mine.values()],
                hovertemplate="%{y}<br>%{text} of the bound<extra>%{fullData.name}</extra>",
                marker=dict(size=9, symbol=_SYMBOLS[i % len(_SYMBOLS)]),
                cliponaxis=False,
            )
        )
    error_axis = dict(title=dict(text="error ÷ bound"), range=[0, 1.25])
    figure = _figure(traces, error_axis, dict(autorange="reversed", automargin=True), [1.0])
    figure["layout"]["height"] = 150 + 26 * len({name for name, _ in worst})
    rows = [(name, group, fraction(v.error_of_bound), ulps(v.error_ulps)) for (name, group), v in worst.items()]
    caption = (
        "An error to the right of the dotted line is larger than its bound: the implementation is wrong. "
        "Errors beyond 1.2 are drawn at 1.2. Implementations that never rounded are not shown."
    )
    return Chart("Error against its bound", caption, figure, ("implementation", "dtype", "of the bound", "ulps"), rows)


def over_time(machine: Machine, setting: Setting) -> Chart | None:
    """Each implementation's time as a multiple of the baseline's, night by night, and when alarms were raised."""
    curves = {
        series.implementation: curve
        for series, curve in machine.curves.items()
        if series.setting == setting and any(ratio != 1 for ratio in curve.ratios)  # the baseline's are all 1
    }
    if not curves or len(machine.nights) < 2:
        return None
    width = math.ceil(len(machine.nights) / MOST_POINTS)
    dates = [night.date[:10] for night in machine.nights]
    traces, rows = [], dict[int, dict[str, float]]()
    for i, (name, curve) in enumerate(sorted(curves.items(), key=lambda item: item[1].ratios[-1])):
        thin = thinned(curve, width)
        trace = _trace(name, i, [dates[night] for night in thin.nights], [round(ratio, 4) for ratio in thin.ratios])
        trace["mode"] = "lines" if len(thin.nights) > 60 else "lines+markers"
        trace["hovertemplate"] = "%{x}<br>%{y:.3g} × baseline<extra>%{fullData.name}</extra>"
        traces.append(trace)
        for night, ratio in zip(thin.nights, thin.ratios, strict=True):
            rows.setdefault(night, {})[name] = ratio
    alarmed = dict.fromkeys(a.since[:10] for a in machine.alarms if a.kind == "time" and a.setting == setting)
    ratio_axis = _log_axis("time, as a multiple of the baseline's", _decimal(y for t in traces for y in t["y"]), times)
    figure = _figure(traces, dict(type="date"), ratio_axis, alarmed)
    cells = [
        (dates[night], *((times(ratios[n]), float(f"{ratios[n]:.3g}")) if n in ratios else "" for n in curves))
        for night, ratios in sorted(rows.items(), reverse=True)
    ]
    caption = (
        "Implementation and baseline were measured in the same rounds, so a slow night does not move the curve. "
        "Of each, the shortest block is compared. "
    )
    caption += f"Each point is the median of {width} nights. " if width > 1 else ""
    caption += "The dotted vertical lines are changes that the search found." if alarmed else ""
    title = f"{setting.operation} over the nights, {workload_name(setting)}"
    return Chart(title, caption, figure, ("night", *curves), cells)


def thinned(curve: Curve, width: int) -> Curve:
    """One point for each `width` nights: their median, at the last of them."""
    thin = Curve()
    points = zip(curve.nights, curve.ratios, strict=True)
    for _, bucket in itertools.groupby(points, key=lambda point: point[0] // width):
        nights, ratios = zip(*bucket, strict=True)
        thin.add(nights[-1], statistics.median(ratios))
    return thin


def _symbol(i: int) -> str:
    """Of the i-th trace: plotly repeats the colours, another symbol tells apart those that have the same."""
    return _SYMBOLS[i // len(_COLOURS) % len(_SYMBOLS)]


def _trace(name: str, i: int, x: Iterable[Any], y: Iterable[Any], text: Iterable[str] = ()) -> dict[str, Any]:
    return dict(
        mode="lines+markers",
        name=name,
        x=list(x),
        y=list(y),
        text=list(text),
        line=dict(width=1.5, dash="solid" if i < len(_COLOURS) else "dot"),
        marker=dict(size=6, symbol=_symbol(i)),
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
    )


def _figure(
    traces: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], uprights: Iterable[Any] = ()
) -> dict[str, Any]:
    """A figure with dotted vertical lines at `uprights`."""
    line = dict(type="line", y0=0, y1=1, yref="paper", line=dict(width=1, dash="dot"))
    shapes = [line | dict(x0=place, x1=place) for place in uprights]
    return dict(data=traces, layout=dict(colorway=_COLOURS, xaxis=x, yaxis=y, height=420, shapes=shapes))


def _log_axis(title: str, ticks: Sequence[float], text: Callable[[Any], str]) -> dict[str, Any]:
    return dict(title=dict(text=title), type="log", tickvals=ticks, ticktext=list(map(text, ticks)))


def _decimal(values: Iterable[Any]) -> list[float]:
    """Ticks at powers of ten, and at 2 and 5 times them where there are few powers: plotly's own have a unit at the powers only."""
    positive = [value for value in values if 0 < value < math.inf] or [1.0]
    digits = (1, 2, 5) if max(positive) < 300 * min(positive) else (1,)
    return [digit * 10.0**power for power in range(-12, 19) for digit in digits]


def costs(m: Measurement) -> tuple[Cell, Cell, Cell, Cell]:
    """Time, time as a multiple of the best one's, time as a multiple of the floor's, and memory."""
    of_floor = (times(m.of_floor), m.of_floor) if m.floor_seconds else ("", None)
    return (seconds(m.seconds), m.seconds), (times(m.ratio), m.ratio), of_floor, (memory(m.peak_bytes), m.peak_bytes)


def ulps(value: float | None) -> Cell:
    """An error in units in the last place, as text and to sort by, or blank where none was looked at."""
    return ("", None) if value is None else (_number(value), value)


def fraction(value: float) -> Cell:
    """An error as a fraction of its bound, as text and to sort by, or blank where nothing was rounded."""
    return ("", None) if not value else ("> 1000", value) if value > 1e3 else (_number(value), value)


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:,.3g}" if math.isfinite(value) else str(value)
