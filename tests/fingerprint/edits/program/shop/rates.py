def base():
    return 48
