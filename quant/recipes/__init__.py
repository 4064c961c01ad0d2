"""File types: which tensor type each tensor of a model gets, and importance matrices. These know names and models.

May import `quant`.
"""
