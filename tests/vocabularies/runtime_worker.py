"""llama.cpp's tokenizer on vocabulary-only files: `python runtime_worker.py LIBRARY [BACKENDS] < requests > ids`.

A request is {"path", "texts", "special", "add"}.
"""

import json
import sys

from zoo.llama_worker import LOAD_FLAGS, Runtime

VOCAB_ONLY = 1  # the first flag of the word


def main() -> None:
    runtime = Runtime(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    runtime.model_params.word[LOAD_FLAGS] |= VOCAB_ONLY
    out = [runtime.tokenize(request["path"], request["texts"], request["special"], request["add"])
           for request in json.load(sys.stdin)]
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
