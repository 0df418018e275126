"""Words of a run of Chinese or Japanese characters, which have no spaces between words.

A run is split at particles and auxiliary words that stand between words (`の`, `は`, `です`, `的`, `是`). The other
characters stay together, in order: 東京 and 京都 share no word, and 俄罗斯 is not a part of 白俄罗斯. Without a
dictionary, a compound is one word: 法国巴黎 does not contain 巴黎.

Not supported: dictionaries, traditional against simplified characters, and scripts such as Thai, where a run between
spaces is one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

UNSPACED = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
COUNTERS = re.compile(
    r"[\u4e2a\u500b\u4eba\u5e74\u6708\u65e5\u53f7\u70b9\u5c81\u6b73\u56de\u540d\u4f4d\u6b21\u6642\u5206\u79d2\u5143\u5186]$"
)  # after a number
_HAN = r"[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_SOLID = r"[\u3005\u3007\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"  # Han and katakana
_PARTICLE = (
    "では|には|とは|での|への|から|まで|より|という|といいます|は|が|を|に|で|と|も|の|へ|や|だ|です|でした|だった"
    "|である|でしょう"
    "|であります|になります|ですか|ますか|なのです|なのだ|です[ねよ]"
)
_DENIAL = (
    "では?ない|ではありません|じゃない|じゃありません|ではなかった|ではありませんでした|ない|ません|なかった|ません"
    "でした"
)
_SPLIT = re.compile(
    rf"(?P<denied>(?:{_DENIAL})(?:です)?(?=$|{_SOLID}))"
    rf"|(?P<particle>(?:{_PARTICLE}){{1,4}}(?=$|{_SOLID}))"
    rf"|(?P<not>不是|并非|並非|没有|沒有)(?={_SOLID})"
    rf"|(?P<is>(?<!{_HAN})是|是(?={_HAN})|(?<={_HAN}{{2}})(?:的|在|位于|位於|叫做|叫)(?={_HAN}{{2}})|的$|了$)"
)
_STOP = frozenset(
    "答案 答え 正解 回答 这 這 那 它 他 她 这个 那个 这里 これ それ あれ この その 我 我们 为 一个 "
    "该 个 人 年 月 日 号 点 時 分 秒 岁 歳 回 名 位 次".split()
)
_SUFFIX = re.compile(rf"(?<={_SOLID}{{2}})(?:都|市|県|府|省)$")  # 東京都, 北京市: the same place without it


def unspaced_words(run: str) -> Iterator[tuple[str, bool]]:
    """The words of a run of characters in order, each with whether it is denied."""
    end, denied = 0, False
    for mark in _SPLIT.finditer(run):
        if mark.start() == 0 and mark.lastgroup in ("particle", "denied"):
            continue  # a word cannot begin with a particle: さいたま, のぞみ
        yield from _word(run[end : mark.start()], denied or mark.lastgroup == "denied")
        end, denied = mark.end(), mark.lastgroup == "not"
    yield from _word(run[end:], denied)


def _word(text: str, denied: bool) -> Iterator[tuple[str, bool]]:
    if text and text not in _STOP:
        yield _SUFFIX.sub("", text), denied
