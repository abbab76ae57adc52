"""Reports on a sweep or a profile: one HTML page, Markdown and CSV.

Writing a page needs plotly and jinja2 (the extra ``report``); importing this package does not. The
package can be called: ``adadecode.sim.report(source, out)`` is
`adadecode.sim.report.writer.write_report`.
"""

from adadecode.sim.core.callable_package import make_callable

make_callable(__name__, "writer", "write_report")
