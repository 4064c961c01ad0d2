"""What a file or a folder holds, told from headers: its model in few facts, its parts, the memory it takes in a runtime.

May import `io`, `sources`, the tables and `tokenizer.templates`; nothing that reads weights.
"""
