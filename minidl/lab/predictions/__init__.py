"""Predictions with exact theory (P1 to P14): a file for each."""
