"""The exit codes of ``ham``, which the README's table lists."""

FAILED = 1  # a run began and failed, or its result cannot be written
BAD_INPUT = 2
NOT_ALL = 3  # some of a table's runs are not made
INTERRUPTED = 130  # SIGTERM: 143
CLOSED = 141  # whoever read the output has gone
