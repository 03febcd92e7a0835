"""Turns texts into vectors of four numbers, in the order of the texts. A hash stands in for a model."""

import hashlib


def handler(event, context):
    texts = event["texts"]
    print(f"embedding {len(texts)} texts")
    return {"vectors": [vector_of(text) for text in texts]}


def vector_of(text):
    return [round(byte / 255, 3) for byte in hashlib.sha256(text.encode()).digest()[:4]]
