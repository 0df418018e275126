"""Judges that compare strings and need no model: exact, regex, ngram and text.

`text_judges` holds the four judges, `content_words` reduces a text to words, `json_answers` reads answers in JSON.
"""

from semantic_entropy_plugins.text.text_judges import Exact, NGram, Regex, Text

__all__ = ["Exact", "NGram", "Regex", "Text"]
