"""The embedding judge: cosine similarity of sentence embeddings."""
