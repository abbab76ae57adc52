"""Which requests a server computes in which step, by the rules of vLLM's scheduler."""
