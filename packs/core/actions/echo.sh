#!/usr/bin/env bash
# Parameters arrive on standard input as one JSON object; what is printed is the result.
exec cat
