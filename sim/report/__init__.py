"""Reports: one page, Markdown and CSV from a sweep or a profile. Needs the extra ``report``; importing it does not."""
