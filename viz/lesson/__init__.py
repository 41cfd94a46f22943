"""The lesson: six steps on saved traces."""
