"""Checkpoints, architecture tables and plans. Nothing here prints, and nothing here knows a device."""
