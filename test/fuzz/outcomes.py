"""What the Python reader makes of many containers: one JSON line each. usage: outcomes.py FILE

FILE holds the containers one after another, each behind its length (u32, little-endian).
"""

import hashlib
import json
import struct
import sys

from tern_reader import TernError, open_container

MOST_ENTRIES = 20_000


def entries(tensor):
    total = 1
    for dimension in tensor.shape:
        total *= dimension
    return total


def outcome_of(work):
    try:
        return work()
    except TernError as error:
        return error.code
    except Exception as error:  # anything else is a bug, and its name says so
        return f"{type(error).__name__}: {error}"


def read_all(data):
    container = open_container(data)
    if sum(entries(tensor) for tensor in container.tensors) > MOST_ENTRIES:
        return "large"
    return [
        [tensor.name, outcome_of(lambda: hashlib.sha256(container.read(tensor.name)).hexdigest())]
        for tensor in container.tensors
    ]


def main(path):
    with open(path, "rb") as file:
        while head := file.read(4):
            (length,) = struct.unpack("<I", head)
            data = file.read(length)
            print(json.dumps(outcome_of(lambda: read_all(data))))


main(sys.argv[1])
