"""What surrounds a number in an answer: units, currencies, scale words and qualifiers. Shared by the judges.

`units` reads units of measurement and currencies, `measures` reads and compares everything around a number.
"""

from semantic_entropy_plugins.quantities.measures import NO_MEASURE, SCALES, Measure, conflict, read_measure
from semantic_entropy_plugins.quantities.units import Unit, read_unit

__all__ = ["NO_MEASURE", "SCALES", "Measure", "Unit", "conflict", "read_measure", "read_unit"]
