"""The menu: folders as sections, in the order in which a reader needs them, and in each the pages named here first.

mkdocs calls `on_config` before it looks at the menu. A new page thus appears by itself, and two people who add one
each do not meet in mkdocs.yml. A page in no folder belongs to the explanations, save for those named in `ALONE`.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

ALONE = ("index.md", "install.md")
LAST = "contributing.md"
SECTIONS = {
    "tutorial": "Tutorial",
    "how-to": "How-to",
    "empo": "Training (EMPO)",
    "reference": "Reference",
    "explanation": "Explanation",
    "decisions": "Decisions",
}
# Where the alphabet would be the wrong order.
FIRST = (
    "index.md",
    "tutorial/first-steps.md",
    "empo/demo.md",
    "empo/provider.md",
    "empo/rewards.md",
    "empo/any-trainer.md",
    "empo/training.md",
    "empo/recipes.md",
    "empo/data.md",
    "empo/evaluation.md",
    "empo/monitor.md",
    "empo/plot.md",
    "reference/api.md",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give mkdocs the menu of the pages that there are."""
    folder = Path(config.docs_dir)
    config.nav = menu([path.relative_to(folder).as_posix() for path in folder.glob("**/*.md")])
    return config


def menu(pages: list[str]) -> list[str | dict[str, list[str]]]:
    """The menu of these pages, each once."""
    rest = sorted(set(pages) - {*ALONE, LAST}, key=lambda page: (rank(page), page))
    sections: dict[str, list[str]] = {title: [] for title in SECTIONS.values()}
    for page in rest:
        folder = page.split("/")[0] if "/" in page else "explanation"
        sections.setdefault(SECTIONS.get(folder, folder.capitalize()), []).append(page)
    alone = [page for page in ALONE if page in pages]
    return [*alone, *({title: found} for title, found in sections.items() if found), LAST]


def rank(page: str) -> int:
    """Its place among the pages that come first, or after them all."""
    return FIRST.index(page) if page in FIRST else len(FIRST)
