"""Asks the server in this container whether it is alive: exit status 0 or 1, and a line that says why.

`HEALTH_URL` says where. With https the certificate is not checked: it is for the name by which others call the server, and this asks
over loopback.
"""

import os
import ssl
import sys
import urllib.error
import urllib.request

SECONDS = 4


def main() -> int:
    """0 when the server answers as it should."""
    url = os.environ["HEALTH_URL"]
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked))
    try:
        with direct.open(url, timeout=SECONDS) as answer:
            sys.stdout.write(f"{answer.status}\n")
            return 0
    except (OSError, urllib.error.URLError) as error:
        sys.stdout.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
