"""Make the parts of the catalogue that follow from ``transformers``."""
