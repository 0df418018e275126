"""Writes spoken times as clocks: `quarter past eight` is 8:15, `ten minutes to five` is 4:50, `half past two` is 2:30,
`noon` is 12:00 PM, `five o'clock pm` is 5 pm.

`Five to nine` may be a range of numbers: it is a time only as the last words of a clause, and not after `from`.
"""

from __future__ import annotations

import re

_HOURS = "one two three four five six seven eight nine ten eleven twelve".split()
_MINUTES = {"quarter": 15, "five": 5, "ten": 10, "twenty": 20, "twenty five": 25}
_HOUR = rf"(?P<hour>{'|'.join(_HOURS)}|1[0-2]|\d)(?![\w.:,-]*\w)"
_NO_SCALE = r"(?! (?:hundred|thousand|million|billion))"
_CLAUSE_ENDS = r"(?=\s?(?:$|[.,;!?]|o'clock|[ap]\.?m\b|in the\b|at night\b))"
_TIME = re.compile(
    r"\b(?<!from )(?<!between )(?:(?P<half>half) past"
    r"|(?:(?:a )?(?P<part>quarter)|(?P<minutes>\d{1,2}|five|ten|twenty(?:[ -]five)?) minutes) (?P<side>past|after|to)"
    rf"|(?P<few>five|ten|twenty(?:[ -]five)?) (?P<few_side>past|to(?= {_HOUR.replace('hour', 'last')}{_CLAUSE_ENDS}))"
    rf") {_HOUR}{_NO_SCALE}",
    re.IGNORECASE,
)

_MIDDLE = re.compile(  # alone or after a preposition, and not in a name: `High Noon`
    r"(?:\b(?:12(?::00)?|twelve) |(?P<before>^|\b(?:at|by|to|is|from|till|until|after|before|around) ))"
    r"(?:noon|midday|(?P<night>midnight))\b(?=\W{0,3}$|[.,;)]| (?:on|to|and|until|of)\b)",
    re.IGNORECASE,
)

_OCLOCK = re.compile(rf"\b({'|'.join(_HOURS)}|1[0-2]|\d)(?:[:.]00)? o'?clock(?=,? ?[ap]\.?m\b)", re.IGNORECASE)


def with_clocks(text: str) -> str:
    """The text with clocks for its spoken times. The text has one space between words."""
    lowered = text.lower()
    if "noon" in lowered or "mid" in lowered:
        text = _MIDDLE.sub(lambda time: f"{time['before'] or ''}12:00 {'AM' if time['night'] else 'PM'}", text)
    if "clock" in lowered:
        text = _OCLOCK.sub(lambda time: str(_hours(time[1])), text)
    if not any(side in lowered for side in (" past ", " to ", " after ")):
        return text
    return _TIME.sub(_clock, text)


def _clock(time: re.Match[str]) -> str:
    hours = _hours(time["hour"])
    name = (time["part"] or time["minutes"] or time["few"] or "").lower().replace("-", " ")
    minutes = 30 if time["half"] else int(name) if name.isdigit() else _MINUTES[name]
    if minutes and (time["side"] or time["few_side"] or "").lower() == "to":
        hours, minutes = (hours - 2) % 12 + 1, 60 - minutes
    return f"{hours}:{minutes:02}" if 0 <= minutes < 60 else time[0]


def _hours(hour: str) -> int:
    return int(hour) if hour.isdigit() else _HOURS.index(hour.lower()) + 1
