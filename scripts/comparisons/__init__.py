"""What `compare_peers.py` compares, a module for each kind of measurement.

Its ``works_and_pairs`` returns what is run, ours and the libraries', by name, and which of it belongs together. A
library is imported only where it is called: any of them may be absent.
"""
