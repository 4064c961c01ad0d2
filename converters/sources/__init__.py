"""What a checkpoint is, whatever its layout on disk: its config and where each tensor lies, under canonical names.

May import `io` and `errors`: a source knows no table, no tokenizer and no plan.
"""
