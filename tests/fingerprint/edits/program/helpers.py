import flow

LEVEL = 40


def clean(x):
    return deep(x) + 41


def deep(x):
    return x - 42


def tidy(x):
    return flow.RATE * LEVEL + deep(x)


def spare(x):
    return x
