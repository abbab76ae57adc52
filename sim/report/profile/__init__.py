"""The report on a profile: one module a section, each with its figures and tables."""
