"""The word lists of the judge `text`: function words, negations, hedges, words that exclude each other.

English, except for yes, no and negations, which the list has in the languages of `is_refusal`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from semantic_entropy_plugins.quantities.dates import MONTHS

STOP_WORDS = frozenset(
    "a an the of in on at to for from by with as and or is are was were be been being am it its he she they his her "
    "their them him this that these those there which who whom whose what when where why how do does did has have had "
    "you we my your our also about into out than then so such if but because while during between would will can could "
    "should may might just only very known called name per that's it's he's she's there's they're i'm we're "
    "you're".split()
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
    "না নয় নেই ছাড়া hardly rarely seldom unlikely improbable lack lacks lacking absence "
    "ningun ninguno ninguna nada nadie tampoco weder nichts niemand rien niente nessun nessuno".split()
)
COUNTED_NEGATIONS = frozenset("none nobody nothing nowhere neither lack absence".split())  # also an answer
NO_NEGATION = frozenset("only just merely simply doubt matter wonder".split())
"""After `not` or `no`, these words deny nothing: `not only`, `no doubt`. `No more than 10` denies `more`."""
SCOPE_ENDS = frozenset("but although though because while whereas however instead rather".split())
VERBS = frozenset(
    "is are was were am has have had does did will would that who which".split()
)  # they end a denial: `he never married was ...`
ALL = frozenset(
    "all any anything anyone anybody everyone everybody everything anywhere everywhere".split()
)  # `all but one`
VOTING = frozenset("vote votes voted voting argue argued campaigned ruled spoke".split())  # `for` counts after them
NUMBERED = frozenset(
    "type phase class stage grade part level war chapter volume book act tier vitamin group".split()
)  # `type I`
VERSIONED = frozenset("version release section chapter python java article paragraph figure table v".split())
"""After these words, `3.10` is a code and not the number 3.1."""
SPELLINGS = {"gray": "grey", "color": "colour", "center": "centre", "theater": "theatre", "favorite": "favourite"}
COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
TRUTHS = frozenset("true correct case".split())  # `it is not true that ...` denies a whole clause
UNTRUTHS = frozenset("false untrue incorrect wrong myth misconception lie doubt doubtful".split())
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
on off | before after | north south | above below | top bottom | front back | front rear
left right
increase decrease | increased decreased | increases decreases | increasing decreasing | rise fall | rose fell
rises falls
rising falling | profit loss | gain loss | gained lost | win lose | won lost | wins loses | buy sell | bought sold
more less | more fewer | most least | highest lowest | higher lower | high low | upper lower
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
bc ad | bce ce | for against | few many | active passive | senior junior | major minor | public private
with without | vertical horizontal | credit debit | deposit withdrawal | long short | supply demand
maternal paternal | urban rural
passed rejected | passed defeated | approved rejected | upheld struck | upheld overturned | enters leaves | enter leave
entered left | hired fired | raised lowered | raises lowers | raise lower | kinetic potential | dominant recessive
sympathetic parasympathetic | eldest youngest | elder younger | start stop | starts stops | started stopped | jr sr
begin end | begins ends | greater smaller | cis trans | fiscal calendar | eve day | subcutaneously intravenously
orally intravenously | hard soft | asc desc | ascending descending | guilty acquitted | win defeat | winner loser
predator prey | sunrise sunset | plaintiff defendant | buyer seller
lender borrower | landlord tenant | doubled halved | ally enemy | ancestor descendant | convex concave
acute chronic | benign malignant | anode cathode | proton electron | oxidation reduction | oxidized reduced
exothermic endothermic | artery vein | arteries veins | systolic diastolic | solvent solute | sender receiver
inhale exhale | expand contract | expands contracts | attract repel
attracts repels | melting boiling | freezing boiling | hypothesis conclusion | numerator denominator
linken rechten | links rechts | vor nach | mehr weniger | steigen sinken | steigt sinkt | nordlich sudlich
norden suden | avant apres | plus moins | nord sud | gauche droite | norte sur | norte sul | antes despues
antes depois | mas menos | mais menos | izquierda derecha | esquerda direita
\u0441\u0435\u0432\u0435\u0440\u0443 \u044e\u0433\u0443
\u0431\u043e\u043b\u044c\u0448\u0435 \u043c\u0435\u043d\u044c\u0448\u0435
"""
OPPOSITES: dict[str, frozenset[str]] = {}
for _pair in _OPPOSITES.replace("\n", "|").split("|"):
    if _pair.strip():
        _one, _other = _pair.split()
        OPPOSITES[_one] = OPPOSITES.get(_one, frozenset()) | {_other}
        OPPOSITES[_other] = OPPOSITES.get(_other, frozenset()) | {_one}
PARTS_OF_DATES = frozenset((*MONTHS, *(word for word, (name, _) in CLASS_OF.items() if name == "weekday")))
FIRST_PERSON = frozenset(
    "am think believe know guess recall remember suppose assume say said mean saw went don didn haven couldn".split()
)
"""After `I` in a sentence: the pronoun. In `bipolar I disorder` it is a numeral."""
SPANS = {
    **dict.fromkeys(("in", "on", "at", "during"), "at"),
    **dict.fromkeys(("since", "from"), "from"),
    **dict.fromkeys(("until", "till", "before", "by"), "until"),
    "after": "after",
    "for": "for",
    "every": "every",
    "ago": "ago",
}
"""Before a number, or `ago` after it: `until 1945` and `from 1945`, `in 5 days` and `5 days ago` exclude each other."""
LEADING = frozenset(("than", "from", "to", "over", "by"))
"""The words after them tell two answers of equal words apart: `tea to coffee` and `coffee to tea`."""
RANGE_SIGNS = frozenset(("-", "to", "through", "thru", "until", "till"))  # `5 to 10`, and not `5 and 10`
_CONTRASTS = {
    "modal verb": "must shall | may can might could | should ought | will",
    "time of the verb": "will | was were has have had did",
    "condition": "if | unless",
    "cause": "because due | despite although though",
    "way": "into | out",
    "conjunction": "and | or",
    "time": "during while at | before | after | until till | since | by",
    "direction": "to toward towards | from away",
    "side": "for with | against",
    "fame": "known | unknown",
    "bound": "only just | least",
    "emphasis": "only | even",
    "person": "i my | you your | we our | they them their | he him his | she her",
}
POSITIONS = {
    word: words.split()[0]
    for words in (
        "in inside within",
        "on atop",
        "under below beneath underneath",
        "over above",
        "behind",
        "near beside",
    )
    for word in words.split()
}
"""Before a place: `in the box` and `on the box` exclude each other. Before a date they do not."""
CONTRASTS: Mapping[str, frozenset[tuple[str, str]]] = dict.fromkeys((*SPANS, *POSITIONS, *RANGE_SIGNS), frozenset())
for _name, _members in _CONTRASTS.items():
    for _member in _members.split(" | "):
        for _word in _member.split():
            CONTRASTS = {**CONTRASTS, _word: CONTRASTS.get(_word, frozenset()) | {(_name, _member)}}
"""Function words that exclude each other in two answers whose other words are equal: `must pay` and `may pay`."""
DEMONSTRATIVES = {"this": "near", "these": "near", "that": "far", "those": "far"}
_PREFIXES = (
    *(("", prefix) for prefix in "a un in im il ir dis non anti mis de ex semi counter".split()),
    *(
        pair.split()
        for pair in "up down|over under|in out|inter intra|pre post|hyper hypo|macro micro|endo exo".split("|")
    ),
    *(pair.split() for pair in "pro anti|max min|hetero homo|mono poly|sub super|north south|east west".split("|")),
)
_ENDINGS = (("ful", "less"), ("er", "ee"), ("or", "ee"))
_SHORTEST_STEM, _SHORTEST_AFTER_A = 3, 5  # letters: `asymmetric`, but not `alive`
_LONGEST_STEMMED = 30  # letters of a word whose prefix is exchanged
_VOWELS = ("a", "e", "i", "o", "u")  # before them, `a` is `an`


@lru_cache(maxsize=16384)
def opposites(word: str) -> frozenset[str]:
    """The opposites of a word: those of the list, and the words that differ in a prefix or an ending of this list."""
    found = set(OPPOSITES.get(word, ()))
    if len(word) > _LONGEST_STEMMED:
        return frozenset(found)
    for pair in _PREFIXES:
        for one, other in (pair, pair[::-1]):
            stem = word[len(one) :]
            long_enough = len(stem) >= (_SHORTEST_AFTER_A if "a" in pair else _SHORTEST_STEM) or (
                one and other and not stem
            )
            if word.startswith(one) and long_enough and not ("a" in pair and stem.startswith(_VOWELS)):
                found.add(other + stem)
    for pair in _ENDINGS:
        for one, other in (pair, pair[::-1]):
            if word.endswith(one) and len(word) - len(one) >= _SHORTEST_STEM:
                found.add(word.removesuffix(one) + other)
    return frozenset(found)


NO_SUPERLATIVES = frozenset(
    "honest dishonest forest interest harvest request modest contest protest conquest suggest invest digest arrest "
    "everest tempest midwest northwest southwest budapest earnest bequest manifest rest west test guest quest chest "
    "nest vest pest zest".split()
)

DENIALS = re.compile(
    r"\b(?<!none )(?<!no )(?<!nothing )(?:far from(?= [a-z])|fail(?:s|ed)? to\b|(?:other|rather) than\b|instead of\b"
    r"|(?:pretend(?:s|ed|ing)?|refus(?:es?|ed|ing)|declin(?:es?|ed|ing)) to\b"
    r"|(?:pretend(?:s|ed|ing)?|den(?:y|ies|ied|ying)) that\b)"
    r"|(?<=\bfree )(?:of|from)(?= [a-z])",
    re.IGNORECASE,
)
"""Phrases that deny what follows them, as `not` does."""
CHEMICAL_SYMBOLS = frozenset(
    "Li Ne Na Mg Al Si Cl Ar Ca Sc Ti Cr Mn Fe Co Ni Cu Zn Ga Ge Se Br Kr Rb Sr Zr Nb Mo Tc Ru Rh Pd Ag Cd Sn Sb Te "
    "Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Er Tm Yb Lu Hf Ta Re Os Ir Pt Au Hg Tl Pb Bi Po Rn Fr Ra Ac Th Pa Np Pu "
    "Cm Bk Cf Es Fm Md Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og".split()
)
"""Symbols whose case is the meaning: `Co` is cobalt, and `CO` is not. Without symbols that are English words."""

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
    r"|\bnone\sother\sthan|(?:most|very)\slikely|probably|possibly|perhaps|maybe"
    r"|(?:the|my|your)\s(?:(?:final|correct|right|best|short|likely|probable|exact)\s)*(?:answer|guess|solution|response)"
    r"(?:\sto\s(?:the|this|your)\squestion)?\s?(?:is|would\sbe|was|:|=)(?:\sthat)?"
    r"|^\W*(?:(?:final|correct|short)\s)?answer\s?(?:is\b|:|=))",
    re.IGNORECASE,
)
"""Phrases that say how sure the speaker is, or announce the answer. They are no part of the answer."""
