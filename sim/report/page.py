"""The page: one HTML file with everything in it. Needs jinja2 and plotly, the extra ``report``."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from adadecode.sim.report import theme
from adadecode.sim.report.document import Figure, Report, ReportError, Table

if TYPE_CHECKING:
    from jinja2 import Environment


def page(report: Report) -> str:
    """The HTML of a report. Raises ReportError where jinja2 or plotly are not installed."""
    require_packages()
    from plotly.offline import get_plotlyjs

    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            report=report,
            data={figure.name: figure_data(figure) for figure in report.figures},
            light=theme.LIGHT,
            dark=theme.DARK,
            font=theme.FONT,
            templates={"light": theme.template(theme.LIGHT), "dark": theme.template(theme.DARK)},
            nonce=secrets.token_urlsafe(16),
            plotly=in_script(get_plotlyjs()),
            is_table=lambda item: isinstance(item, Table),
        )
    )


def require_packages() -> None:
    """Raises ReportError unless plotly and jinja2 are installed."""
    try:
        import jinja2  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise ReportError(f"a report needs {error.name}: pip install adadecode[report]") from None


def environment() -> Environment:
    """The templates of this package. Everything that is filled in is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("adadecode.sim.report", "")
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def figure_data(figure: Figure) -> dict[str, Any]:
    """What the page's script draws: its drop-downs, and for every combination of options (their places, joined by dots) data, layout and a sentence."""
    drawings = {}
    for options, drawing in figure.drawings.items():
        places = (
            choice.options.index(option)
            for choice, option in zip(figure.choices, options, strict=True)
        )
        told = drawing.figure.to_plotly_json()
        layout = {
            name: value for name, value in told["layout"].items() if name != "template"
        }  # the page has its own, by day and by night
        drawings[".".join(map(str, places))] = {
            "data": told["data"],
            "layout": layout,
            "says": drawing.says,
            **_scales(layout),
        }
    return json.loads(
        json.dumps(
            {"choices": [choice.dimension for choice in figure.choices], "drawings": drawings},
            allow_nan=False,
        )
    )  # type: ignore[no-any-return]


def _scales(layout: dict[str, Any]) -> dict[str, Any]:
    """The colours of a scale of speedups by day and by night; nothing without one."""
    ends = layout.get("coloraxis", {})
    if "cmin" not in ends:
        return {}
    papers = {"light": theme.LIGHT, "dark": theme.DARK}
    return {
        "scales": {
            name: theme.speedup_scale(colours, ends["cmin"], ends["cmax"])
            for name, colours in papers.items()
        }
    }


def in_script(source: str) -> str:
    """JavaScript that may stand in a script element: nothing in it ends the element, or starts another."""
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", source, flags=re.IGNORECASE)
