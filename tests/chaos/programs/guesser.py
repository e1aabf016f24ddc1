"""Guesses tokens as fast as answers come, from one address after the other; says as JSON what the answers were.

python guesser.py URL N FIRST_ADDRESS N_ADDRESSES ID
"""

from __future__ import annotations

import http.client
import json
import secrets
import sys
import time
from collections import Counter, defaultdict
from ipaddress import ip_address
from urllib.parse import urlsplit


def guess(number: int, known_id: str) -> str:
    """Some with the id of a token that there is, some with none."""
    return f"pl_{known_id if number % 2 else secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"


def main(url: str, n: int, addresses: list[str], known_id: str) -> None:
    place = urlsplit(url)
    connections = {
        address: http.client.HTTPConnection(place.hostname or "", place.port, timeout=60, source_address=(address, 0))
        for address in addresses
    }
    statuses: Counter[int] = Counter()
    looked_at: dict[str, list[float]] = defaultdict(list)
    without_retry_after = 0
    for number in range(n):
        address = addresses[number % len(addresses)]
        connection = connections[address]
        headers = {"Authorization": f"Bearer {guess(number, known_id)}"}
        try:
            connection.request("GET", "/runs", headers=headers)
            answer = connection.getresponse()
        except (http.client.HTTPException, OSError):
            # The server closes what has been idle for a while.
            connection.close()
            connection.request("GET", "/runs", headers=headers)
            answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
        if answer.status == 401:
            looked_at[address].append(time.monotonic())
        elif answer.status == 429:
            without_retry_after += not 0 < int(answer.headers["Retry-After"] or 0) <= 60
    result = {"statuses": statuses, "looked_at": looked_at, "without_retry_after": without_retry_after}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    first = ip_address(sys.argv[3])
    main(sys.argv[1], int(sys.argv[2]), [str(first + number) for number in range(int(sys.argv[4]))], sys.argv[5])
