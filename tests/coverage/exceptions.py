"""What ./test coverage does not ask for, line by line: file, function, the line without indentation, why."""

EXCEPTIONS = [
]
