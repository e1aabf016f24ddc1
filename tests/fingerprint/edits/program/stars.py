def starred(x):
    return x + 43
