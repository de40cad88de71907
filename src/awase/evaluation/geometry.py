"""placeholder"""


def geometry(embeddings, present):
    return {}
