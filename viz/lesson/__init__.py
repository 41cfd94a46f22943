"""Teach the method in six steps on saved traces."""
