"""The report: a static site, its Markdown and terminal forms, and exports, all from the same records."""
