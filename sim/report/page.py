"""The page: one HTML file with everything in it. Needs jinja2 and plotly (the extra ``report``)."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from adadecode.sim.core.shown_text import shown
from adadecode.sim.report import theme
from adadecode.sim.report.document import Figure, Report, ReportError, Table

if TYPE_CHECKING:
    from jinja2 import Environment


def page(report: Report) -> str:
    """Return the HTML of a report.

    Raises:
        ReportError: If jinja2 or plotly is not installed.
    """
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
    """Check that plotly and jinja2 are installed.

    Raises:
        ReportError: If one of them is not.
    """
    try:
        import jinja2  # noqa: F401 - imported only to see whether it is there
        import plotly  # noqa: F401 - as above
    except ImportError as error:
        raise ReportError(f"a report needs {error.name}: pip install adadecode[report]") from None


def environment() -> Environment:
    """Return jinja2's environment of this package's templates.

    Everything that is filled in is escaped, and what a browser would obey is written out.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("adadecode.sim.report", "")
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def figure_data(figure: Figure) -> dict[str, Any]:
    """Return what the page's script needs to draw a figure.

    Returns:
        ``choices``, the dimensions of its drop-downs; and ``drawings``: data, layout and summary
        for every combination of options. The key of a combination is the indices of its options,
        joined by dots.
    """
    drawings = {}
    for options, drawing in figure.drawings.items():
        indices = (
            choice.options.index(option)
            for choice, option in zip(figure.choices, options, strict=True)
        )
        plot = drawing.figure.to_plotly_json()
        # The page has its own templates, one for each colour scheme.
        layout = {name: value for name, value in plot["layout"].items() if name != "template"}
        drawings[".".join(map(str, indices))] = {
            "data": plot["data"],
            "layout": layout,
            "summary": drawing.summary,
            **_colour_scales(layout),
        }
    data = {"choices": [choice.dimension for choice in figure.choices], "drawings": drawings}
    return _shown_values(json.loads(json.dumps(data, allow_nan=False)))  # type: ignore[no-any-return]


def _shown(value: object) -> object:
    """Write out what a browser would obey in a text that the page is filled with."""
    return shown(value) if type(value) is str else value


def _shown_values(value: Any) -> Any:  # noqa: ANN401 - JSON holds any value
    """Do the same with every text in a document."""
    if isinstance(value, dict):
        return {key: _shown_values(item) for key, item in value.items()}
    return [*map(_shown_values, value)] if isinstance(value, list) else _shown(value)


def _colour_scales(layout: dict[str, Any]) -> dict[str, Any]:
    """Return the scale of speedups in the colours of each scheme; nothing if there is no scale."""
    axis = layout.get("coloraxis", {})
    if "cmin" not in axis:
        return {}
    schemes = {"light": theme.LIGHT, "dark": theme.DARK}
    return {
        "scales": {
            name: theme.speedup_scale(colours, axis["cmin"], axis["cmax"])
            for name, colours in schemes.items()
        }
    }


def in_script(source: str) -> str:
    """Escape JavaScript so that it may stand in a script element.

    Nothing in the result ends the element or starts another one.
    """
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", source, flags=re.IGNORECASE)
