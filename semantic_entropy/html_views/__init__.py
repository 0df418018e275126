"""HTML that shows untrusted texts as texts: `notebook` (results in a notebook), `word_notice` (the notice about
judges that compare words) and `offline_page` (a page in one file).

It reads plain dicts, so that the class `Result` can use it.
"""
