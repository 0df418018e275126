"""`python -m semantic_entropy`: the command line."""

from semantic_entropy.cli import main

main(prog_name="semantic-entropy")
