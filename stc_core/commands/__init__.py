"""Define the command line, one file per command; ``stc_core.__main__`` joins them."""
