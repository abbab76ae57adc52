"""What a step of a server takes: a batch of prompt chunks and of sequences that decode."""
