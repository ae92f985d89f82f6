#!/usr/bin/env python3
"""The HTTP interface of ClickHouse, as far as qalqan uses it, in front of the current engine (the package chdb-core).

Usage: front.py FOLDER. Prints the port it listens at. Temporary tables belong to the one session there is, and one
request is worked on at a time; ids of queries mean nothing here. Ends with its standard input.
"""

import gzip
import http.server
import os
import sys
import threading
import urllib.parse

folder = sys.argv[1]
os.chdir(folder)  # The engine reads config.xml of the folder it is started in.

from chdb import session  # noqa: E402

engine = session.Session(os.path.join(folder, "chdb"))
lock = threading.Lock()
columns = ""


def work(params, body, encoding):
    """Runs one statement and gives what it prints."""
    global columns
    database = params.get("database")
    if database:
        engine.query(f"USE `{database}`")
    statement = params.get("query")
    if statement is None:
        statement, body = body.decode(), b""
    if statement.startswith("CREATE TEMPORARY TABLE arriving ("):
        columns = statement.split("(", 1)[1].rsplit(")", 1)[0]
        engine.query("DROP TEMPORARY TABLE IF EXISTS arriving")
    if body:
        assert statement == "INSERT INTO arriving FORMAT RowBinary", statement
        if encoding == "gzip":
            body = gzip.decompress(body)
        path = os.path.join(folder, "body")
        with open(path, "wb") as file:
            file.write(body)
        kinds = columns.replace("'", "\\'")
        statement = f"INSERT INTO arriving SELECT * FROM file('{path}', RowBinary, '{kinds}')"
    return engine.query(statement, "TabSeparated").bytes() or b""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """One statement."""
        params = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            with lock:
                status, answer = 200, work(params, body, self.headers.get("Content-Encoding"))
        except Exception as error:  # Whatever the engine says goes to who asked.
            status, answer = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Says nothing."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
