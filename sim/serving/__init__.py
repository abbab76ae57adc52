"""Many users on one server: requests, a server that batches them, and what they wait."""
