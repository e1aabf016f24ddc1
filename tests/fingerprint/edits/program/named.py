def run(x):
    return x + 45
