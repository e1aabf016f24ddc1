-- Each flight with the weather at its airport in the hour in which it was to leave.
SELECT
    flights.* EXCLUDE (dep_delay),
    weather.temp,
    weather.wind_speed,
    weather.precip,
    weather.visib,
    flights.dep_delay > $late_after AS late
FROM flights
JOIN weather USING (origin, month, day, hour)
ORDER BY month, day, hour, origin, carrier, flight, dest
