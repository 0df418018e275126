"""Labels for rows: is the main answer right? A judge and a gold answer decide, or a person in a terminal or on a page.

The modules are: `items` (which answer of a row is labelled, its gold answers, its key), `labelled_file` (the output,
which keeps each label as soon as it is made), `label_run` (one pass over a file), `label_summary` (what the file then
has), `gold_judging` (a judge compares answers with gold answers), `dialog` (a person in a terminal), and `page` (a page
for a browser, and its export). `front_door` has `label_file`, for Python.
"""

from semantic_entropy.labelling.front_door import label_file
from semantic_entropy.labelling.items import ItemOptions, LabelItem
from semantic_entropy.labelling.label_run import LabelRun
from semantic_entropy.labelling.label_summary import LabelSummary
from semantic_entropy.labelling.labelled_file import Label

__all__ = ["ItemOptions", "Label", "LabelItem", "LabelRun", "LabelSummary", "label_file"]
