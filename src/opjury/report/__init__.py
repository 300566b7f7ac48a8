"""The report: a static site, its Markdown and terminal forms, and a flat table, all from the same records."""
