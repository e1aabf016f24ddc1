def scale(x):
    return x * 44
