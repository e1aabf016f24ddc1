OFFSET = 46


def base(x):
    return x + OFFSET


def computed_name(x):
    return x + 47
