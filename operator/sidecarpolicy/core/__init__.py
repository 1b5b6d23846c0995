"""Pure decisions: facts in, decisions out. No input, output, clock or concurrency.

Templates are raw JSON objects and are never changed in place: every function
returns a new value, so that callers may share what they pass in.
"""
