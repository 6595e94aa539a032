# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks: each prints a table and writes build/bench/<name>.json. They measure, and never judge."""
