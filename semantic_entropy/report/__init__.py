"""The report: one HTML file that shows scored rows, and which answers to check first.

    >>> from semantic_entropy.report import write_report
    >>> print(write_report("scored.jsonl", "report.html"))

The modules are: `scored_rows` (reads the rows of a file, results, or rows of the caller), `findings` (which rows to
check first and why, bands, totals), `curves` (how well the scores find wrong answers, where rows have labels),
`least_supported` (sentences of long answers), `row_fields` and `report_page` (the data and the file), and `terminal`
(one question in the terminal). `page.html`, `page.css` and the scripts are the page without data. `import
semantic_entropy` does not import this folder.
"""

from semantic_entropy.report.report_page import ReportSummary, report_html, write_report

__all__ = ["ReportSummary", "report_html", "write_report"]
