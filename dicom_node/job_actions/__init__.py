"""Actions on jobs that a person asks for, on the command line or on the page."""
