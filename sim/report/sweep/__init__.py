"""The report on a sweep: one module a section, each with its figures and tables."""
