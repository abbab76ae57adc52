"""Reports on a sweep or a profile: one HTML page, Markdown and CSV.

Writing a page needs plotly and jinja2 (the extra ``report``); importing this package does not.
"""
