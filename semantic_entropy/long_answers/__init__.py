"""Long answers, sentence by sentence: how far other samples support each sentence. Pure data and formulas, no model.

`roll_up` has the formulas and the rule that decides which answers are long, `scored_sentences` the data of a result,
`unsaid_words` the words of an answer that no sample says, or in another order.
"""

from semantic_entropy.long_answers.roll_up import LEAST_CHARACTERS, LongRule, assess, decide_long
from semantic_entropy.long_answers.scored_sentences import LongAnswer, ScoredSentence, Statement
from semantic_entropy.long_answers.unsaid_words import unsaid_orders, unsaid_words

__all__ = [
    "LEAST_CHARACTERS",
    "LongAnswer",
    "LongRule",
    "ScoredSentence",
    "Statement",
    "assess",
    "decide_long",
    "unsaid_orders",
    "unsaid_words",
]
