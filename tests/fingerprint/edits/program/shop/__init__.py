from .sales import discount
