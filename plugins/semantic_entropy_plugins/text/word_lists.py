"""The word lists of the judge `text`: function words, negations, hedges, words that exclude each other.

English, except for yes, no and negations, which the list has in the languages of `is_refusal`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

STOP_WORDS = frozenset(
    "a an the of in on at to for from by with as and or is are was were be been being am it its he she they his her "
    "their them him this that these those there which who whom whose what when where why how do does did has have had "
    "you we my your our also about into out than then so such if but because while during between would will can could "
    "should may might just only very known called name that's it's he's she's there's they're i'm we're you're".split()
)
PARTICLES = frozenset(("a", "on", "in", "out"))  # function words that count where they end a clause: `the light is on`
NAMES = frozenset(("will", "may", "who", "it"))  # function words that are names if a capital follows: `Will Smith`

YES = frozenset("yes yeah yep true correct si sí oui ja sim да हाँ हां نعم হ্যাঁ はい".split())
NO = frozenset("no nope false incorrect non nein nao não нет नहीं لا না いいえ".split())
NEGATIONS = frozenset(
    "not no never cannot without neither nor non none nobody nothing nowhere except excluding unlike n't "
    "dont cant wont isnt arent wasnt werent doesnt didnt hasnt havent hadnt wouldnt couldnt shouldnt mustnt aint "
    "nicht kein keine keinen keiner keines keinem nie niemals ohne nunca jamas sin pas jamais sans aucun aucune "
    "nao nem sem nenhum nenhuma не нет нету никогда без нельзя ليس ليست لا لم لن غير بدون नहीं नही मत बिना "
    "না নয় নেই ছাড়া hardly rarely seldom lack lacks lacking absence".split()
)
COUNTED_NEGATIONS = frozenset("none nobody nothing nowhere neither lack absence".split())  # also an answer
NO_NEGATION = frozenset("only just merely simply doubt matter wonder".split())
"""After `not` or `no`, these words deny nothing: `not only`, `no doubt`. `No more than 10` denies `more`."""
SCOPE_ENDS = frozenset("but although though because while whereas however instead rather".split())
VERBS = frozenset(
    "is are was were am has have had does did will would that who which".split()
)  # they end a denial: `he never married was ...`
ALL = frozenset("all any anyone anybody everyone everybody everything anywhere everywhere".split())  # `all but one`
VOTING = frozenset("vote votes voted voting argue argued campaigned ruled spoke".split())  # `for` counts after them
NUMBERED = frozenset("type phase class stage grade part level war chapter volume book act tier".split())  # `type I`
VERSIONED = frozenset("version release section chapter python java article paragraph figure table v".split())
"""After these words, `3.10` is a code and not the number 3.1."""
SPELLINGS = {"gray": "grey", "color": "colour", "center": "centre", "theater": "theatre", "favorite": "favourite"}
COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
TRUTHS = frozenset("true correct case".split())  # `it is not true that ...` denies a whole clause
UNTRUTHS = frozenset("false untrue incorrect wrong".split())
WHOLE_CLAUSE = 10**6  # content words that a denial of a whole clause denies
SCOPE = 3  # the number of content words that a negation denies: `no longer widely available`

_CLASSES = {
    "weekday": "monday tuesday wednesday thursday friday saturday sunday",
    "season": "spring summer autumn=fall winter",
    "direction": "north=northern south=southern east=eastern west=western northeast=northeastern "
    "northwest=northwestern southeast=southeastern southwest=southwestern",
    "colour": "black white red green blue yellow orange purple=violet brown pink grey=gray gold=golden silver",
}
CLASS_OF: Mapping[str, tuple[str, str]] = {
    spelling: (name, members.partition("=")[0])
    for name, listed in _CLASSES.items()
    for members in listed.split()
    for spelling in members.split("=")
}
"""Members of one class exclude each other: `Monday` and `Tuesday`."""

_OPPOSITES = """
on off | before after | north south | up down | upward downward | inside outside | over under | above below
left right
increase decrease | increased decreased | increases decreases | increasing decreasing | rise fall | rose fell
rises falls
rising falling | profit loss | gain loss | gained lost | win lose | won lost | wins loses | buy sell | bought sold
more less | more fewer | most least | maximum minimum | max min | highest lowest | higher lower | high low | upper lower
larger smaller | largest smallest | bigger smaller | biggest smallest | longer shorter | longest shortest | greater less
faster slower | fastest slowest | older younger | oldest youngest | first last | early late | earlier later
male female | man woman | men women | boy girl | husband wife | brother sister | father mother | son daughter
king queen
true false | positive negative | same different | always never | all none | everybody nobody | everyone nobody
everything nothing | hot cold | open closed | alive dead | present absent | legal illegal | safe dangerous | good bad
accept reject | accepted rejected | allow forbid | allowed forbidden | permitted prohibited | include exclude
import export | imports exports | enter exit | start end | began ended | arrive depart | guilty innocent | pass fail
passed failed | agree disagree | love hate | strong weak | even odd | internal external | interior exterior
clockwise counterclockwise | clockwise anticlockwise | winter summer | day night | morning evening | odd even
bc ad | bce ce | in out | for against | few many
with without | vertical horizontal | credit debit | deposit withdrawal | employer employee
"""
OPPOSITES: dict[str, frozenset[str]] = {}
for _pair in _OPPOSITES.replace("\n", "|").split("|"):
    if _pair.strip():
        _one, _other = _pair.split()
        OPPOSITES[_one] = OPPOSITES.get(_one, frozenset()) | {_other}
        OPPOSITES[_other] = OPPOSITES.get(_other, frozenset()) | {_one}
NEGATIVE_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "anti", "mis")

_SURE = r"(?:sure|certain|positive|confident)"
HEDGE = re.compile(
    r"\b(?:i(?:'m|\sam)\s(?:not\s)?(?:(?:entirely|completely|totally|fully|100%|quite|really|very|absolutely|fairly|"
    rf"pretty)\s)*{_SURE}(?:\s(?:about|of)\s(?:this|that|it))?(?:\sthat)?"
    rf"|i\s(?:do\snot|don't|dont|can't|cannot)\s(?:know|say|tell|be)\s(?:for\s)?(?:{_SURE}|exactly)"
    r"|i(?:'d|\swould)\s(?:say|guess)|i\s(?:think|believe|guess|suppose|assume|suspect)(?:\sthat)?|i\scould\sbe\swrong"
    r"|if\s(?:i|my\smemory)\s(?:recall|remember|serves)\w*(?:\sme)?(?:\s(?:correctly|right))?"
    r"|as\sfar\sas\si(?:'m|\s)\s?(?:know|aware)"
    r"|to\s(?:the\sbest\sof\s)?my\sknowledge|in\smy\sopinion"
    r"|it(?:'s|\sis)\s(?:most\s)?(?:likely|probably|possible|possibly)(?:\sthat)?"
    r"|(?:most|very)\slikely|probably|possibly|perhaps|maybe"
    r"|(?:the|my|your)\s(?:(?:final|correct|right|best|short|likely|probable|exact)\s)*(?:answer|guess|solution|response)"
    r"(?:\sto\s(?:the|this|your)\squestion)?\s?(?:is|would\sbe|was|:|=)(?:\sthat)?"
    r"|^\W*(?:(?:final|correct|short)\s)?answer\s?(?:is\b|:|=))",
    re.IGNORECASE,
)
"""Phrases that say how sure the speaker is, or announce the answer. They are no part of the answer."""
