"""Memory of everything while nobody uses it: all our programs beside Postfix and Dovecot, as PSS.

    python -m bench.memory [--dir DIR]

PSS counts a page that n processes share as 1/n for each, so the sums can be compared. Each server has just answered one
client, so that what it starts on demand is there.
"""

import argparse
import poplib
import shutil
import smtplib
import tempfile
import time
from pathlib import Path

from bench import dovecot, peers

SETTLE = 3.0  # seconds


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory")
    parser.add_argument("--dir", help="where the servers' directories are made")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="bench-memory-", dir=options.dir))
    servers: list[peers.Server] = []
    try:
        servers.append(peers.lanmail(base / "lanmail", "smtpd", "deliver", "pop3d", "imapd"))
        servers.append(peers.postfix(base / "postfix"))
        servers.append(dovecot.start(base / "dovecot"))
        for server in servers:
            if "smtp" in server.ports:
                with smtplib.SMTP("127.0.0.1", server.ports["smtp"]) as client:
                    client.sendmail("a@far.example", [f"u1@{peers.DOMAIN}"], "Subject: x\n\nx\n")
            if "pop3" in server.ports:
                reader = poplib.POP3("127.0.0.1", server.ports["pop3"])
                reader.user("u1")
                reader.pass_(peers.SECRET)
                reader.quit()
        time.sleep(SETTLE)
        amounts = {server.name: server.memory() for server in servers}
    except peers.Missing as missing:
        print(f"not measured: {missing}")
        return
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(base, ignore_errors=True)
    theirs = amounts["postfix"] + amounts["dovecot"]
    print("| idle | PSS MiB |")
    print("|---|---|")
    print(f"| lanmail: smtpd, deliver, pop3d, imapd | {amounts['lanmail']:.0f} |")
    print(f"| Postfix {amounts['postfix']:.0f} + Dovecot {amounts['dovecot']:.0f} | {theirs:.0f} |")
    print(f"| ratio | **{amounts['lanmail'] / theirs:.2f}** |")


if __name__ == "__main__":
    main()
