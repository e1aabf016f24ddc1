"""What the models get to see of an hour."""

from __future__ import annotations

WEATHER = {"Clear": 0, "Mist": 1, "Light Rain": 2, "Heavy Rain": 3}


def hour_of_day(label):
    """'12am' -> 0, '6am' -> 6, '12pm' -> 12, '11pm' -> 23."""
    return int(label[:-2]) % 12 + (12 if label.endswith("pm") else 0)


def is_rush_hour(hour, working_day):
    """People ride to work and back."""
    return working_day and (7 <= hour <= 9 or 16 <= hour <= 19)


def is_pleasant(felt_celsius, humidity):
    return 15 <= felt_celsius <= 30 and humidity < 80


def describe(hours):
    """Turn cleaned hours into a table of numbers; the target `cnt` stays in it."""
    table = hours[["hour", "temp", "atemp", "hum", "windspeed", "cnt"]].copy()
    table["month"] = hours["date"].dt.month
    table["weekday"] = hours["date"].dt.day_of_week
    table["days"] = (hours["date"] - hours["date"].min().replace(month=1, day=1)).dt.days
    table["working_day"] = hours["working_day"].astype(int)
    table["weather"] = hours["weather"].map(WEATHER)
    table["rush_hour"] = [is_rush_hour(*each) for each in zip(hours["hour"], hours["working_day"], strict=True)]
    table["pleasant"] = [is_pleasant(*each) for each in zip(hours["atemp"], hours["hum"], strict=True)]
    return table.astype(float)
