"""Boards: run records kept side by side under one protocol, and the pages and tables rendered from them.

A board is a folder `<boards>/<protocol>/`: `board.toml`, `results/<method>/<run_id>.json`, the leak audit of its
protocol in `audit.json`, the paired tests of its rows in `comparison.json`, and generated pages and tables.
"""
