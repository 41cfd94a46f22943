"""The command line, one file a command; ``stc_core.__main__`` joins them."""
