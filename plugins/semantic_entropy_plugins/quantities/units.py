r"""Units of measurement and currencies: from `km/h`, `square meters` or `US$` to a dimension and a factor.

A unit is a product of named units with whole exponents. The table lists the units that follow a number in answers; SI
prefixes are combined with the units that take them. Only these spellings are units: every other word is not. Currencies
are dimensions of their own, because exchange rates change.

Not pint: pint needs half a second to start, builds and evaluates expressions from text, and reads common words as
units ("cat" is a centi-at).

Left out: temperature scales are not converted (25 degrees Celsius and 77 degrees Fahrenheit differ), nor are radians.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple


class Unit(NamedTuple):
    """A product of units.

    Attributes:
        name: the canonical names of the factors, such as "kilometre hour^-1".
        dimension: sorted pairs of a base quantity and its exponent, such as (("L", 1), ("T", -1)).
        factor: the number of base units in one unit, such as 1000/3600.
    """

    name: str
    dimension: tuple[tuple[str, int], ...]
    factor: Fraction


# Name and other spellings (a name of more than three letters also has a plural) | dimension | factor; "+" in front:
# the unit takes SI prefixes.
_TABLE = """
+metre meter m mtr | L | 1
inch in ″ 英寸 | L | 127/5000
foot feet ft \u2032 | L | 381/1250
yard yd yds | L | 1143/1250
mile mi | L | 201168/125
nauticalmile nmi | L | 1852
lightyear ly | L | 9460730472580800
astronomicalunit AU | L | 149597870700
angstrom Å | L | 1/10000000000
+parsec pc | L | 30856775814913673
furlong | L | 25146/125
fathom | L | 1143/625
+gram gramme g gm gms | M | 1
+tonne t metricton | M | 1000000
mcg | M | 1/1000000
carat | M | 1/5
iu IU | iu | 1
meq mEq | equivalent | 1/1000
ppm ppmillion | part | 1/1000000
ppb ppbillion | part | 1/1000000000
ppt | part | 1/1000000000000
poundmass lb lbs | M | 45359237/100000
ounce oz | M | 45359237/1600000
+second s sec secs | T | 1
minute min mins | T | 60
hour h hr hrs | T | 3600
day | T | 86400
week wk wks | T | 604800
fortnight | T | 1209600
month mo mos | month | 1
year yr yrs | month | 12
decade | month | 120
century centuries | month | 1200
celsius °C ℃ degC centigrade | celsius | 1
fahrenheit °F ℉ degF | fahrenheit | 1
kelvin K | kelvin | 1
degree ° deg degs | angle | 1
arcminute arcmin | angle | 1/60
arcsecond arcsec | angle | 1/3600
revolution rev revs | turn | 1
rpm | turn T-1 | 1/60
rps | turn T-1 | 1
bpm | beat T-1 | 1/60
fps | frame T-1 | 1
+radian rad rads | radian | 1
steradian sr | steradian | 1
+litre liter l L ltr | L3 | 1/1000
cc | L3 | 1/1000000
gallon gal gals | L3 | 473176473/125000000000
quart qt qts | L3 | 473176473/500000000000
pint | L3 | 473176473/1000000000000
cup | L3 | 473176473/2000000000000
fluidounce fluidoz floz | L3 | 473176473/16000000000000
tablespoon tbsp | L3 | 473176473/32000000000000
teaspoon tsp | L3 | 473176473/96000000000000
barrel bbl bbls | L3 | 9936705933/62500000000
hectare ha | L2 | 10000
acre | L2 | 316160658/78125
mph | L T-1 | 1397/3125
kmh kph kmph | L T-1 | 5/18
knot kn | L T-1 | 463/900
+hertz Hz | T-1 | 1
+newton N | M L T-2 | 1000
+pascal Pa | M L-1 T-2 | 1000
+bar | M L-1 T-2 | 100000000
atmosphere atm | M L-1 T-2 | 101325000
mmHg torr | M L-1 T-2 | 133322
psi | M L-1 T-2 | 6894757
+joule J | M L2 T-2 | 1000
newtonmetre newtonmeter Nm | M L2 T-2 | 1000
btu BTU Btu | M L2 T-2 | 1055056
erg | M L2 T-2 | 1/10000
+calorie cal | M L2 T-2 | 4184
+electronvolt eV | M L2 T-2 | 801088317/5000000000000000000000000
+watthour Wh | M L2 T-2 | 3600000
+watt W | M L2 T-3 | 1000
horsepower hp | M L2 T-3 | 745700
+ampere amp A | I | 1
+coulomb | I T | 1
+amperehour Ah | I T | 3600
+volt V | M L2 T-3 I-1 | 1000
+ohm Ω Ω | M L2 T-3 I-2 | 1000
+siemens | M-1 L-2 T3 I2 | 1/1000
+farad | M-1 L-2 T4 I2 | 1/1000
+henry | M L2 T-2 I-2 | 1000
+tesla T | M T-2 I-1 | 1000
+weber Wb | M L2 T-2 I-1 | 1000
gauss | M T-2 I-1 | 1/10
+mole mol | mole | 1
candela cd | candela | 1
lumen lm | lumen | 1
lux lx | lux | 1
+becquerel Bq | T-1 | 1
+curie Ci | T-1 | 37000000000
+gray Gy | L2 T-2 | 1
+sievert Sv | sievert | 1
+byte B | bit | 8
+bit | bit | 1
kb Kb | bit | 1000
Mb | bit | 1000000
Gb | bit | 1000000000
Tb | bit | 1000000000000
KiB | bit | 8192
MiB | bit | 8388608
GiB | bit | 8589934592
TiB | bit | 8796093022208
bps | bit T-1 | 1
kbps Kbps | bit T-1 | 1000
Mbps mbps | bit T-1 | 1000000
Gbps gbps | bit T-1 | 1000000000
Tbps tbps | bit T-1 | 1000000000000
kBps KBps | bit T-1 | 8000
MBps | bit T-1 | 8000000
GBps | bit T-1 | 8000000000
decibel dB | decibel | 1
dBm | dBm | 1
pixel px | pixel | 1
usd $ US$ dollar buck usdollar americandollar 美元 美金 ドル | USD | 1
cent ¢ ￠ | USD | 1/100
eur € euro 欧元 ユーロ | EUR | 1
poundsterling £ ￡ gbp sterling quid britishpound 英镑 | GBP | 1
pence | GBP | 1/100
jpy JP¥ yen japaneseyen 円 日元 | JPY | 1
¥ ￥ | ¥ | 1
cny CN¥ yuan chineseyuan rmb RMB 元 人民币 块钱 | CNY | 1
inr ₹ Rs rs rupee | INR | 1
krw ₩ 韩元 | KRW | 1
rub ₽ ruble rouble рублей | RUB | 1
chf franc swissfranc | CHF | 1
aud A$ AU$ australiandollar | AUD | 1
cad C$ CA$ canadiandollar | CAD | 1
hkd HK$ hongkongdollar | HKD | 1
nzd NZ$ newzealanddollar | NZD | 1
sgd singaporedollar | SGD | 1
brl R$ reais real | BRL | 1
mxn MX$ peso mexicanpeso | MXN | 1
btc BTC ₿ bitcoin | BTC | 1
eth ETH ether | ETH | 1
kr krona kronor krone kroner | kr | 1
SEK | SEK | 1
NOK | NOK | 1
DKK | DKK | 1
PLN zł zloty złoty | PLN | 1
TRY ₺ lira | TRY | 1
ZAR rand | ZAR | 1
ILS ₪ shekel | ILS | 1
THB ฿ baht | THB | 1
VND ₫ dong | VND | 1
IDR rupiah | IDR | 1
HUF forint | HUF | 1
米 | L | 1
厘米 公分 | L | 1/100
公里 千米 | L | 1000
克 | M | 1
千克 公斤 | M | 1000
吨 | M | 1000000
秒 | T | 1
分钟 | T | 60
小时 | T | 3600
天 | T | 86400
度 | angle | 1
摄氏度 | celsius | 1
"""
_SAME_NAMES = {"米": "metre", "克": "gram", "秒": "second", "天": "day", "度": "degree", "摄氏度": "celsius"}
_PREFIXES = {
    "femto": -15,
    "pico": -12,
    "nano": -9,
    "micro": -6,
    "milli": -3,
    "centi": -2,
    "deci": -1,
    "hecto": 2,
    "kilo": 3,
    "mega": 6,
    "giga": 9,
    "tera": 12,
}
_PREFIX_SYMBOLS = {
    "f": "femto",
    "p": "pico",
    "n": "nano",
    "µ": "micro",
    "μ": "micro",
    "u": "micro",
    "m": "milli",
    "c": "centi",
    "d": "deci",
    "h": "hecto",
    "k": "kilo",
    "K": "kilo",
    "M": "mega",
    "G": "giga",
    "T": "tera",
}
CURRENCY_SIGNS = "$€£¥₹₩₽₿¢￥￡₺₪฿₫"
# before a number, for regular expressions
CURRENCY_CODES = (
    r"USD|EUR|GBP|JPY|CNY|RMB|INR|CHF|Rs|AUD|CAD|HKD|NZD|SGD|KRW|RUB|BRL|MXN|BTC|ETH|SEK|NOK|DKK|PLN|TRY|ZAR|ILS|THB"
)
DOLLARS = r"(?:US|CA|AU|HK|NZ|MX|[ACR])"  # letters before a dollar sign

_Named = tuple[str, Mapping[str, int], Fraction]


@lru_cache(maxsize=1)
def _spellings() -> tuple[dict[str, _Named], dict[str, _Named]]:
    """All spellings of units: those in the table, and those that take an SI prefix."""
    plain: dict[str, _Named] = {}
    prefixed: dict[str, _Named] = {}
    for line in _TABLE.strip().splitlines():
        names, dimension, factor = line.split(" | ")
        takes_prefix, (name, *others) = names[0] == "+", names.removeprefix("+").split()
        unit = _SAME_NAMES.get(name, name), dict(map(_power, dimension.split())), Fraction(factor)
        for spelling in (name, *others):
            for form in _forms(spelling):
                plain[form] = unit
                if takes_prefix:
                    prefixed[form] = unit
    return plain, prefixed


def _forms(spelling: str) -> tuple[str, ...]:
    """A spelling and its plural. Symbols have no plural."""
    if len(spelling) < 3 or not spelling.isascii() or not spelling.islower():
        return (spelling,)
    return (spelling, spelling + "es") if spelling.endswith(("ch", "s", "x", "z")) else (spelling, spelling + "s")


def _power(base: str) -> tuple[str, int]:
    name = base.rstrip("-0123456789")
    return name, int(base[len(name) :] or 1)


@lru_cache(maxsize=4096)
def named_unit(word: str) -> _Named | None:
    """The unit of one word or sign, with or without an SI prefix. Wrong capitals are accepted in words (`KM`)."""
    if len(word) > _LONGEST_NAME:
        return None
    return _exact(word) or (_exact(word.lower()) if len(word) > 1 else None)


_LONGEST_NAME = 20


def _exact(word: str) -> _Named | None:
    plain, prefixed = _spellings()
    if word in plain:
        return plain[word]
    for prefix, exponent in _PREFIXES.items():
        if word.startswith(prefix) and len(rest := word[len(prefix) :]) > 2 and rest in prefixed:
            return _scaled(prefix, exponent, prefixed[rest])
    name = _PREFIX_SYMBOLS.get(word[:1])
    rest = word[1:]
    if name and len(rest) < 4 and rest in prefixed and (rest == "s" or not rest.endswith("s")):
        return _scaled(name, _PREFIXES[name], prefixed[rest])
    return None


def _scaled(prefix: str, exponent: int, unit: _Named) -> _Named:
    name, dimension, factor = unit
    return prefix + name, dimension, factor * Fraction(10) ** exponent


_TWO_WORDS = re.compile(
    r"(?i:\b(?P<nation>american|australian|canadian|hong kong|new zealand|singapore) (?=dollars?\b)"
    r"|\b(?P<country>swiss|mexican|british|japanese|chinese) (?=(?:francs?|pesos?|pounds?|yen|yuan)\b)"
    r"|\b(?P<fluid>fluid|fl\.?)[ -](?=oz\b|ounces?\b)|\b(?P<newton>newton)[ -](?=met(?:er|re)s?\b)"
    r"|(?P<won>^won)(?=\s?(?:$|[.,;)]))|\b(?P<part>parts per )(?=[mb]illion\b)"
    r"|(?P<light>light)[ -](?=years?\b)|(?P<sea>nautical) (?=miles?\b)|(?P<us>\b(?:u\.?s\.?)) (?=dollars?\b)"
    r"|(?P<metric>metric) (?=tons?\b)|(?P<watt>watt)[ -](?=hours?\b)|(?P<sterling>pounds?) (?=sterling\b)"
    r"|\b(?:deg(?:rees?)?|°) *(?P<scale>c(?:elsius|entigrade)?|f(?:ahrenheit)?|k(?:elvin)?)(?![^\W\d_]))"
)
_JOINED = {
    "fluid": "fluid",
    "newton": "newton",
    "won": "krw",
    "part": "pp",
    "light": "light",
    "sea": "nautical",
    "us": "us",
    "metric": "metric",
    "watt": "watt",
    "sterling": "",
}
_SCALES = {"c": "celsius", "f": "fahrenheit", "k": "kelvin"}
_POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
_SIGNS = re.escape(CURRENCY_SIGNS) + "°\u2032″℃℉"
_FACTOR = re.compile(
    rf"(?P<name>(?:{DOLLARS}|JP|CN)?[$¥]|°[CF](?!\w)|[{_SIGNS}]|[^\W\d_]+)"
    r"(?:\s?(?:\^|\*\*)\s?[({]?(?P<power>-?[1-9])[)}]?(?!\d)|(?P<glued>[23])(?![\w.]))?"
)
_JOIN = re.compile(r"\s*(?:(?P<over>/|per\b)|[*·]|-)?\s*")
_PARENTHESIS = re.compile(r"\(([^()]{1,40})\)")
_MOST_FACTORS = 8


def read_unit(text: str) -> tuple[Unit | None, str]:
    """The unit at the beginning of a plain text, and the text after it; None if the text begins with no unit.

    The text is plain: `^2` or `²` for a square, no LaTeX. The function reads `kg m/s^2`, `m s^-1`, `miles per hour`,
    `square meters`, `cm2`, `J/(kg K)`, `degrees Celsius`, `US dollars`.
    """
    text = _TWO_WORDS.sub(_one_word, text.strip())
    factors, rest = _factors(text)
    return (_product(factors), rest) if factors else (None, text)


def _one_word(found: re.Match[str]) -> str:
    if found["scale"]:
        return _SCALES[found["scale"][0].lower()]
    if nation := found["nation"] or found["country"]:
        return nation.replace(" ", "").lower()
    return _JOINED[str(found.lastgroup)]


def comparable(one: Hashable, other: Hashable) -> bool:
    """Whether two units have one dimension. The sign \u00a5 is yen or yuan."""
    return one == other or (_YEN_SIGN in (one, other) and _YEN_OR_YUAN.issuperset((one, other)))


_YEN_SIGN = (("\u00a5", 1),)
_YEN_OR_YUAN = frozenset((_YEN_SIGN, (("JPY", 1),), (("CNY", 1),)))


def _factors(text: str) -> tuple[list[tuple[_Named, int]], str]:
    factors: list[tuple[_Named, int]] = []
    at = end = 0
    while len(factors) < _MOST_FACTORS:
        join = _JOIN.match(text, at)
        assert join is not None  # it matches the empty string
        sign = -1 if join["over"] else 1
        inner = _PARENTHESIS.match(text, join.end())
        if inner:
            nested, left = _factors(inner[1])
            if not nested or left.strip():
                break
            factors += [(unit, power * sign) for unit, power in nested]
            at = end = inner.end()
            continue
        factor = _factor(text, join.end())
        if factor is None or (factors and _ends_unit(factors, factor, text[join.end() :])):
            break
        unit, power, at = factor
        factors.append((unit, power * sign))
        end = at
    return factors, text[end:]


def _ends_unit(factors: list[tuple[_Named, int]], factor: tuple[_Named, int, int], rest: str) -> bool:
    """Whether the unit ends here: the factor repeats a unit, or is a point of the compass after degrees (`60° N`)."""
    names = {name for (name, *_), _ in factors}
    return factor[0][0] in names or (names == {"degree"} and rest[:1] in "NSEW")


def _factor(text: str, at: int) -> tuple[_Named, int, int] | None:
    """The unit that begins here, its exponent, and its end."""
    found = _FACTOR.match(text, at)
    power = 1
    if found and found["name"].lower() in _POWER_WORDS:
        power = _POWER_WORDS[found["name"].lower()]
        space = re.compile(r"[ .-]*").match(text, found.end("name"))
        found = _FACTOR.match(text, space.end() if space else found.end())
    unit = named_unit(found["name"]) if found else None
    if found is None or unit is None:
        return None
    if unit[0] == "inch" and found["name"] == "in" and re.compile(r"\s+[^\W\d_]").match(text, found.end()):
        return None  # "5 in total": not an inch
    power *= int(found["power"] or found["glued"] or 1)
    after = re.compile(r"\s+(squared|cubed)\b").match(text, found.end())
    return (unit, power * _POWER_WORDS[after[1]], after.end()) if after else (unit, power, found.end())


def _product(factors: list[tuple[_Named, int]]) -> Unit:
    dimension: dict[str, int] = {}
    scale = Fraction(1)
    for (_, bases, factor), power in factors:
        scale *= factor**power
        for base, exponent in bases.items():
            dimension[base] = dimension.get(base, 0) + exponent * power
    names = sorted(name if power == 1 else f"{name}^{power}" for (name, *_), power in factors)
    return Unit(" ".join(names), tuple(sorted((b, e) for b, e in dimension.items() if e)), scale)
