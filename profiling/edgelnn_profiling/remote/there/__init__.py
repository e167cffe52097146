"""What runs on the board for as long as a connection lasts: sent as text, standard library alone, Python 3.11."""
