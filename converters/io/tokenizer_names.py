"""Names of the files that a tokenizer is made of, in whichever form it was published."""

TOKENIZER_JSON, TEKKEN = "tokenizer.json", "tekken.json"
SENTENCEPIECE = "tokenizer.model"  # Meta's rank file of Llama 3 has this name, too
UNIGRAM = ("sentencepiece.bpe.model", "spiece.model")
VOCAB_JSON, MERGES_TXT, VOCAB_TXT = "vocab.json", "merges.txt", "vocab.txt"
VERSIONED = "tokenizer.model.v*"  # Mistral's
RANKS = ("tiktoken.model", "*.tiktoken")  # patterns
RWKV = "rwkv_vocab_v20230424.txt"
PLAMO = "tokenizer.jsonl"
CONFIG, SPECIAL_MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
TEMPLATE, TEMPLATE_JSON, MORE_TEMPLATES = "chat_template.jinja", "chat_template.json", "additional_chat_templates"

PATTERNS = (TOKENIZER_JSON, TEKKEN, SENTENCEPIECE, VERSIONED, *UNIGRAM, VOCAB_JSON, MERGES_TXT, VOCAB_TXT, *RANKS, RWKV, PLAMO,
            CONFIG, SPECIAL_MAP, ADDED, TEMPLATE, TEMPLATE_JSON, f"{MORE_TEMPLATES}/*.jinja")
