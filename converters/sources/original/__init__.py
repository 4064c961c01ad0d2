"""Checkpoints in their makers' own layouts as Hugging Face's: names, settings and tokenizer files, told from params.json.

Meta's Llama (`consolidated.NN.pth`, a file per rank) and Mistral's (`consolidated*.safetensors`). It stands between the files
and the tables, which see canonical names only. May import `errors`, `io`, `ops` and `sources`.
"""
