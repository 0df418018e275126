"""Judges that compare strings and need no model: exact, regex, ngram and text.

`text_judges` holds the four judges, `content_words` reduces a text to words, `json_answers` reads answers in JSON.
"""
