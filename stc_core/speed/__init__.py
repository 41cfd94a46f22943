"""What compression costs on this machine."""
