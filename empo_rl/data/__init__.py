"""Training questions: drawn from a public data set by a seed, filtered, and compared with the evaluation sets.

    records.py       rows of a hub data set, a JSONL or a Parquet file, one at a time
      -> numina, natural   which rows stay, by which rule, and what a row of the output holds
      -> draw              so many of them by seed, whatever their order
      -> overlap           duplicates within, overlap with evaluation sets (against): exact, and near
      -> report            what was found, in words and as JSON
    prepare runs it; cli is `empo-data`.

No label is needed to train on what comes out; where a source has answers they are kept for measuring, or for the
baselines with labels. Leaves out what no wording shows: translations, and paraphrases that share few words.
"""
