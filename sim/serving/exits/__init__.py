"""Early exits under load: servers whose sequences stand at different depths."""
