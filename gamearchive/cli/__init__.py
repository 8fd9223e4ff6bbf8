"""The command line: parse, call one method of the manager, show the result.

`app` finds the commands and runs one; `declaration` and `options` are how a command says what it takes, `context` is what it
gets, `output` and `parts` are how it shows what it found, `signals` how it is stopped.
"""
