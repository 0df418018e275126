"""`python -m semantic_entropy.cli`: the command line."""

from semantic_entropy.cli import main

main(prog_name="semantic-entropy")
