"""Chains for Remote FX, as its state keeps them."""

import json

#: Between a track and a hall.
STRIP = ("eq", "compressor", "limiter", "reverb")


def kept(*kinds):
    """What the field `chain` of its state holds, where the chain is these effects in a row."""
    items = [{"effect": {"id": id, "kind": kind}} for id, kind in enumerate(kinds)]
    chain = {"schema": 1, "items": items}
    document = {"schema": 4, "name": "Bounce", "session": None, "chain": chain, "slots": {}, "positions": []}
    return json.dumps(document)
