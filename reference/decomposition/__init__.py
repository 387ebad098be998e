"""Value decomposition for common-reward games."""
