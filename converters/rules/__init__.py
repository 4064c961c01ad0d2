"""The words of the architecture tables, and what they mean: hyperparameter rules, tensor rows, templates, matching.

No table is here. May import `errors`, `ops`, `io` and `sources`.
"""
