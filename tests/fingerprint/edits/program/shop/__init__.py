from .sales import discount

__all__ = ["discount"]
