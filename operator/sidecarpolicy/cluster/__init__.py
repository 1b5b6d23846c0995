"""The only code that talks to the API server: reads facts, executes one change, reports.

Errors of the transport and refusals of the server become values (`Outcome`) here;
no layer above catches exceptions of the client.
"""
