"""Sentences of a text, by sentencex (extra `sentences`), which has the rules of about 300 languages.

The language of a response is not known, so the rules for English are used. They split at the sentence ends of other
scripts too (Chinese, Japanese, Arabic, Devanagari), and at line breaks. Abbreviations of other languages can split a
sentence. Docs: decisions/sentences.md, with the other splitters that were tried.
"""

from __future__ import annotations

from semantic_entropy.errors import MissingDependencyError, install_command


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without white space at their ends.

    Parts without a letter or digit, such as a rule in Markdown, are left out.

    Raises:
        MissingDependencyError: sentencex is not installed.
    """
    try:
        from sentencex import segment
    except ImportError as error:
        raise MissingDependencyError(
            f"splitting a text into sentences needs sentencex: {install_command('semantic-entropy[sentences]')}"
        ) from error
    parts = [part.strip() for part in segment("en", text)]
    return [part for part in parts if any(map(str.isalnum, part))]
