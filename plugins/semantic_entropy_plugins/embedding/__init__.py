"""The embedding judge: the cosine of two answers' sentence embeddings, above a threshold.

`embedding_judge` holds the judge, `sentence_model` loads the model. This module imports nothing, because both import
torch.
"""
